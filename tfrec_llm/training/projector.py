"""Vectors for TensorBoard's embedding projector."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tensorboard.plugins.projector import projector_config_pb2

from tfrec_llm.training import files

MAX_ROWS = 10_000  # more is slow in a browser
_CONFIG = "projector_config.pbtxt"


def write_projector(
    logs: str | Path, name: str, vectors: np.ndarray, metadata: Sequence[str] | Mapping[str, Sequence]
) -> None:
    """Writes vectors and their labels where TensorBoard's projector finds them.

    Args:
      logs: the stage's TensorBoard folder; other embeddings in it stay.
      name: what the projector calls the vectors.
      vectors: [R, D]; of more than 10,000 rows every R/10,000th is kept.
      metadata: [R] labels, or columns by name, each [R].

    Raises:
      ValueError: vectors are not [R, D], or a column has another number of rows.
    """
    logs, vectors = Path(logs), np.asarray(vectors, dtype=np.float32)
    columns = dict(metadata) if isinstance(metadata, Mapping) else {"label": metadata}
    if vectors.ndim != 2:
        raise ValueError(f"{name}: expected vectors [R, D], got shape {list(vectors.shape)}.")
    for column, values in columns.items():
        if len(values) != len(vectors):
            raise ValueError(f"{name}: expected {len(vectors)} labels in {column!r}, got {len(values)}.")
    rows = np.arange(len(vectors))
    if len(rows) > MAX_ROWS:
        rows = np.linspace(0, len(rows) - 1, MAX_ROWS).astype(np.int64)
    lines = ["\t".join(f"{x:.6g}" for x in vectors[row]) for row in rows]
    labels = ["\t".join(_cell(values[row]) for values in columns.values()) for row in rows]
    head = ["\t".join(map(_cell, columns))] if len(columns) > 1 else []  # the projector wants no head over one column
    files.write_text(logs / f"{name}.tsv", "\n".join(lines) + "\n")
    files.write_text(logs / f"{name}.metadata.tsv", "\n".join(head + labels) + "\n")
    _register(logs, name)


def _cell(value: object) -> str:
    return " ".join(str(value).split()) or "-"


def _register(logs: Path, name: str) -> None:
    config, path = projector_config_pb2.ProjectorConfig(), logs / _CONFIG
    if path.is_file():
        text_format.Parse(path.read_text(encoding="utf-8"), config)
    others = [e for e in config.embeddings if e.tensor_name != name]
    del config.embeddings[:]
    config.embeddings.extend(others)
    config.embeddings.add(tensor_name=name, tensor_path=f"{name}.tsv", metadata_path=f"{name}.metadata.tsv")
    files.write_text(path, text_format.MessageToString(config))
