"""Behaviour model `lstm`: long short-term memory over the steps; the one that serves."""

from dataclasses import dataclass

from tfrec_llm.behaviour.sequence import SequenceSettings
from tfrec_llm.layers.lstm import LSTM


@dataclass(frozen=True)
class LstmSettings(SequenceSettings):
    """Settings of `lstm`."""


def lstm(settings: LstmSettings) -> LSTM:
    """The body of the model."""
    return LSTM(settings.units, name="body")
