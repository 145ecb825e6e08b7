"""The encoders by name: where their weights and vocabularies come from."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tfrec_llm.config import setting
from tfrec_llm.text.bert import Bert, BertShape
from tfrec_llm.text.encoder import TextEncoder
from tfrec_llm.text.tokenizers import CharacterHash


@dataclass(frozen=True)
class Tiny:
    """Random weights and hashed characters: for smoke runs and tests only."""

    dim: int = setting(32, "length of a vector, a multiple of 32", low=32)
    layers: int = setting(1, "transformer layers", low=1)
    seed: int = setting(1, "seed of the random weights", low=0)


def tiny(settings: Tiny) -> TextEncoder:
    """An encoder with random weights."""
    shape = BertShape(settings.dim, settings.layers, 2, 2 * settings.dim)
    weights = random_weights(shape, 4096, 512, settings.seed)
    return TextEncoder(CharacterHash(4096), Bert(shape, weights), {}, fingerprint(repr(settings).encode()))


def random_weights(shape: BertShape, words: int, places: int, seed: int) -> dict[str, np.ndarray]:
    """A checkpoint of random numbers, names and shapes as in `transformers`."""
    draw = np.random.default_rng(seed)
    wide, inner = shape.hidden_size, shape.intermediate_size
    tables = {"word": words, "position": places, "token_type": 2}
    weights = {
        f"embeddings.{name}_embeddings.weight": draw.normal(0, 1, (rows, wide)).astype(np.float32)
        for name, rows in tables.items()
    }
    weights["embeddings.position_embeddings.weight"] *= 0.1
    linear = {"attention.self.query": (wide, wide), "attention.self.key": (wide, wide)}
    linear |= {"attention.self.value": (wide, wide), "attention.output.dense": (wide, wide)}
    linear |= {"intermediate.dense": (inner, wide), "output.dense": (wide, inner)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(shape.num_hidden_layers):
        prefix = f"encoder.layer.{layer}"
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
        for name, size in linear.items():
            weights[f"{prefix}.{name}.weight"] = draw.normal(0, size[1] ** -0.5, size).astype(np.float32)
            weights[f"{prefix}.{name}.bias"] = np.zeros(size[0], np.float32)
    for name in norms:
        weights[f"{name}.weight"], weights[f"{name}.bias"] = np.ones(wide, np.float32), np.zeros(wide, np.float32)
    return weights


def fingerprint(*parts: bytes) -> str:
    """A short hash that stands for an encoder's weights and vocabulary."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


ENCODERS: dict[str, tuple[type, Callable[..., TextEncoder]]] = {
    "tiny": (Tiny, tiny),
}
