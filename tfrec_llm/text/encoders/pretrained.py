"""The encoder `bert`: any checkpoint of the BERT family, from a folder or a hub, with its own vocabulary."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.config import setting
from tfrec_llm.text.encoders import vocabularies
from tfrec_llm.text.encoders.bert import ACTIVATIONS, Bert, BertShape
from tfrec_llm.text.encoders.checkpoint import (
    content_hash,
    fingerprint,
    fitted,
    locate,
    read_json,
    read_weights,
    weight_files,
)
from tfrec_llm.text.encoders.encoder import TextEncoder

ROBERTA = ("roberta", "xlm-roberta", "camembert")  # their positions are counted from the padding's id
FAMILY = ("bert", *ROBERTA)
PATH = {"help": "folder of a checkpoint, or its name on the hub", "low": 1, "high": None, "choices": None}
POSITIONS = "embeddings.position_embeddings.weight"


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint of BERT, RoBERTa or XLM-R, with safetensors or TensorFlow weights."""

    path: str = dataclasses.field(metadata=PATH)
    revision: str = setting("main", "branch, tag or commit on the hub")
    pooling: str = setting(
        "auto",
        "how token vectors become one; auto = as sentence-transformers' 1_Pooling says, else mean",
        choices=("auto", "mean", "cls"),
    )
    query_prefix: str = setting("", "put before what users say, e.g. 'query: '")
    passage_prefix: str = setting("", "put before what items are, e.g. 'passage: '")


def bert(settings: Pretrained) -> TextEncoder:
    """The encoder of a checkpoint.

    Raises:
      ValueError: it is not there, not of the BERT family, damaged, or its files do not belong together.
    """
    folder = locate(settings.path, settings.revision)
    config = read_json(folder, "config.json")
    shape = read_shape(config, folder)
    tokenizer = vocabularies.read_tokenizer(folder)
    check_vocabulary(len(tokenizer.pieces), config["vocab_size"], folder)
    wanted = names_and_shapes(shape, config["vocab_size"], config["max_position_embeddings"], config["type_vocab_size"])
    weights = fitted(read_weights(folder, FAMILY[:2]), wanted, ("embeddings.", "encoder."), folder)
    if config.get("model_type") in ROBERTA:
        weights[POSITIONS] = weights[POSITIONS][config.get("pad_token_id", 1) + 1 :]
    pooling = _pooling(folder) if settings.pooling == "auto" else settings.pooling
    prefixes = {"query": settings.query_prefix, "passage": settings.passage_prefix}
    mark = fingerprint(repr((shape, pooling, prefixes)).encode(), checkpoint_hash(folder))
    return TextEncoder(tokenizer, Bert(shape, weights), prefixes, mark, pooling)


def checkpoint_hash(folder: Path) -> bytes:
    """A hash of the weights and the vocabulary."""
    return content_hash([*weight_files(folder), *(folder / name for name in vocabularies.FILES)])


def check_vocabulary(words: int, rows: int, folder: Path) -> None:
    """Refuses a vocabulary that is larger than the table of word vectors."""
    if words > rows:
        raise ValueError(
            f"{folder}: expected a vocabulary of at most {rows} words, as config.json says, got {words}; take the "
            "vocabulary that belongs to the weights."
        )


def read_shape(config: Mapping[str, Any], folder: Path) -> BertShape:
    """The sizes of a `config.json`.

    Raises:
      ValueError: it is of another architecture, or lacks a size.
    """
    kind = config.get("model_type", "bert")
    if kind not in FAMILY or config.get("is_decoder"):
        raise ValueError(
            f"{folder}: expected a model_type of the BERT family ({', '.join(FAMILY)}), got "
            f"{kind!r}{' as a decoder' if config.get('is_decoder') else ''}; "
            "for GPT-2 set text.encoder to gpt2, else take another checkpoint."
        )
    needed = ["vocab_size", "max_position_embeddings", "type_vocab_size"]
    needed += [f.name for f in dataclasses.fields(BertShape) if f.default is dataclasses.MISSING]
    check_sizes(config, needed, folder)
    _check_optional(config, folder)
    act, places = config.get("hidden_act", "gelu"), config.get("position_embedding_type", "absolute")
    if act not in ACTIVATIONS or places != "absolute" or config["hidden_size"] % config["num_attention_heads"]:
        raise ValueError(
            f"{folder}: expected hidden_act {', '.join(ACTIVATIONS)}, position_embedding_type absolute, and a "
            f"hidden_size that is a multiple of num_attention_heads, got {act}, {places}, {config['hidden_size']} and "
            f"{config['num_attention_heads']}; take another checkpoint."
        )
    known = {f.name: config[f.name] for f in dataclasses.fields(BertShape) if f.name in config}
    return BertShape(**known)


def _check_optional(config: Mapping[str, Any], folder: Path) -> None:
    """Refuses optional entries of a `config.json` that are no numbers or names."""
    epsilon, padding = config.get("layer_norm_eps", 1e-12), config.get("pad_token_id", 1)
    if not isinstance(epsilon, float | int) or not 0 < epsilon < 1:
        raise ValueError(f"{folder / 'config.json'}: expected a small layer_norm_eps, got {epsilon!r}; correct it.")
    if not isinstance(config.get("hidden_act", "gelu"), str):
        raise ValueError(f"{folder / 'config.json'}: expected hidden_act to be a name, got {config['hidden_act']!r}.")
    if config.get("model_type") in ROBERTA:
        most = config["max_position_embeddings"] - 2
        if type(padding) is not int or not 0 <= padding <= most:
            raise ValueError(
                f"{folder / 'config.json'}: expected a pad_token_id from 0 to {most} (positions are counted from it), "
                f"got {padding!r}; correct it, or download it again."
            )


def check_sizes(config: Mapping[str, Any], needed: list[str], folder: Path) -> None:
    """Refuses a `config.json` without the sizes named."""
    if wrong := [name for name in needed if type(config.get(name)) is not int or config[name] < 1]:
        got = ", ".join(f"{name} {config.get(name)!r}" for name in wrong)
        raise ValueError(f"{folder / 'config.json'}: expected positive numbers, got {got}; download it again.")


def names_and_shapes(shape: BertShape, words: int, places: int, kinds: int) -> dict[str, tuple[int, ...]]:
    """The weights of a BERT: name as in PyTorch -> shape."""
    wide, inner = shape.hidden_size, shape.intermediate_size
    tables = {"word": words, "position": places, "token_type": kinds}
    wanted = {f"embeddings.{name}_embeddings.weight": (rows, wide) for name, rows in tables.items()}
    linear = {f"attention.self.{part}": (wide, wide) for part in ("query", "key", "value")}
    linear |= {"attention.output.dense": (wide, wide)}
    linear |= {"intermediate.dense": (inner, wide), "output.dense": (wide, inner)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(shape.num_hidden_layers):
        prefix = f"encoder.layer.{layer}"
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
        for name, size in linear.items():
            wanted |= {f"{prefix}.{name}.weight": size, f"{prefix}.{name}.bias": size[:1]}
    return wanted | {f"{norm}.{part}": (wide,) for norm in norms for part in ("weight", "bias")}


def random_weights(shape: BertShape, words: int, places: int, seed: int) -> dict[str, np.ndarray]:
    """A checkpoint of random numbers, names and shapes as in `transformers`."""
    draw, weights = np.random.default_rng(seed), {}
    for name, size in names_and_shapes(shape, words, places, 2).items():
        if len(size) == 2:
            deviation = 1 if name.startswith("embeddings.") else size[1] ** -0.5
            weights[name] = draw.normal(0, deviation, size).astype(np.float32)
        else:
            weights[name] = np.full(size, "LayerNorm.weight" in name, np.float32)
    weights[POSITIONS] *= 0.1
    return weights


def _pooling(folder: Path) -> str:
    """What sentence-transformers says of its checkpoint, else the mean."""
    if not (folder / "1_Pooling" / "config.json").is_file():
        return "mean"
    said = read_json(folder / "1_Pooling", "config.json")
    chosen = [name.removeprefix("pooling_mode_") for name, value in said.items() if value is True and "mode" in name]
    names = {"mean_tokens": "mean", "cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in names:
        raise ValueError(
            f"{folder / '1_Pooling'}: expected mean_tokens or cls_token, got {', '.join(chosen) or 'none'}; set "
            "pooling to mean or cls."
        )
    return names[chosen[0]]
