"""Checkpoints of `transformers` from a folder or a hub: files found, read without PyTorch, checked name by name.

Used by `pretrained` and `gpt2`. Weights come from safetensors or from TensorFlow's h5, whole or in shards with an
index, and leave under the names that `transformers` gives them in PyTorch, without a root such as "bert.".
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import huggingface_hub
import numpy as np
import safetensors
import safetensors.numpy
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

log = logging.getLogger(__name__)

SAFETENSORS, TENSORFLOW = "model.safetensors", "tf_model.h5"
OTHER = ("pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack", "model.ckpt.index")
DESCRIBING = ("*.json", "vocab.txt", "merges.txt", "sentencepiece.bpe.model", "1_Pooling/config.json")
BUFFERS = (".position_ids", ".token_type_ids", ".attn.bias", ".attn.masked_bias")  # saved, but no weights
OLD_NAMES = {"gamma": "weight", "beta": "bias"}
KERAS_NAMES = {**OLD_NAMES, "kernel": "weight", "embeddings": "weight"}
SHOWN = 4  # names in a message


def locate(path: str, revision: str) -> Path:
    """The folder of a checkpoint.

    Args:
      path: a folder, or a name on the hub, "owner/model".
      revision: branch, tag or commit on the hub; nothing to a folder.

    Raises:
      ValueError: no such folder, and the hub has no such name or cannot be reached.
    """
    if Path(path).expanduser().is_dir():
        return Path(path).expanduser()
    try:
        weights = [SAFETENSORS, "model-*.safetensors"]
        folder = Path(
            huggingface_hub.snapshot_download(path, revision=revision, allow_patterns=[*DESCRIBING, *weights])
        )
        if not _present(folder, SAFETENSORS):
            weights = [TENSORFLOW, "tf_model-*.h5"]
            huggingface_hub.snapshot_download(path, revision=revision, allow_patterns=[*DESCRIBING, *weights])
        return folder
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"expected a folder with a checkpoint, or its name on the hub, got {path!r}: there is no such folder, and "
            f"the hub says: {reason} Where there is no network, give the folder of a downloaded checkpoint."
        ) from error


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """One JSON file of a checkpoint.

    Raises:
      ValueError: it is missing, or no JSON object.
    """
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"{folder}: expected {name}, got {_listing(folder)}; download the checkpoint whole."
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{folder / name}: expected JSON, got {error}; download it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{folder / name}: expected a JSON object, got {type(content).__name__}; download it again.")
    return content


def read_weights(folder: Path, roots: Sequence[str]) -> dict[str, np.ndarray]:
    """All weights of a checkpoint.

    Args:
      folder: the checkpoint.
      roots: what may stand before a name, e.g. "bert".

    Returns:
      Name -> float32 array, linear weights as they are in PyTorch.

    Raises:
      ValueError: there are no weights that are read without PyTorch, or a file is damaged.
    """
    weights = {}
    for path in weight_files(folder):
        read = _read_safetensors if path.suffix == ".safetensors" else _read_h5
        try:
            weights |= {_without_root(name, roots): value for name, value in read(path)}
        except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"{path}: expected a whole {path.suffix[1:]} file, got {path.stat().st_size:,} bytes: {error}; "
                "download it again."
            ) from error
    return weights


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; safetensors where there are both kinds."""
    for name in (SAFETENSORS, TENSORFLOW):
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder, f"{name}.index.json")
    others = [name for name in OTHER if (folder / name).exists()]
    found = f"only {', '.join(others)}" if others else _listing(folder)
    raise ValueError(
        f"{folder}: expected {SAFETENSORS} or {TENSORFLOW}, whole or in shards with an index, got {found}; save the "
        "model with save_pretrained(folder, safe_serialization=True)."
    )


def fitted(
    weights: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]], inside: tuple[str, ...], where: Path
) -> dict[str, np.ndarray]:
    """The wanted weights, when the checkpoint has exactly those inside the transformer.

    Args:
      weights: name -> array.
      wanted: name -> shape, as `config.json` implies.
      inside: beginnings of the names that belong to the transformer; heads outside are left alone.
      where: the checkpoint, for the message.

    Raises:
      ValueError: weights are missing, are more than the config accounts for, or are of another shape or not
        finite; they are named.
    """
    missing = [name for name in wanted if name not in weights]
    extra = [n for n in weights if n.startswith(inside) and n not in wanted and not n.endswith(BUFFERS)]
    other = [name for name, shape in wanted.items() if name in weights and weights[name].shape != shape]
    if missing or extra:
        parts = [
            f"{kind} {len(names)} ({_some(names)})" for kind, names in (("lacks", missing), ("has", extra)) if names
        ]
        raise ValueError(
            f"{where}: expected the {len(wanted)} weights that its config.json describes, but the checkpoint "
            f"{' and '.join(parts)}{' more' if extra else ''}; config.json and the weights must be of one model."
        )
    if other:
        shapes = [f"{name} {list(wanted[name])}, got {list(weights[name].shape)}" for name in other[:SHOWN]]
        raise ValueError(
            f"{where}: expected weights of the shapes in config.json: {'; '.join(shapes)} ({len(other)} differ); "
            "config.json and the weights must be of one model."
        )
    if broken := [name for name in wanted if not np.isfinite(weights[name]).all()]:
        raise ValueError(f"{where}: expected finite weights, got others in {_some(broken)}; download it again.")
    if left := sorted(name for name in weights if name not in wanted and not name.endswith(BUFFERS)):
        log.info("%s: %d weights of heads are not used: %s", where, len(left), _some(left))
    return {name: weights[name] for name in wanted}


def fingerprint(*parts: bytes) -> str:
    """A short hash that stands for an encoder's weights and vocabulary."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return whole.hexdigest()[:16]


def content_hash(files: Sequence[Path]) -> bytes:
    """One hash for the content of all files, those that are absent left out."""
    whole = hashlib.sha256()
    for path in files:
        if path.is_file():
            with path.open("rb") as file:
                whole.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return whole.digest()


def _present(folder: Path, name: str) -> bool:
    return (folder / name).is_file() or (folder / f"{name}.index.json").is_file()


def _shards(folder: Path, index: str) -> list[Path]:
    named = read_json(folder, index).get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"{folder / index}: expected a weight_map, got none; download it again.")
    paths = [folder / os.path.basename(name) for name in sorted(set(named.values()))]
    if absent := [path.name for path in paths if not path.is_file()]:
        raise ValueError(f"{folder}: expected all {len(paths)} shards, but {_some(absent)} missing; download them.")
    return paths


def _read_safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    for name, value in safetensors.numpy.load_file(path).items():
        rest, _, last = name.rpartition(".")
        yield f"{rest}.{OLD_NAMES.get(last, last)}" if rest else last, np.asarray(value, np.float32)


def _read_h5(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """bert/model/bert/encoder/layer_._0/output/dense/kernel:0 -> bert.model.bert.encoder.layer.0.output.dense.weight"""
    found: list[tuple[str, np.ndarray]] = []

    def visit(name: str, entry: h5py.Dataset | h5py.Group) -> None:
        if isinstance(entry, h5py.Dataset):
            found.append((name, np.asarray(entry, np.float32)))

    with h5py.File(path, "r") as opened:
        opened.visititems(visit)
    for name, value in found:
        *rest, last = name.partition(":")[0].replace("_._", "/").split("/")
        value = value.T if last == "kernel" else value.reshape(-1) if last == "bias" else value
        yield ".".join([*rest, KERAS_NAMES.get(last, last)]), value


def _without_root(name: str, roots: Sequence[str]) -> str:
    for root in roots:
        _, found, rest = f".{name}".rpartition(f".{root}.")
        if found:
            return rest
    return name


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return f"{len(names)} files ({_some(names)})" if names else "an empty folder"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
