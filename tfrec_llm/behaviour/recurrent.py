"""Behaviour models `lstm`, the one that serves, and `gru`: a recurrent state, carried from step to step."""

from dataclasses import dataclass

from tfrec_llm.behaviour.sequence import SequenceSettings
from tfrec_llm.config import setting
from tfrec_llm.layers.gru import GRU
from tfrec_llm.layers.lstm import LSTM


@dataclass(frozen=True)
class RecurrentSettings(SequenceSettings):
    """Settings of `lstm` and of `gru`."""

    state_dropout: float = setting(
        0.0, "share of the state that the next step does not see in training, the same for all steps", low=0, high=0.99
    )


def lstm(settings: RecurrentSettings) -> LSTM:
    """The body of `lstm`."""
    return LSTM(settings.units, settings.state_dropout, name="body")


def gru(settings: RecurrentSettings) -> GRU:
    """The body of `gru`."""
    return GRU(settings.units, settings.state_dropout, name="body")
