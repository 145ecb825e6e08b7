"""Behaviour model `sasrec`: causal self-attention over the steps (Kang and McAuley, 2018), with our loss and inputs.

It differs from the paper as the other models here do: softmax over all items in place of one negative, event types and
gaps beside the items; and positions are counted back from each state instead of from the window's edge. Attention
learns with smaller steps than a recurrent state, and needs more of them.
"""

from dataclasses import dataclass

from tfrec_llm.behaviour.sequence import SequenceSettings
from tfrec_llm.config import ConfigError, setting
from tfrec_llm.layers.attention import CausalAttention


@dataclass(frozen=True)
class SasrecSettings(SequenceSettings):
    """Settings of `sasrec`."""

    units: int = setting(128, "H, width of the state", low=1)

    blocks: int = setting(2, "rounds of attention", low=1)
    heads: int = setting(2, "of each round; units are a multiple of it", low=1)
    widening: int = setting(2, "hidden width of the pointwise network, as a multiple of units", low=1)
    distances: int = setting(200, "steps back that are told apart", low=1)
    block_dropout: float = setting(0.2, "share of what a round adds that is left out in training", low=0, high=0.99)
    rate_share: float = setting(0.25, "the peak step size as a share of behaviour.learning_rate", low=1e-3, high=10)
    steps_share: float = setting(4.0, "steps on small data as a share of behaviour.min_steps", low=0, high=100)

    def __post_init__(self):
        """Refuses widths that do not divide."""
        if self.units % self.heads:
            raise ConfigError(
                f"behaviour.model (sasrec): expected units to be a multiple of heads, got {self.units} and "
                f"{self.heads}; change one of them."
            )


def sasrec(settings: SasrecSettings) -> CausalAttention:
    """The body of `sasrec`."""
    return CausalAttention(
        settings.units,
        settings.blocks,
        settings.heads,
        settings.widening,
        settings.distances,
        settings.block_dropout,
        name="body",
    )
