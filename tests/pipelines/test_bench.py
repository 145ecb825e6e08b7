"""The benches with tiny models and peers of our own: order, ratios, the file they leave. Nothing is timed here."""

import json
import sys
from types import MappingProxyType

import numpy as np
import pytest
import tensorflow as tf
from transformers import AutoTokenizer

from pipelines import bench
from pipelines.benches import encoding, environment
from pipelines.benches.encoding import Ours, Peer, mixed_texts
from pipelines.benches.models import write_folder
from pipelines.benches.rounds import Settings, entry, paired, table
from tfrec_llm.config import Config, Text
from tfrec_llm.text.encoders.bert import BertShape
from tfrec_llm.text.encoders.e5_archive import E5
from tfrec_llm.text.encoders.engine import TensorFlowEngine
from tfrec_llm.text.encoders.registry import Tiny, random_weights, tiny
from tfrec_llm.text.encoders.tokenizers import SentencePiece

SERVER = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    answers = {"load": {"torch": "0"}, "encode": {"seconds": 2.0}, "each": {"seconds": [0.5]},
               "vectors": {"vectors": [[len(text), 1.0] for text in asked.get("texts", [])]}}
    if asked["do"] not in answers or asked.get("folder") == "missing":
        sys.exit("no such folder")
    print(json.dumps(answers[asked["do"]]), flush=True)
"""


def test_ratio_is_the_median_of_the_pairs_not_of_the_sides():
    one = entry([(10, 5), (30, 10), (8, 8)], "texts/s", {"threads": 2})  # ratios 2, 3, 1
    assert (one["ratio"], one["ratio_min"], one["ratio_max"]) == (2, 1, 3)
    assert (one["ours"], one["peer"], one["rounds"], one["unit"]) == (10, 8, 3, "texts/s")
    assert one["setup"] == {"threads": 2}


def test_the_two_take_turns_in_beginning():
    order = []

    def side(name, rate):
        def run():
            order.append(name)
            return rate

        return run

    one = paired("bench", side("ours", 4.0), side("peer", 2.0), 3, "texts/s", {})
    assert order == ["ours", "peer", "ours", "peer", "peer", "ours", "ours", "peer"]  # the first pair is not counted
    assert one["ratio"] == 2
    assert one["rounds"] == 3


def test_table_shows_rates_and_values():
    one = entry([(10, 5)], "texts/s", {}) | {"ms": {"ours": 1.5, "peer": 3}}
    shown = table({"encode.x": one, "serve.p50_ms": {"value": 12.5, "unit": "ms", "setup": {}}}).splitlines()
    assert shown[0].split()[:4] == ["bench", "ours", "peer", "unit"]
    assert shown[1].split() == ["encode.x", "10.0", "5.0", "texts/s", "2.00", "2.00", "2.00", "1.50", "3.00"]
    assert shown[2].split() == ["serve.p50_ms", "12.50", "ms"]


def test_texts_are_of_mixed_length_and_the_seed_s():
    texts = mixed_texts(40, 3)
    assert texts == mixed_texts(40, 3)
    assert texts != mixed_texts(40, 4)
    assert max(map(len, texts)) > 3 * min(map(len, texts))


@pytest.fixture(scope="module")
def ours():
    encoder = tiny(Tiny())
    engine = TensorFlowEngine(encoder, tf.float32)
    return Ours(encoder, engine, engine, 32, 4)


def test_our_side_keeps_the_order_of_the_texts(ours):
    texts = mixed_texts(11, 0)
    together = ours.vectors(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(ours.vectors([text])[0], vector, atol=2e-6)
    assert len(ours.each(texts[:2])) == 2


def server(tmp_path, **load):
    path = tmp_path / "server.py"
    path.write_text(SERVER, encoding="utf-8")
    return Peer([sys.executable, str(path)], {"folder": "here", **load}, "query: ", 4)


def test_a_peer_is_asked_over_its_pipe_with_the_prefix(tmp_path):
    peer = server(tmp_path)
    assert peer.versions == {"torch": "0"}
    assert peer.vectors(["ab"]).tolist() == [[len("query: ab"), 1]]
    assert peer.seconds(["ab"]) == 2
    assert peer.each(["ab"]) == [0.5]
    peer.close()


def test_a_peer_that_dies_is_said(tmp_path):
    with pytest.raises(ValueError, match="expected an answer of the peer, got none"):
        server(tmp_path, folder="missing")


class Twin(Ours):
    """A peer in this process."""

    versions = MappingProxyType({"torch": "none"})

    def close(self):
        pass


class Stranger(Twin):
    """A peer with other weights."""

    def vectors(self, texts):
        return -super().vectors(texts)


@pytest.fixture
def tiny_bench(monkeypatch):
    kind = {"class": Twin}

    def start(python, peer, dtype, folder, encoder, settings):
        engine = TensorFlowEngine(encoder, tf.float32)
        return lambda: kind["class"](encoder, engine, engine, settings.config.text.max_tokens, 4)

    monkeypatch.setattr(encoding, "_starter", start)
    monkeypatch.setattr(encoding, "WRITERS", {"tiny": lambda folder: None})
    monkeypatch.setattr(environment, "python", lambda: "python")
    monkeypatch.setattr(encoding, "SINGLES", 2)
    return kind


def test_bench_leaves_the_file_of_the_design_and_keeps_what_others_left(tiny_bench, tmp_path, capsys):
    (tmp_path / "bench.json").write_text('{"serve.p50_ms": {"value": 3.0, "unit": "ms", "setup": {}}}')
    bench.main(
        [
            "--config",
            "smoke",
            "--only",
            "encode",
            "--run",
            str(tmp_path),
            "--rounds",
            "2",
            "--texts",
            "6",
            "--encoders",
            "tiny",
        ]
    )
    left = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    assert set(left) == {"serve.p50_ms", *encoding.PEERS}
    one = left["encode.tensorflow_only"]
    assert set(one) == {"ours", "peer", "ratio", "ratio_min", "ratio_max", "unit", "rounds", "setup", "ms"}
    assert one["setup"]["engine"] == "tensorflow"
    assert one["setup"]["encoder"] == "tiny"
    assert one["setup"]["least_cosine"] == pytest.approx(1, abs=1e-5)
    assert one["rounds"] == 2
    assert one["ratio_min"] <= one["ratio"] <= one["ratio_max"]
    assert "encode.onnxruntime" in capsys.readouterr().out


def test_a_peer_with_other_weights_is_refused(tiny_bench):
    tiny_bench["class"] = Stranger
    settings = Settings(Config(text=Text(engine="tensorflow", max_tokens=32)), 1, ("tiny",), 4)
    with pytest.raises(ValueError, match="expected the same vectors, got cosines of -1"):
        list(encoding.encode(settings))


@pytest.mark.parametrize(("name", "folder"), [("peers", ".venv-bench"), ("recbole", ".venv-bench-recbole")])
def test_a_finished_environment_is_not_made_again(monkeypatch, tmp_path, name, folder):
    made = []
    lock = environment.lock_of(name)
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "lock_of", lambda _: tmp_path / "lock")
    (tmp_path / "lock").write_bytes(lock.read_bytes())
    monkeypatch.setattr(environment, "_run", lambda command, venv: made.append(command))
    monkeypatch.setattr(environment.sys, "version_info", (3, 12, 0))

    class Done:
        returncode = 0

    monkeypatch.setattr(environment.subprocess, "run", lambda command, **_: made.append(command) or Done())
    assert environment.python(name) == tmp_path / folder / "bin" / "python"
    assert len(made) == 3  # venv, the lock, torch
    assert any("--require-hashes" in command for command in made)
    environment.python(name)
    assert len(made) == 3


def test_a_python_without_wheels_for_a_peer_is_told(monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 13, 1))
    with pytest.raises(ValueError, match=r"Python 3\.12 or older for \.venv-bench-recbole, got 3\.13"):
        environment.python("recbole")


@pytest.mark.parametrize("name", environment.ENVIRONMENTS)
def test_every_package_of_the_peers_has_a_version_and_a_hash(name):
    blocks = environment.lock_of(name).read_text("utf-8").replace("\\\n", " ").splitlines()
    assert all("==" in line and "--hash=sha256:" in line for line in blocks)
    assert not any(line.startswith("torch==") for line in blocks)


def test_the_folder_for_peers_has_our_weights_and_token_ids(tmp_path):
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁the", "▁film", "s", "▁好", "电影", "f", "i", "l", "m"]
    scores = np.array([0, 0, 0, 0, -3, -1, -2, -2.5, -4, -3, -6, -6, -6, -6], np.float32)
    shape = BertShape(32, 1, 2, 64)
    weights = random_weights(shape, len(pieces), 16, 0)
    write_folder(tmp_path, E5(shape, pieces, scores, weights))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["the films", "好电影 ｆｉｌｍ", "the  x"]
    ids, mask = SentencePiece(pieces, scores)(tf.constant(texts), 16)
    for text, row, kept in zip(texts, ids.numpy(), mask.numpy(), strict=True):
        assert tokenizer(text)["input_ids"] == row[kept].tolist()
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert (config["vocab_size"], config["max_position_embeddings"], config["model_type"]) == (14, 16, "bert")
