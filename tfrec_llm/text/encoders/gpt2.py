"""The encoder `gpt2`: a decoder whose last token, or mean, stands for the text. Its tokenizer keeps it out of exports.

The graph is that of `bert` with the norms before instead of after, and a mask that hides what comes later; the
fine-tuning methods hang on the same hooks.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm.config import setting
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.encoders.bert import ACTIVATIONS, SITES, BertShape, Block, LayerNorm
from tfrec_llm.text.encoders.byte_level import ByteLevel
from tfrec_llm.text.encoders.checkpoint import fingerprint, fitted, locate, read_json, read_weights
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.pretrained import PATH, check_sizes, check_vocabulary, checkpoint_hash
from tfrec_llm.text.encoders.quantised import QuantisedTable, quantise

INSIDE = ("wte.", "wpe.", "h.", "ln_f.")
SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")


@dataclass(frozen=True)
class Gpt2Settings:
    """A checkpoint of GPT-2, with safetensors or TensorFlow weights; for training and item vectors, not for export."""

    path: str = dataclasses.field(metadata=PATH)
    revision: str = setting("main", "branch, tag or commit on the hub")
    pooling: str = setting("last", "how token vectors become one", choices=("last", "mean"))
    query_prefix: str = setting("", "put before what users say")
    passage_prefix: str = setting("", "put before what items are")


def gpt2(settings: Gpt2Settings) -> TextEncoder:
    """GPT-2 (Radford et al., 2019) as an encoder.

    Raises:
      ValueError: the checkpoint is not there, no GPT-2, damaged, or its files do not belong together.
    """
    folder = locate(settings.path, settings.revision)
    config = read_json(folder, "config.json")
    shape = read_shape(config, folder)
    tokenizer = ByteLevel.read(folder)
    check_vocabulary(len(tokenizer.pieces), config["vocab_size"], folder)
    wanted = names_and_shapes(shape, config["vocab_size"], config["n_positions"])
    weights = fitted(read_weights(folder, ("transformer",)), wanted, INSIDE, folder)
    prefixes = {"query": settings.query_prefix, "passage": settings.passage_prefix}
    mark = fingerprint(repr((shape, settings.pooling, prefixes)).encode(), checkpoint_hash(folder))
    return TextEncoder(tokenizer, Gpt2(shape, weights), prefixes, mark, settings.pooling)


def read_shape(config: Mapping[str, Any], folder: Path) -> BertShape:
    """The sizes of a `config.json`.

    Raises:
      ValueError: it is of another architecture, or lacks a size.
    """
    if config.get("model_type") != "gpt2":
        raise ValueError(
            f"{folder}: expected model_type gpt2, got {config.get('model_type')!r}; for the BERT family set "
            "text.encoder to bert."
        )
    check_sizes(config, list(SIZES), folder)
    act = config.get("activation_function", "gelu_new")
    variants = [name for name in ("scale_attn_by_inverse_layer_idx", "add_cross_attention") if config.get(name)]
    if act not in ACTIVATIONS or variants or not config.get("scale_attn_weights", True):
        raise ValueError(
            f"{folder}: expected a plain GPT-2 with activation_function {', '.join(ACTIVATIONS)}, got {act} "
            f"{' '.join(variants)}; take another checkpoint."
        )
    inner, epsilon = config.get("n_inner") or 4 * config["n_embd"], config.get("layer_norm_epsilon", 1e-5)
    return BertShape(config["n_embd"], config["n_layer"], config["n_head"], inner, epsilon, act)


def names_and_shapes(shape: BertShape, words: int, places: int) -> dict[str, tuple[int, ...]]:
    """The weights of a GPT-2: name as in PyTorch -> shape; linear weights are [in, out] here."""
    wide, inner = shape.hidden_size, shape.intermediate_size
    wanted = {"wte.weight": (words, wide), "wpe.weight": (places, wide)}
    linear = {"attn.c_attn": (wide, 3 * wide), "attn.c_proj": (wide, wide)}
    linear |= {"mlp.c_fc": (wide, inner), "mlp.c_proj": (inner, wide)}
    norms = ["ln_f"]
    for layer in range(shape.num_hidden_layers):
        norms += [f"h.{layer}.ln_1", f"h.{layer}.ln_2"]
        for name, size in linear.items():
            wanted |= {f"h.{layer}.{name}.weight": size, f"h.{layer}.{name}.bias": size[1:]}
    return wanted | {f"{norm}.{part}": (wide,) for norm in norms for part in ("weight", "bias")}


class DecoderBlock(Block):
    """Self-attention and feed-forward, each with its norm before it."""

    def __call__(
        self, x: tf.Tensor, bias: tf.Tensor, noise: Noise = QUIET, dropout: float = 0.0, site: int = 0
    ) -> tf.Tensor:
        """As `Block.__call__`, with `bias` [B, 1, L, L]."""
        mixed = self.mix(self._attend(self.qkv(self.attention_norm(x), noise), bias, noise, dropout, site), noise)
        mixed = noise.drop(mixed, dropout, site + 1)
        if self.after_mix is not None:
            mixed += self.after_mix(mixed, noise)
        x += mixed
        shrunk = self.shrink(self._activation(self.grow(self.output_norm(x), noise)), noise)
        shrunk = noise.drop(shrunk, dropout, site + 2)
        if self.after_shrink is not None:
            shrunk += self.after_shrink(shrunk, noise)
        return x + shrunk


class Gpt2(tf.Module):
    """Token ids -> token vectors, each of which knows the tokens before it.

    Args:
      shape: its sizes.
      weights: name as in `names_and_shapes` -> array.
    """

    def __init__(self, shape: BertShape, weights: Mapping[str, np.ndarray], name: str = "gpt2"):
        super().__init__(name=name)
        self.words = QuantisedTable(quantise(weights["wte.weight"]), name="words")
        self.places = tf.Variable(weights["wpe.weight"], name="places")
        self.blocks = [
            DecoderBlock(_as_bert(weights, f"h.{i}"), "layer", shape, name=f"block_{i}")
            for i in range(shape.num_hidden_layers)
        ]
        self.norm = LayerNorm(weights, "ln_f", shape.layer_norm_eps, name="norm")
        self.shape = shape
        self.num_block_weights = sum(v.shape.num_elements() for block in self.blocks for v in block.variables)
        self.dropout = 0.1

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
        """As `Bert.__call__`."""
        batch, length = tf.shape(ids)[0], tf.shape(ids)[1]
        vectors = self.words(ids, tf.float32) + self.places[:length]
        if perturbation is not None:
            vectors += perturbation
        x = noise.drop(tf.cast(tf.reshape(vectors, [batch * length, self.shape.hidden_size]), dtype), self.dropout, 0)
        seen = mask[:, None, None, :] & (tf.range(length)[:, None] >= tf.range(length))
        bias = tf.cast(tf.where(seen, 0.0, -1e9), dtype)  # [B, 1, L, L]
        for number, block in enumerate(self.blocks):
            x = block(x, bias, noise, self.dropout, SITES * (number + 1))
        return tf.reshape(self.norm(x), [batch, length, self.shape.hidden_size])


LINEAR = {"attn.c_proj": "attention.output.dense", "mlp.c_fc": "intermediate.dense", "mlp.c_proj": "output.dense"}
NORMS = {"ln_1": "attention.output.LayerNorm", "ln_2": "output.LayerNorm"}


def _as_bert(weights: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """One layer under the names, and in the layout, that `Block` takes."""
    layer = {}
    for theirs, ours in (LINEAR | NORMS).items():
        for part in ("weight", "bias"):  # of a norm, turning changes nothing
            layer[f"layer.{ours}.{part}"] = weights[f"{prefix}.{theirs}.{part}"].T
    kernels = np.split(weights[f"{prefix}.attn.c_attn.weight"], 3, 1)
    biases = np.split(weights[f"{prefix}.attn.c_attn.bias"], 3)
    for part, kernel, bias in zip(("query", "key", "value"), kernels, biases, strict=True):
        layer |= {f"layer.attention.self.{part}.weight": kernel.T, f"layer.attention.self.{part}.bias": bias}
    return layer
