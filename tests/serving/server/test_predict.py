"""TensorFlow Serving's REST form over a model that is none."""

import json
import math

import pytest

from tfrec_llm.serving.server import predict

ROW = {
    "request_id": "r", "user_id": "ann", "utterance": "", "history": ["i9"], "history_event": ["click"],
    "history_time": [5], "request_time": 0, "attributes": [], "exclude": [], "k": 2,
}  # fmt: skip
ROUTE = "/v1/models/recommender:predict"


def test_rows_are_padded_to_the_widest(client):
    rows = client.post(ROUTE, json={"instances": [ROW, {**ROW, "k": 1}, {**ROW, "k": 0}]}).json()["predictions"]
    assert [row["item_ids"] for row in rows] == [["i1", "i2"], ["i1", ""], ["", ""]]
    assert rows[1]["scores"] == [1.0, -math.inf]
    assert rows[1]["propensities"] == [0.5, 0.0]
    assert rows[1]["because"] == [["i9", "", ""], ["", "", ""]]


def test_columns_answer_in_columns(client):
    inputs = {name: [value, value] for name, value in ROW.items()}
    answer = client.post(ROUTE, json={"signature_name": "serving_default", "inputs": inputs}).json()["outputs"]
    assert answer["item_ids"] == [["i1", "i2"]] * 2
    assert answer["model_version"] == ["7", "7"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"instances": []},
        {"instances": [ROW], "inputs": {}},
        {"instances": [{**ROW, "k": "2"}]},
        {"instances": [{**ROW, "k": math.nan}]},
        {"instances": [{**ROW, "history": "i9"}]},
        {"instances": [{**ROW, "user_id": ["ann"]}]},
        {"instances": [{**ROW, "user_id": "a\0"}]},
        {"instances": [{**ROW, "history": ["i"] * 51}]},
        {"instances": [{name: value for name, value in ROW.items() if name != "k"}]},
        {"instances": [{**ROW, "more": 1}]},
        {"instances": [ROW] * 33},
        {"instances": [3]},
        {"inputs": {"k": [1], "user_id": ["a", "b"]}},
        {"inputs": {"k": 1}},
        {"inputs": {}},
        {"instances": [ROW], "signature_name": "decide"},
    ],
)
def test_bad_bodies(client, body):
    answer = client.post(ROUTE, content=json.dumps(body))
    assert answer.status_code in (400, 422)
    assert list(answer.json()) == ["error"]
    assert client.app.state.parts.model.asked == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"instances": [ROW] * 4_000}, "instances: expected at most 32 rows, got 4000; send fewer."),
        ({"inputs": {name: [value] * 4_000 for name, value in ROW.items()}}, "inputs: expected at most 32 rows"),
        ({"instances": [{**ROW, "history": [""] * 200_000}]}, "history: expected at most 50 values, got 200000"),
        ({"instances": [{**ROW, "utterance": "x" * 900_000}]}, "utterance: expected at most 2000 characters"),
    ],
)
def test_sizes_are_checked_before_values(client, body, said, monkeypatch):
    looked = []
    fits = predict._fits
    monkeypatch.setattr(predict, "_fits", lambda *value: looked.append(1) or fits(*value))
    answer = client.post(ROUTE, json=body)
    assert (answer.status_code, said in answer.json()["error"]) == (422, True)
    assert len(looked) < 20


def test_bodies_that_are_no_json(client):
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        assert client.post(ROUTE, content=body).status_code == 400


def test_metadata_names_the_inputs_and_the_version(client):
    answer = client.get("/v1/models/recommender/metadata").json()
    assert answer["model_spec"]["version"] == "7"
    inputs = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert set(inputs) == set(ROW)
    assert inputs["history"]["tensor_shape"]["dim"][1]["size"] == "50"
    status = client.get("/v1/models/recommender").json()["model_version_status"]
    assert [(one["version"], one["state"]) for one in status] == [("7", "AVAILABLE")]
