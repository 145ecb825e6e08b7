"""The transformer of the text side: BERT as in `transformers`, lean, with weights imported by name.

One product for query, key and value; tokens flat [B * L, D] between the attentions, so that each linear layer is one
plain matrix product that oneDNN fuses with its bias and activation. Used by `encoder`. What a fine-tuning method adds
hangs on hooks: `Linear.deltas`, `Block.prefix`, `Block.after_mix`, `Block.after_shrink`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.encoders.packing import PADDED, Packed, Rows
from tfrec_llm.text.encoders.quantised import Quantised, QuantisedTable, quantise

Weights = Mapping[str, np.ndarray | Quantised]
Hook = Callable[[tf.Tensor, Noise], tf.Tensor]  # (tokens [R, in], noise) -> what is added [R, out]
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {  # `hidden_act` of a config.json
    "gelu": tf.nn.gelu,
    "gelu_new": lambda x: tf.nn.gelu(x, approximate=True),
    "relu": tf.nn.relu,
}
SITES = 16  # places of one block that may draw noise: 0 to 3 its own dropout, the rest for hooks


@dataclass(frozen=True)
class BertShape:
    """The sizes of a BERT, named as in its `config.json`."""

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"


def _take(weights: Weights, name: str) -> np.ndarray | Quantised:
    if name not in weights:
        some = ", ".join(sorted(weights)[:4])
        raise ValueError(f"expected a BERT checkpoint with {name!r}, got {len(weights)} tensors such as {some}.")
    return weights[name]


class Linear(tf.Module):
    """One or several linear layers of a checkpoint, side by side in one product."""

    def __init__(self, weights: Weights, *prefixes: str, name: str):
        super().__init__(name=name)
        kernels = [np.asarray(_take(weights, f"{p}.weight"), np.float32).T for p in prefixes]
        self.kernel = tf.Variable(np.concatenate(kernels, 1), name="kernel")  # [in, out]
        self.bias = tf.Variable(np.concatenate([_take(weights, f"{p}.bias") for p in prefixes]), name="bias")
        self.deltas: list[Hook] = []  # low-rank updates and the like

    def __call__(self, x: tf.Tensor, noise: Noise = QUIET) -> tf.Tensor:
        """[R, in] -> [R, out], in the type of `x`."""
        y = tf.nn.bias_add(x @ tf.cast(self.kernel, x.dtype), tf.cast(self.bias, x.dtype))
        for delta in self.deltas:
            y += delta(x, noise)
        return y


class LayerNorm(tf.Module):
    """Zero mean and unit variance over the last axis, then scale and shift; float32 inside."""

    def __init__(self, weights: Weights, prefix: str, epsilon: float, name: str):
        super().__init__(name=name)
        self.gamma = tf.Variable(_take(weights, f"{prefix}.weight"), name="gamma")
        self.beta = tf.Variable(_take(weights, f"{prefix}.bias"), name="beta")
        self._epsilon = epsilon

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """[R, D] -> [R, D], in the type of `x`."""
        wide = tf.cast(x, tf.float32)
        centred = wide - tf.reduce_mean(wide, -1, keepdims=True)
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(centred), -1, keepdims=True) + self._epsilon)
        return tf.cast(centred * scale * self.gamma + self.beta, x.dtype)


class Block(tf.Module):
    """Self-attention and feed-forward, each with residual and norm after it."""

    def __init__(self, weights: Weights, prefix: str, shape: BertShape, name: str):
        super().__init__(name=name)
        attention, epsilon = f"{prefix}.attention", shape.layer_norm_eps
        self.qkv = Linear(weights, *(f"{attention}.self.{part}" for part in ("query", "key", "value")), name="qkv")
        self.mix = Linear(weights, f"{attention}.output.dense", name="mix")
        self.attention_norm = LayerNorm(weights, f"{attention}.output.LayerNorm", epsilon, name="attention_norm")
        self.grow = Linear(weights, f"{prefix}.intermediate.dense", name="grow")
        self.shrink = Linear(weights, f"{prefix}.output.dense", name="shrink")
        self.output_norm = LayerNorm(weights, f"{prefix}.output.LayerNorm", epsilon, name="output_norm")
        self._heads, self._activation = shape.num_attention_heads, ACTIVATIONS[shape.hidden_act]
        self.prefix: Callable[[tf.Tensor], tf.Tensor] | None = None  # query [B, heads, L, size] -> added to the mixture
        self.after_mix: Hook | None = None  # of attention's output, before its residual
        self.after_shrink: Hook | None = None  # of the feed-forward's output, before its residual

    def __call__(
        self,
        x: tf.Tensor,
        bias: tf.Tensor,
        noise: Noise = QUIET,
        dropout: float = 0.0,
        site: int = 0,
        rows: Rows = PADDED,
    ) -> tf.Tensor:
        """One layer.

        Args:
          x: [R, D] tokens.
          bias: [B, 1, 1, L] added to the attention scores; very negative at padding.
          noise: what dropout draws from; `QUIET` draws nothing.
          dropout: share of attention weights and of outputs left out.
          site: number of the first of the `SITES` places that draw.
          rows: which of the B * L tokens `x` holds.
        """
        mixed = self._attend(rows.spread(self.qkv(x, noise)), bias, noise, dropout, site)
        mixed = self.mix(rows.squeeze(mixed), noise)
        mixed = noise.drop(mixed, dropout, site + 1)
        if self.after_mix is not None:
            mixed += self.after_mix(mixed, noise)
        x = self.attention_norm(x + mixed)
        shrunk = noise.drop(self.shrink(self._activation(self.grow(x, noise)), noise), dropout, site + 2)
        if self.after_shrink is not None:
            shrunk += self.after_shrink(shrunk, noise)
        return self.output_norm(x + shrunk)

    def _attend(self, qkv: tf.Tensor, bias: tf.Tensor, noise: Noise, dropout: float, site: int) -> tf.Tensor:
        batch, length = tf.shape(bias)[0], tf.shape(bias)[3]
        width = qkv.shape[-1] // 3
        size = width // self._heads
        parts = tf.transpose(tf.reshape(qkv, [batch, length, 3, self._heads, size]), [2, 0, 3, 1, 4])
        query, key, value = tf.unstack(parts)  # [B, heads, L, size]
        scores = tf.matmul(query * (1 / math.sqrt(size)), key, transpose_b=True) + bias  # [B, heads, L, L]
        mixed = tf.matmul(noise.drop(tf.nn.softmax(scores), dropout, site), value)
        if self.prefix is not None:
            mixed += self.prefix(query)
        return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * length, width])


class Bert(tf.Module):
    """Token ids -> token vectors.

    Args:
      shape: its sizes.
      weights: name as in a PyTorch checkpoint of `transformers` (no "bert." before it, linear weights [out, in]) ->
        array. The word vectors may come `Quantised`; float ones are quantised here. Other names are ignored.

    Raises:
      ValueError: a tensor is missing.
    """

    def __init__(self, shape: BertShape, weights: Weights, name: str = "bert"):
        super().__init__(name=name)
        words = _take(weights, "embeddings.word_embeddings.weight")
        self.words = QuantisedTable(words if isinstance(words, Quantised) else quantise(words), name="words")
        kinds = np.asarray(_take(weights, "embeddings.token_type_embeddings.weight"), np.float32)
        places = np.asarray(_take(weights, "embeddings.position_embeddings.weight"), np.float32)
        self.places = tf.Variable(places + kinds[0], name="places")  # every token is of type 0
        self.norm = LayerNorm(weights, "embeddings.LayerNorm", shape.layer_norm_eps, name="norm")
        self.blocks = [
            Block(weights, f"encoder.layer.{i}", shape, name=f"block_{i}") for i in range(shape.num_hidden_layers)
        ]
        self.shape = shape
        self.num_block_weights = sum(v.shape.num_elements() for block in self.blocks for v in block.variables)
        self.dropout = 0.1  # of embeddings, attention weights and outputs; only where noise is drawn
        self.packed = False  # no padding in the dense layers; faster where lengths differ, impossible under XLA

    @property
    def max_length(self) -> int:
        """Longest input, in tokens."""
        return self.places.shape[0]

    def __call__(
        self,
        ids: tf.Tensor,
        mask: tf.Tensor,
        dtype: tf.DType = tf.float32,
        noise: Noise = QUIET,
        perturbation: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Token vectors.

        Args:
          ids: [B, L] int32 token ids.
          mask: [B, L] bool, False at padding.
          dtype: what the products are computed in.
          noise: what dropout draws from in training; `QUIET` draws nothing.
          perturbation: [B, L, D] float32 added to the word vectors, as adversarial training does.

        Returns:
          [B, L, D] in `dtype`.
        """
        batch, length = tf.shape(ids)[0], tf.shape(ids)[1]
        vectors = self.words(ids, tf.float32) + self.places[:length]
        if perturbation is not None:
            vectors += perturbation
        rows = Packed(mask) if self.packed else PADDED
        vectors = rows.squeeze(tf.reshape(vectors, [batch * length, self.shape.hidden_size]))
        x = noise.drop(tf.cast(self.norm(vectors), dtype), self.dropout, 0)
        bias = tf.cast(tf.where(mask, 0.0, -1e9), dtype)[:, None, None, :]
        for number, block in enumerate(self.blocks):
            x = block(x, bias, noise, self.dropout, SITES * (number + 1), rows)
        return tf.reshape(rows.spread(x), [batch, length, self.shape.hidden_size])
