"""TensorFlow Serving's REST form over a model that is none."""

import base64
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
        {"instances": [{**ROW, "k": 41}]},
        {"instances": [{**ROW, "k": {"b64": "Mg=="}}]},
        {"instances": [{**ROW, "utterance": {"b64": "no base64!"}}]},
        {"instances": [{**ROW, "utterance": {"b64": "手机"}}]},
        {"instances": [{**ROW, "utterance": {"b64": "//8="}}]},
        {"instances": [{**ROW, "utterance": {"b64": 3}}]},
        {"instances": [{**ROW, "utterance": {"b64": "aGk=", "more": 1}}]},
        {"instances": [{**ROW, "history": [{"b64": "//8="}]}]},
        {"instances": [{**ROW, "history": {"b64": "aGk="}}]},
        {"instances": [{**ROW, "user_id": {"b64": "AA=="}}]},
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


def encoded(value):
    """A value as a client of TensorFlow Serving may send it: texts in base64."""
    if isinstance(value, list):
        return [encoded(each) for each in value]
    return {"b64": base64.b64encode(value.encode()).decode()} if isinstance(value, str) else value


def test_texts_may_come_in_base64(client):
    row = {**ROW, "utterance": "手机", "user_id": "ünal", "history": ["i9"], "attributes": ["25"]}
    sent = {name: encoded(value) for name, value in row.items()}
    plain = client.post(ROUTE, json={"instances": [row]}).json()
    assert client.post(ROUTE, json={"instances": [sent]}).json() == plain
    columns = client.post(ROUTE, json={"inputs": {name: [value] for name, value in sent.items()}}).json()["outputs"]
    assert columns["item_ids"] == [["i1", "i2"]]
    first, second, third = client.app.state.parts.model.asked
    assert (first, first.utterance) == (second, "手机") == (third, "手机")
    bad = client.post(ROUTE, json={"instances": [{**row, "history": [{"b64": "//8="}]}]}).json()["error"]
    assert bad == 'history: expected under "b64" the base64 of a text in UTF-8, got something else; encode it again.'


def test_more_than_the_limit_is_said_and_not_cut(client):
    answer = client.post(ROUTE, json={"instances": [{**ROW, "k": 41}]})
    assert (answer.status_code, answer.json()) == (
        400,
        {"error": "k: expected at most 40 items, got 41; ask for fewer."},
    )


@pytest.mark.parametrize("which", ["versions/7", "labels/stable"])
def test_what_serves_may_be_named(client, which):
    base = f"/v1/models/recommender/{which}"
    assert client.post(f"{base}:predict", json={"instances": [ROW]}).json()["predictions"][0]["item_ids"] == [
        "i1",
        "i2",
    ]
    assert client.get(base).json()["model_version_status"][0]["version"] == "7"
    assert client.get(f"{base}/metadata").json()["model_spec"]["version"] == "7"


@pytest.mark.parametrize("which", ["versions/8", "versions/x", "versions/07", "labels/canary"])
def test_what_does_not_serve_is_not_found(client, which):
    base = f"/v1/models/recommender/{which}"
    for answer in (
        client.post(f"{base}:predict", json={"instances": [ROW]}),
        client.get(base),
        client.get(f"{base}/metadata"),
    ):
        assert (answer.status_code, list(answer.json())) == (404, ["error"])


def test_metadata_names_the_inputs_and_the_version(client):
    answer = client.get("/v1/models/recommender/metadata").json()
    assert answer["model_spec"]["version"] == "7"
    inputs = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert set(inputs) == set(ROW)
    assert inputs["history"]["tensor_shape"]["dim"][1]["size"] == "50"
    assert inputs["k"] == {"dtype": "DT_INT32", "tensor_shape": {"dim": [{"size": "-1", "name": ""}]}}
    outputs = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]["outputs"]
    row = client.post(ROUTE, json={"instances": [ROW]}).json()["predictions"][0]
    assert set(outputs) == set(row)
    assert outputs["because"]["dtype"] == "DT_STRING"
    assert [dim["size"] for dim in outputs["because"]["tensor_shape"]["dim"]] == ["-1", "-1", "3"]
    status = client.get("/v1/models/recommender").json()["model_version_status"]
    assert [(one["version"], one["state"]) for one in status] == [("7", "AVAILABLE")]
