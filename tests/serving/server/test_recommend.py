"""/recommend over a model that is none: what is asked, answered, logged, counted."""

import sqlite3
import threading
import time

import numpy as np
import pytest

from tests.serving.server.conftest import body_of
from tfrec_llm.feedback import EventLog, LogUnavailableError, user_key
from tfrec_llm.serving.server import recorder

ASK = {"user_id": "ann", "k": 2, "history": [["i9", "click", 5], ["i1", "buy", 6]], "request_id": "r"}


def test_the_answer_has_titles_reasons_and_what_was_heard(client):
    answer = client.post("/recommend", json={**ASK, "utterance": "手机"}).json()
    assert answer["items"] == [
        {"id": "i1", "title": "One", "score": 1.0, "propensity": 0.5, "because": ["i9"]},
        {"id": "i2", "title": None, "score": 0.5, "propensity": 0.5, "because": ["i9"]},
    ]
    assert answer["intent"] == {"label": "find", "probability": 0.75}
    assert (answer["emotion"]["label"], answer["sentiment"]) == ("joy", "positive")
    assert (answer["request_id"], answer["model_version"]) == ("r", "7")


def test_silence_says_nothing(client):
    answer = client.post("/recommend", json=ASK).json()
    assert (answer["intent"], answer["emotion"], answer["sentiment"]) == (None, None, None)


def test_the_model_is_asked_what_the_request_says(client):
    more = {"attributes": ["25"], "exclude": ["i3"], "request_time": 77, "utterance": "hello"}
    client.post("/recommend", json={**ASK, **more})
    asked = client.app.state.parts.model.asked[0]
    assert (asked.request_id, asked.user_id, asked.utterance, asked.k) == ("r", "ann", "hello", 2)
    assert (asked.history, asked.history_event, asked.history_time) == (("i9", "i1"), ("click", "buy"), (5, 6))
    assert (asked.attributes, asked.exclude, asked.request_time) == (["25"], ["i3"], 77)


def test_without_a_request_id_one_is_drawn_and_the_time_is_now(client):
    answers = [client.post("/recommend", json={"user_id": "ann"}).json() for _ in range(2)]
    assert answers[0]["request_id"] == answers[0]["decision_id"] != answers[1]["request_id"]
    assert abs(client.app.state.parts.model.asked[0].request_time - time.time()) < 60


def test_a_decision_is_in_the_log_before_its_answer_with_a_key_for_the_user_and_no_text(client, log, tmp_path):
    answer = client.post("/recommend", json={**ASK, "utterance": "a secret wish"}).json()
    kept, _ = log.read_decisions([answer["decision_id"]])
    assert kept.item_ids.tolist() == [["i1", "i2"]]
    np.testing.assert_allclose(kept.propensities, [[0.5, 0.5]])
    assert kept.features.shape == (1, 40, 5)
    row = sqlite3.connect(tmp_path / "log.db").execute(
        "SELECT user_key, model_version, fusion_version, utterance, length(embedding) FROM decisions"
    )
    assert row.fetchall() == [(user_key(b"0123456789abcdef", "ann"), "7", "fused", None, 8)]


def test_text_is_logged_where_the_settings_say_so(make_client, tmp_path):
    make_client(log_text=True).post("/recommend", json={**ASK, "utterance": "a wish"})
    rows = sqlite3.connect(tmp_path / "log.db").execute("SELECT utterance FROM decisions").fetchall()
    assert rows == [("a wish",)]


def test_a_locked_log_costs_the_decision_its_id_and_refuses_events(make_client, tmp_path):
    decision = make_client().post("/recommend", json=ASK).json()["decision_id"]
    client = make_client(log_wait_ms=25.0)
    event = {"event_id": "e", "decision_id": decision, "item_id": "i1", "event": "click"}
    holder = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = client.post("/recommend", json=ASK)
    assert (answer.status_code, answer.json()["decision_id"]) == (200, None)
    assert [item["id"] for item in answer.json()["items"]] == ["i1", "i2"]
    refused = client.post("/feedback", json=event)
    assert (refused.status_code, "send the same again" in refused.json()["error"]) == (503, True)
    assert "tfrec_llm_decisions_unlogged_total 1.0" in body_of(client)
    holder.execute("ROLLBACK")
    assert client.post("/feedback", json=event).json() == {"new": 1, "known": 0}


def test_a_log_without_its_table_costs_the_decision_its_id_and_refuses_events(client, tmp_path):
    decision = client.post("/recommend", json=ASK).json()["decision_id"]
    sqlite3.connect(tmp_path / "log.db", isolation_level=None).execute("DROP TABLE decisions")
    answer = client.post("/recommend", json=ASK)
    assert (answer.status_code, answer.json()["decision_id"]) == (200, None)
    event = {"event_id": "e", "decision_id": decision, "item_id": "i1", "event": "click"}
    assert client.post("/feedback", json=event).status_code == 503
    health = client.get("/healthz")
    assert (health.status_code, health.json()["event_log"]) == (200, "unavailable")


@pytest.mark.parametrize("error", [KeyError("x"), LogUnavailableError("gone"), ValueError("x")])
def test_a_log_that_fails_in_any_way_costs_the_decision_its_id_alone(client, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(EventLog, "add_decisions", fail)
    answer = client.post("/recommend", json=ASK)
    assert (answer.status_code, answer.json()["decision_id"]) == (200, None)


def test_a_log_that_cannot_be_opened_is_tried_again(make_client, tmp_path):
    client = make_client(log=f"sqlite:///{tmp_path / 'later' / 'log.db'}")
    assert client.post("/recommend", json=ASK).json()["decision_id"] is None
    assert client.get("/healthz").json()["event_log"] == "unavailable"
    (tmp_path / "later").mkdir()
    assert client.post("/recommend", json=ASK).json()["decision_id"]
    assert client.get("/healthz").json()["event_log"] == "ok"


def test_a_model_that_is_too_slow_is_a_504_and_one_that_fails_a_500(make_client):
    client = make_client(timeout_ms=100.0)
    answer = client.post("/recommend", json={**ASK, "utterance": "slow"})
    assert (answer.status_code, answer.headers["retry-after"]) == (504, "1")
    assert "serving.timeout_ms" in answer.json()["error"]
    assert client.post("/recommend", json={**ASK, "utterance": "fail"}).status_code == 500


def test_what_is_counted(client):
    client.post("/recommend", json={**ASK, "utterance": "hello"})
    client.post("/recommend", json={"user_id": "ann", "k": 0})
    client.get("/no/such/route")
    counted = body_of(client)
    for line in (
        'requests_total{route="/recommend",status="200"} 1.0',
        'requests_total{route="/recommend",status="422"} 1.0',
        'requests_total{route="other",status="404"} 1.0',
        'history_items_total{known="yes"} 1.0',
        'history_items_total{known="no"} 1.0',
        'part_seconds_count{part="log"} 1.0',
        'request_seconds_count{route="/recommend"} 2.0',
    ):
        assert f"tfrec_llm_{line}" in counted


def test_the_server_s_own_log_holds_neither_texts_nor_ids(client, caplog):
    caplog.set_level("DEBUG", "tfrec_llm")
    for utterance in ("hello Zanzibar", "crash Zanzibar"):
        client.post("/recommend", json={"user_id": "Zebulon", "utterance": utterance})
    client.post("/recommend", json={"user_id": "Zebulon", "utterance": 5})
    assert "/recommend failed: KeyError at" in caplog.text
    assert not [word for word in ("Zanzibar", "Zebulon") if word in caplog.text]


def test_old_decisions_go(make_client, tmp_path):
    old = [make_client().post("/recommend", json=ASK).json()["decision_id"] for _ in range(2)]
    database = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    database.execute("UPDATE decisions SET time = 1000")
    client = make_client(retention_days=30)
    for _ in range(100):
        left = [name for (name,) in database.execute("SELECT decision_id FROM decisions")]
        if not set(left) & set(old):
            break
        time.sleep(0.05)
    assert left == []
    assert client.post("/recommend", json=ASK).json()["decision_id"]


def test_retention_that_fails_once_is_tried_again(make_client, monkeypatch):
    tried, again = [], threading.Event()

    def fail(*_):
        tried.append(1)
        if len(tried) > 1:
            again.set()
        raise KeyError("something new")

    monkeypatch.setattr(EventLog, "forget_before", fail)
    monkeypatch.setattr(recorder, "HOUR", 0.01)
    make_client(retention_days=30)
    assert again.wait(10)
