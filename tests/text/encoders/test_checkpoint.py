"""Files of checkpoints: kinds, damage, shards, the hub."""

import json

import h5py
import huggingface_hub
import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub.errors import LocalEntryNotFoundError

from tfrec_llm.text.encoders.checkpoint import content_hash, fitted, locate, read_json, read_weights, weight_files

WEIGHTS = {"bert.encoder.a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "encoder.a.bias": np.ones(2, "f")}


def write_h5(path):
    with h5py.File(path, "w") as file:
        file["bert/model/bert/encoder/layer_._0/dense/kernel:0"] = np.arange(6, dtype=np.float32).reshape(3, 2)
        file["bert/model/bert/encoder/layer_._0/dense/bias:0"] = np.ones((1, 2))
        file["bert/model/bert/encoder/LayerNorm/gamma:0"] = np.full(3, 2.0)
        file["cls/model/cls/table/embeddings:0"] = np.zeros((4, 3))


def test_names_and_layout_of_h5(tmp_path):
    write_h5(tmp_path / "tf_model.h5")
    weights = read_weights(tmp_path, ("bert",))
    assert sorted(weights) == [
        "cls.model.cls.table.weight",
        "encoder.LayerNorm.weight",
        "encoder.layer.0.dense.bias",
        "encoder.layer.0.dense.weight",
    ]
    assert weights["encoder.layer.0.dense.weight"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert weights["encoder.layer.0.dense.bias"].tolist() == [1, 1]
    assert all(value.dtype == np.float32 for value in weights.values())


def test_safetensors_go_before_h5(tmp_path):
    safetensors.numpy.save_file(WEIGHTS, tmp_path / "model.safetensors")
    write_h5(tmp_path / "tf_model.h5")
    assert sorted(read_weights(tmp_path, ("bert",))) == ["encoder.a.bias", "encoder.a.weight"]


def test_no_weights_that_can_be_read(tmp_path):
    with pytest.raises(ValueError, match=r"expected model\.safetensors or tf_model\.h5.*got an empty folder"):
        weight_files(tmp_path)
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ValueError, match=r"got only pytorch_model\.bin; save the model with save_pretrained"):
        weight_files(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    safetensors.numpy.save_file(WEIGHTS, tmp_path / "model-00001-of-00002.safetensors")
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"expected all 2 shards, but model-00002-of-00002\.safetensors missing"):
        read_weights(tmp_path, ())
    (tmp_path / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a weight_map, got none"):
        read_weights(tmp_path, ())


@pytest.mark.parametrize("kept", [0, 5, 100, -10])
def test_a_truncated_file_is_named(tmp_path, kept):
    safetensors.numpy.save_file(WEIGHTS, tmp_path / "whole")
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "whole").read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors: expected a whole safetensors file, got .* bytes: "):
        read_weights(tmp_path, ())


@pytest.mark.parametrize("kept", [0, 100, 3000])
def test_a_truncated_h5_is_named(tmp_path, kept):
    write_h5(tmp_path / "whole")
    (tmp_path / "tf_model.h5").write_bytes((tmp_path / "whole").read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"tf_model\.h5: expected a whole h5 file, got .* bytes: "):
        read_weights(tmp_path, ())


def test_something_else_under_the_name_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(ValueError, match="expected a whole safetensors file, got 1,100 bytes"):
        read_weights(tmp_path, ())


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    bad = {"encoder.a": np.array([1.0, np.nan], np.float32)}
    safetensors.numpy.save_file(bad, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"expected finite weights, got others in encoder\.a"):
        fitted(read_weights(tmp_path, ()), {"encoder.a": (2,)}, ("encoder.",), tmp_path)


def test_config_files(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "be', encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json: expected JSON, got "):
        read_json(tmp_path, "config.json")
    (tmp_path / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="expected a JSON object, got list"):
        read_json(tmp_path, "config.json")


def test_the_hash_is_of_the_content(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    one = content_hash([tmp_path / "a", tmp_path / "absent"])
    assert one == content_hash([tmp_path / "a"])
    (tmp_path / "a").write_bytes(b"2")
    assert one != content_hash([tmp_path / "a"])


def test_a_folder_needs_no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    assert locate(str(tmp_path), "main") == tmp_path


def test_a_name_is_fetched_with_safetensors_or_else_with_h5(tmp_path, monkeypatch):
    asked = []

    def download(name, revision, allow_patterns):
        asked.append((name, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("owner/model", "v1") == tmp_path
    assert [("model.safetensors" in patterns, "tf_model.h5" in patterns) for *_, patterns in asked] == [
        (True, False),
        (False, True),
    ]
    assert {(name, revision) for name, revision, _ in asked} == {("owner/model", "v1")}
    (tmp_path / "model.safetensors").touch()
    asked.clear()
    locate("owner/model", "v1")
    assert len(asked) == 1


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("no network\nlong story"), OSError("no network")])
def test_offline(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ValueError, match="'owner/model': there is no such folder, and the hub says: no network Where"):
        locate("owner/model", "main")


def test_a_path_that_is_no_name(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        locate(str(tmp_path / "absent" / "model"), "main")
