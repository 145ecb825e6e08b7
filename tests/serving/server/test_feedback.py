"""/feedback: all events or none, each once, and only what can be learnt from."""

import json
import time

import pytest

from tfrec_llm.feedback import user_key
from tfrec_llm.serving.server.recorder import Recorder


@pytest.fixture
def event(client):
    decision = client.post("/recommend", json={"user_id": "ann", "k": 2}).json()["decision_id"]
    return {"event_id": "e1", "decision_id": decision, "item_id": "i2", "event": "click"}


def test_one_event_and_many_and_the_same_again(client, event, log):
    assert client.post("/feedback", json=event).json() == {"new": 1, "known": 0}
    more = [event, {**event, "event_id": "e2", "event": "reward", "value": 0.25, "time": 1_000}]
    assert client.post("/feedback", json=more).json() == {"new": 1, "known": 1}
    kept = log.read_events()
    assert kept.event_id.tolist() == ["e1", "e2"]
    assert (kept.value.tolist(), kept.time.tolist()[1]) == ([1.0, 0.25], 1_000)
    assert abs(kept.time[0] - time.time()) < 60


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"decision_id": "0" * 32}, 404, "decision_id: expected one that /recommend gave"),
        ({"decision_id": "' OR 1=1 --"}, 404, "decision_id: expected one that /recommend gave"),
        ({"decision_id": "\0"}, 422, "decision_id"),
        ({"item_id": "i3"}, 422, "item_id: expected an item that the decision showed"),
        ({"item_id": "i1'; DROP TABLE events; --"}, 422, "item_id: expected an item that the decision showed"),
        ({"event": "teleport"}, 422, "event: expected one of click, buy, reward"),
        ({"time": int(time.time()) + 3_600}, 422, "in the future"),
        ({"time": -1}, 422, "time"),
        ({"time": 2**60}, 422, "time"),
        ({"value": "1"}, 422, "value"),
        ({"value": float("nan")}, 422, "value"),
        ({"event": "reward", "value": 5.0}, 422, "value: expected a reward from 0 to 1"),
        ({"event": "reward", "value": -1e300}, 422, "value: expected a reward from 0 to 1"),
        ({"value": float("inf")}, 422, "value"),
        ({"event_id": ""}, 422, "event_id"),
        ({"event_id": "x" * 256}, 422, "event_id"),
        ({"event_id": 7}, 422, "event_id"),
        ({"surprise": 1}, 422, "surprise"),
    ],
)
def test_a_bad_event_keeps_the_good_one_before_it_out(client, event, log, change, status, message):
    bad = {**event, "event_id": "bad", **change}
    text = json.dumps([event, bad])
    answer = client.post("/feedback", content=text, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert log.read_events().event_id.tolist() == []
    assert client.post("/feedback", json=event).json() == {"new": 1, "known": 0}


def test_a_user_who_is_deleted_between_question_and_answer_leaves_no_event(client, event, log, monkeypatch):
    slates = Recorder.slates

    async def deleted_meanwhile(self, ids):
        found = await slates(self, ids)
        log.forget_user(user_key(b"0123456789abcdef", "ann"))
        return found

    monkeypatch.setattr(Recorder, "slates", deleted_meanwhile)
    answer = client.post("/feedback", json=event)
    assert (answer.status_code, "deleted meanwhile" in answer.json()["error"]) == (404, True)
    assert log.read_events().event_id.tolist() == []


def test_a_clock_that_is_a_little_ahead_is_believed(client, event):
    assert client.post("/feedback", json={**event, "time": int(time.time()) + 30}).status_code == 200


def test_nothing_and_too_much_are_refused(make_client):
    client = make_client(max_events=2)
    event = {"event_id": "e", "decision_id": "d", "item_id": "i", "event": "click"}
    for body in ([], "x", 3, None, [event] * 3):
        answer = client.post("/feedback", json=body)
        assert (answer.status_code, list(answer.json())) == (422, ["error"])


def test_many_unknown_fields_of_an_event_are_one_error_soon(client, event):
    many = {**event, **{f"f{place}": 0 for place in range(60_000)}}
    text, said, taken = json.dumps([event, many]), {"content-type": "application/json"}, []
    while len(taken) < 3 or (min(taken) >= 0.1 and len(taken) < 40):
        began = time.perf_counter()
        answer = client.post("/feedback", content=text, headers=said)
        taken.append(time.perf_counter() - began)
        assert answer.status_code == 422
        assert answer.json() == {"error": "body.1: expected at most 20 fields, got 60004; send fewer."}
    assert min(taken) < 0.1  # 20 ms, and 330 where each field was an error of its own


def test_many_events_wait_for_the_disk_longer_than_a_decision_would(make_client, log):
    decision = make_client().post("/recommend", json={"user_id": "ann", "k": 1}).json()["decision_id"]
    client = make_client(log_wait_ms=1.0)
    event = {"decision_id": decision, "item_id": "i1", "event": "click"}
    many = [{**event, "event_id": str(i)} for i in range(500)]
    assert client.post("/feedback", json=many).json() == {"new": 500, "known": 0}
    assert len(log.read_events().event_id) == 500
