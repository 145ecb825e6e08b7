"""TensorBoard's projector finds the vectors with their labels."""

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector import projector_config_pb2

from tfrec_llm.training import write_projector
from tfrec_llm.training.projector import MAX_ROWS


def read(logs):
    return text_format.Parse(
        (logs / "projector_config.pbtxt").read_text(encoding="utf-8"), projector_config_pb2.ProjectorConfig()
    )


def test_vectors_and_labels(tmp_path):
    write_projector(tmp_path, "items", np.array([[1.0, 0.5], [0.0, -2.0]]), ["Toy\tStory\n", "英雄"])
    assert (tmp_path / "items.tsv").read_text() == "1\t0.5\n0\t-2\n"
    assert (tmp_path / "items.metadata.tsv").read_text(encoding="utf-8") == "Toy Story\n英雄\n"
    (entry,) = read(tmp_path).embeddings
    assert (entry.tensor_name, entry.tensor_path, entry.metadata_path) == ("items", "items.tsv", "items.metadata.tsv")


def test_several_columns_have_a_head(tmp_path):
    write_projector(tmp_path, "items", np.eye(2), {"title": ["a", ""], "count": [3, 4]})
    assert (tmp_path / "items.metadata.tsv").read_text() == "title\tcount\na\t3\n-\t4\n"


def test_several_embeddings_share_a_folder_and_are_replaced_by_name(tmp_path):
    for name in ("items", "words", "items"):
        write_projector(tmp_path, name, np.eye(2), ["a", "b"])
    assert sorted(e.tensor_name for e in read(tmp_path).embeddings) == ["items", "words"]


def test_large_tables_are_thinned_evenly(tmp_path):
    vectors = np.arange(25_000, dtype=np.float32)[:, None]
    write_projector(tmp_path, "items", vectors, [f"i{i}" for i in range(25_000)])
    kept = np.loadtxt(tmp_path / "items.tsv")
    labels = (tmp_path / "items.metadata.tsv").read_text().split()
    assert len(kept) == len(labels) == MAX_ROWS
    assert (kept[0], kept[-1]) == (0, 24_999)
    assert labels[1234] == f"i{int(kept[1234])}"


def test_rows_must_agree(tmp_path):
    with pytest.raises(ValueError, match="expected 2 labels"):
        write_projector(tmp_path, "items", np.eye(2), ["a"])
    with pytest.raises(ValueError, match=r"\[R, D\]"):
        write_projector(tmp_path, "items", np.ones(2), ["a", "b"])
