"""The benches of search, sequences and towers with small data and peers of our own: what they leave and refuse."""

import dataclasses
import sys

import numpy as np
import pytest

from pipelines.benches import BENCHES, search, sequences, server, towers
from pipelines.benches.rounds import Settings
from pipelines.benches.server import Server
from pipelines.tutorial.ratings import Ratings
from pipelines.tutorial.stock import StockSettings
from tfrec_llm import data
from tfrec_llm.config import Component, Config, Data, Retrieval
from tfrec_llm.retrieval.set_towers import SetTowersSettings

FORM = {"ours", "peer", "ratio", "ratio_min", "ratio_max", "unit", "rounds", "setup"}
CONFIG = Config(
    data=Data(source="synthetic", synthetic_users=30, synthetic_items=20, synthetic_events=12),
    retrieval=Retrieval(batch_size=64),
)
CONFIG = dataclasses.replace(
    CONFIG,
    train=dataclasses.replace(CONFIG.train, precision="float32", xla="off"),
    behaviour=dataclasses.replace(
        CONFIG.behaviour, model=Component("lstm", {"units": 8, "dim": 4}), max_history=10, batch_size=8
    ),
)
SETTINGS = Settings(CONFIG, 2, (), 4, events=120)


class Answers:
    """A peer in this process that answers from a dict; callables get the question."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    def ask(self, question):
        self.asked.append(question)
        answer = self.answers[question["do"]]
        return answer(question) if callable(answer) else answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def peer(monkeypatch):
    made = {}

    def start(name, script, threads):
        return made["peer"]

    monkeypatch.setattr(server, "start", start)
    return made


def sorted_search(question, table, queries, shift=0):
    if "keep" in question:
        np.save(question["keep"], np.argsort(-(queries @ table.T), axis=1, kind="stable")[:, : question["k"]] + shift)
    return {"seconds": 0.5}


@pytest.mark.parametrize("together", [None, 1])
def test_search_is_compared_before_it_is_timed(peer, together):
    draw = np.random.default_rng(0)
    table, queries = (draw.normal(size=[n, 8]).astype(np.float32) for n in (500, 6))
    peer["peer"] = Answers({"load": {"faiss": "0"}, "search": lambda q: sorted_search(q, table, queries)})
    entry = search.beside("topk.case", table, queries, together, SETTINGS)
    assert set(entry) - {"ms"} == FORM
    assert entry["setup"]["recall"] == 1
    assert entry["setup"]["batch"] == (together or 6)
    assert entry["peer"] == 12  # six queries in half a second
    assert ("ms" in entry) == (together == 1)
    assert entry["rounds"] == 2


def test_search_that_finds_other_items_is_refused(peer):
    draw = np.random.default_rng(0)
    table, queries = (draw.normal(size=[n, 8]).astype(np.float32) for n in (500, 6))
    peer["peer"] = Answers({"load": {}, "search": lambda q: sorted_search(q, table, queries, shift=500)})
    with pytest.raises(ValueError, match=r"topk\.case: expected the items that faiss finds, got a recall of 0\.0000"):
        search.beside("topk.case", table, queries, None, SETTINGS)


def test_sequences_are_trained_on_the_same_events_at_equal_width(peer):
    peer["peer"] = Answers({"load": {"items": 20}, "train": {"seconds": 2.0, "targets": 50}})
    entries = dict(sequences.lstm(SETTINGS))
    assert list(entries) == ["lstm.recbole_gru4rec", "lstm.recbole_sasrec"]
    for entry in entries.values():
        assert set(entry) == FORM
        assert entry["unit"] == "targets/s"
        assert entry["peer"] == 25
        assert entry["ours"] > 0
    gru = entries["lstm.recbole_gru4rec"]["setup"]
    assert (gru["units"], gru["dim"]) == (gru["peer_hidden_size"], gru["peer_embedding_size"]) == (8, 4)
    assert peer["peer"].asked[0]["model"] == "GRU4Rec"
    assert gru["events"] >= 120


def test_some_users_are_whole_users_and_nothing_else_changes():
    dataset = data.load_dataset(CONFIG.data, 1)
    some = sequences.some_users(dataset, 50, 3)
    train, user = some.split.train, dataset.interactions.user
    assert 50 <= train.sum() < 50 + 12
    for one in np.unique(user[train]):
        np.testing.assert_array_equal(train[user == one], dataset.split.train[user == one])
    assert some.interactions is dataset.interactions
    assert sequences.some_users(dataset, 10**6, 3).split.train.sum() == dataset.split.train.sum()


def test_interactions_are_written_as_recbole_reads_them(tmp_path):
    dataset = sequences.some_users(data.load_dataset(CONFIG.data, 1), 50, 3)
    sequences.write_interactions(dataset, tmp_path)
    lines = (tmp_path / "bench" / "bench.inter").read_text("utf-8").splitlines()
    assert lines[0] == "user_id:token\titem_id:token\ttimestamp:float"
    assert len(lines) - 1 == dataset.split.train.sum()
    row = np.flatnonzero(dataset.split.train)[0]
    log = dataset.interactions
    assert lines[1].split("\t") == [str(log.user[row]), str(log.item[row]), str(log.time[row])]


@pytest.fixture
def few_ratings(monkeypatch):
    draw = np.random.default_rng(0)
    watched = np.argwhere(draw.random([943, 30]) < 0.3).astype(np.int32)  # users as in the real file
    rows = draw.permutation(len(watched))
    names, titles = np.array([f"u{n}" for n in range(943)]), np.array([f"t{n}" for n in range(30)])
    return Ratings(
        watched[:, 0], watched[:, 1], rows[: 9 * len(rows) // 10], rows[9 * len(rows) // 10 :], names, titles
    )


def test_towers_are_timed_by_what_the_loss_asks_for(few_ratings, monkeypatch):
    monkeypatch.setattr(towers, "PASSES", 2)
    run, about = towers.sets_pass(few_ratings, 1)
    assert about["asked_per_pass"] == round(len(few_ratings.train) * 0.1)  # 80 % to all are shown
    assert run() > 0
    stock = towers.stock_pass(StockSettings(batch_size=500, dim=4), few_ratings, 3, 1)
    assert stock() > 0


def test_als_is_judged_as_ours_is(few_ratings, peer, monkeypatch):
    monkeypatch.setattr(towers, "SetTowersSettings", lambda: SetTowersSettings(epochs=2, dim=4))

    def als(question):
        np.save(question["keep"], np.load(question["watched"]))
        return {"seconds": 0.25}

    peer["peer"] = Answers({"als": als})
    entry = towers.beside_als(few_ratings, dataclasses.replace(SETTINGS, rounds=1), 2)
    assert set(entry) == FORM
    assert entry["peer"] == 4
    assert entry["setup"]["top_100"] == {"ours": 1, "peer": 1}  # of thirty films


def test_a_server_answers_and_its_end_is_told(tmp_path):
    script = tmp_path / "peer.py"
    script.write_text("import json, sys\nfor line in sys.stdin:\n    print(json.dumps({'n': len(line)}), flush=True)\n")
    with Server([sys.executable, str(script)], 2) as one:
        assert one.ask({"do": "x"})["n"] == len('{"do": "x"}\n')
    script.write_text("raise SystemExit")
    with (
        pytest.raises(ValueError, match="expected an answer of the peer, got none"),
        Server([sys.executable, str(script)]) as one,
    ):
        one.ask({"do": "x"})


def test_every_bench_of_the_design_has_a_program():
    assert set(BENCHES) >= {"agents", "encode", "lstm", "towers", "topk"}
    assert {"topk.faiss_flat_100k", "topk.faiss_flat_1m_single"} == set(search.CASES)
    assert {"towers.tfrs_stock", "towers.tfrs_metrics_off"} < set(towers.STOCK)
