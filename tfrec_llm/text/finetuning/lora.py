"""LoRA: a low-rank update beside a linear layer, folded into it when training is over (Hu et al., 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.encoders.bert import SITES, Bert, Linear
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning.method import Finetuning

TARGETS = ("qkv", "mix", "grow", "shrink")  # linear layers of a block
FIRST_SITE = 4  # of a block, that hooks may draw at


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank updates of linear layers."""

    rank: int = setting(4, "rank of an update", low=1)
    alpha: float = setting(16.0, "an update counts alpha / rank", low=0)
    dropout: float = setting(0.0, "share of an update's inputs left out in training", low=0, high=0.95)
    targets: tuple[str, ...] = setting(TARGETS, "which linear layers: qkv, mix, grow, shrink")
    learning_rate: float = setting(2e-3, "peak step size", low=1e-8, high=1)


class LowRank(tf.Module):
    """x -> drop(x) A B times a scale; B starts at zero.

    Args:
      size: (in, out) of the linear layer.
      rank: columns of A.
      scale: of the product.
      dropout: share of inputs left out in training.
      site: where it draws.
      draw: first values of A.
    """

    def __init__(
        self, size: tuple[int, int], rank: int, scale: float, dropout: float, site: int, draw: np.random.Generator
    ):
        super().__init__(name="low_rank")
        first = draw.normal(0, size[0] ** -0.5, (size[0], rank)).astype(np.float32)
        self.down = tf.Variable(first, name="down")  # [in, rank]
        self.up = tf.Variable(tf.zeros([rank, size[1]]), name="up")
        self._scale, self._dropout, self._site = scale, dropout, site

    def __call__(self, x: tf.Tensor, noise: Noise = QUIET) -> tf.Tensor:
        """[R, in] -> [R, out], in the type of `x`."""
        inner = noise.drop(x, self._dropout, self._site) @ tf.cast(self.down, x.dtype)
        return inner @ tf.cast(self.up * self._scale, x.dtype)

    def product(self) -> tf.Tensor:
        """[in, out] what is added to the kernel."""
        return self.down @ self.up * self._scale


def lora(settings: LoraSettings, encoder: TextEncoder, seed: int) -> Finetuning:
    """Hangs a low-rank update on the linear layers of every block."""
    draw, scale = np.random.default_rng(seed), settings.alpha / settings.rank
    updates = {
        name: LowRank(tuple(linear.kernel.shape), settings.rank, scale, settings.dropout, site, draw)
        for name, linear, site in linear_layers(encoder.bert, settings.targets)
    }
    return hang_updates("lora", encoder, updates, settings.learning_rate)


def linear_layers(bert: Bert, targets: tuple[str, ...]) -> Iterator[tuple[str, Linear, int]]:
    """Name, layer and site of each linear layer named.

    Raises:
      ValueError: a block has no such layer.
    """
    if unknown := set(targets) - set(TARGETS):
        raise ValueError(
            f"text.finetuning: targets: expected some of {', '.join(TARGETS)}, got {', '.join(sorted(unknown))}."
        )
    for number, block in enumerate(bert.blocks):
        for place, target in enumerate(TARGETS):
            if target in targets:
                yield f"block_{number}/{target}", getattr(block, target), SITES * (number + 1) + FIRST_SITE + place


def hang_updates(name: str, encoder: TextEncoder, updates: dict[str, tf.Module], learning_rate: float) -> Finetuning:
    """Updates with `product()`, by the names of `linear_layers`, as a method that folds."""
    layers = {key: linear for key, linear, _ in linear_layers(encoder.bert, TARGETS)}
    for key, update in updates.items():
        layers[key].deltas.append(update)

    def fold() -> None:
        for key, update in updates.items():
            layers[key].kernel.assign_add(update.product())
            layers[key].deltas.remove(update)

    own = tf.Module(name=name)
    own.updates = updates
    return Finetuning(name, encoder, own, learning_rate, fold)
