"""A mixture of low-rank modules: one of them, drawn at random, learns in each step; all together serve.

After AdaMix (Wang et al., 2022). There the weights of the modules are averaged; low-rank modules are linear, so here
their outputs are, which is exact, and the average folds into the layer that it stands beside.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning.lora import TARGETS, hang_updates, linear_layers
from tfrec_llm.text.finetuning.method import Finetuning


@dataclass(frozen=True)
class MixerSettings:
    """Several low-rank updates of each linear layer."""

    modules: int = setting(4, "modules beside each layer", low=1)
    rank: int = setting(2, "rank of a module", low=1)
    alpha: float = setting(8.0, "a module counts alpha / rank", low=0)
    targets: tuple[str, ...] = setting(TARGETS, "which linear layers: qkv, mix, grow, shrink")
    learning_rate: float = setting(2e-3, "peak step size", low=1e-8, high=1)


class Mixture(tf.Module):
    """x -> x A_i B_i times a scale: i drawn in training, the mean over all i otherwise.

    Args:
      size: (in, out) of the linear layer.
      settings: number and rank of the modules.
      site: where it draws.
      draw: first values of A.
    """

    def __init__(self, size: tuple[int, int], settings: MixerSettings, site: int, draw: np.random.Generator):
        super().__init__(name="mixture")
        first = draw.normal(0, size[0] ** -0.5, (settings.modules, size[0], settings.rank)).astype(np.float32)
        self.down = tf.Variable(first, name="down")  # [M, in, rank]
        self.up = tf.Variable(tf.zeros([settings.modules, settings.rank, size[1]]), name="up")
        self._scale, self._site = settings.alpha / settings.rank, site

    def __call__(self, x: tf.Tensor, noise: Noise = QUIET) -> tf.Tensor:
        """[R, in] -> [R, out], in the type of `x`."""
        if not noise.training:
            return x @ tf.cast(self.product(), x.dtype)
        modules = self.down.shape[0]
        chosen = tf.minimum(tf.cast(noise.uniform([], self._site) * modules, tf.int32), modules - 1)
        one = tf.one_hot(chosen, modules)  # a product rather than a lookup: its gradient is dense
        down = tf.tensordot(one, self.down, 1)  # [in, rank]
        up = tf.tensordot(one, self.up, 1) * self._scale  # [rank, out]
        return x @ tf.cast(down, x.dtype) @ tf.cast(up, x.dtype)

    def product(self) -> tf.Tensor:
        """[in, out] what is added to the kernel."""
        return tf.reduce_mean(self.down @ self.up, 0) * self._scale


def mixer(settings: MixerSettings, encoder: TextEncoder, seed: int) -> Finetuning:
    """Hangs a mixture on the linear layers of every block."""
    draw = np.random.default_rng(seed)
    updates = {
        name: Mixture(tuple(linear.kernel.shape), settings, site, draw)
        for name, linear, site in linear_layers(encoder.bert, settings.targets)
    }
    return hang_updates("mixer", encoder, updates, settings.learning_rate)
