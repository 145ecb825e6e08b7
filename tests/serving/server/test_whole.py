"""The whole server as `make serve` starts it, on the export of a real run: worker process, HTTP, event log."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import tensorflow as tf

from tests.serving.server.running import ROOT, SECRET, START_SECONDS, Server, whole
from tfrec_llm import config as configs
from tfrec_llm import data, text
from tfrec_llm.feedback import EventLog, sqlite_url, user_key
from tfrec_llm.serving.columns import HEARD, NUMBERS, inputs_of, lists_of
from tfrec_llm.serving.server.answering import Answering, RequestEncoder
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.slots import SlotModel, split_bounds


@pytest.fixture(scope="module")
def server(smoke_run, tmp_path_factory):
    with whole(smoke_run, tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as opened:
        yield opened


@pytest.fixture(scope="module")
def items(smoke_run):
    return list(data.read_names(smoke_run / "data")[1])


def requests(items):
    """Requests of all kinds, each with an id that keys its exploration."""
    texts = ("", "something funny", "手机", "play a sad film from the 1990s")
    return [
        {
            "user_id": f"user {i}",
            "request_id": f"r{i}",
            "request_time": 1_000_600_000,
            "utterance": texts[i % 4],
            "history": [[item, "rated_5", 10**9 + n] for n, item in enumerate(items[i : i + i % 7])],
            "k": 1 + i % 10,
        }
        for i in range(24)
    ]


def test_requests_at_once_get_the_answers_of_requests_alone(client, items):
    asked = requests(items)
    alone = [client.post("/recommend", json=one).json() for one in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda one: client.post("/recommend", json=one).json(), asked))
    for one, left, right in zip(asked, alone, together, strict=True):
        assert [item["id"] for item in left["items"]] == [item["id"] for item in right["items"]]
        assert len(left["items"]) == one["k"]
        for name in ("score", "propensity"):
            values = [[item[name] for item in answer["items"]] for answer in (left, right)]
            np.testing.assert_allclose(*values, atol=1e-4)
        assert (left["intent"] is None) == (one["utterance"] == "")
    assert 'batch_size_bucket{le="1.0"}' in client.get("/metrics").text


def test_the_answer_is_that_of_the_signature(client, items):
    one = {**requests(items)[5], "k": 4}
    ours = client.post("/recommend", json=one).json()
    history, events, times = (list(column) for column in zip(*one["history"], strict=True))
    row = {
        "request_id": one["request_id"], "user_id": one["user_id"], "utterance": one["utterance"], "history": history,
        "history_event": events, "history_time": times, "request_time": one["request_time"], "attributes": [],
        "exclude": [], "k": 4,
    }  # fmt: skip
    theirs = client.post("/v1/models/recommender:predict", json={"instances": [row]}).json()["predictions"][0]
    assert theirs["item_ids"] == [item["id"] for item in ours["items"]]
    assert theirs["intent"] == ours["intent"]["label"]
    np.testing.assert_allclose(theirs["propensities"], [item["propensity"] for item in ours["items"]], atol=1e-5)


def test_a_decision_and_its_feedback_are_in_the_log(server, client, items):
    one = {**requests(items)[6], "utterance": "a comedy"}
    answer = client.post("/recommend", json=one).json()
    event = {
        "event_id": "e",
        "decision_id": answer["decision_id"],
        "item_id": answer["items"][0]["id"],
        "event": "like",
    }
    assert client.post("/feedback", json=event).json() == {"new": 1, "known": 0}
    assert client.post("/feedback", json=[event]).json() == {"new": 0, "known": 1}
    log = EventLog(sqlite_url(server.database))
    kept, _ = log.read_decisions([answer["decision_id"]])
    assert kept.item_ids.tolist() == [[item["id"] for item in answer["items"]]]
    np.testing.assert_allclose(kept.propensities[0], [item["propensity"] for item in answer["items"]], rtol=1e-6)
    assert np.abs(kept.features).sum() > 0
    assert log.forget_user(user_key(SECRET.encode(), one["user_id"])).decisions >= 1
    log.close()


def test_a_worker_that_is_killed_under_requests_is_replaced(server, client, items):
    asked, before = requests(items), server.worker()
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, "/recommend", json=asked[i % 24]) for i in range(80)]
        next(iter(answers)).result()
        os.kill(before, signal.SIGKILL)
        statuses = {answer.result().status_code for answer in answers}
    assert statuses <= {200, 503}
    assert 200 in statuses
    for _ in range(10 * START_SECONDS):
        if client.get("/healthz").status_code == 200 and server.worker() != before:
            break
        time.sleep(0.1)
    assert client.post("/recommend", json=asked[1]).status_code == 200
    assert "tfrec_llm_worker_deaths_total 1.0" in client.get("/metrics").text


def test_the_server_process_has_no_tensorflow(server):
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtensorflow" not in maps
    assert "libtensorflow" in Path(f"/proc/{server.worker()}/maps").read_text()


def test_the_modules_of_the_server_import_no_tensorflow():
    source = "import sys, json, pipelines.serve; print(json.dumps([m for m in sys.modules if 'tensorflow' in m]))"
    ended = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == []


def test_what_it_prints_holds_neither_texts_nor_ids(server, client):
    client.post("/recommend", json={"user_id": "Zebulon", "utterance": "Zanzibar"})
    assert not [word for word in ("Zebulon", "Zanzibar", "user 1", "手机") if word in server.said()]


@pytest.mark.parametrize("engine", ["export", "tensorflow", "openvino"])
def test_a_batch_is_decided_as_by_the_signatures_one_after_the_other(smoke_run, items, engine):
    model = tf.saved_model.load(str(smoke_run / "export" / "1"))
    language = text.load(configs.load(smoke_run / "config.toml"), smoke_run / "text")
    answering = Answering(model, None if engine == "export" else RequestEncoder(language, engine), 5)
    said = ["", "something funny", "手机", "  ", "under 20 euros"]
    blank = {"user_id": "", "history_event": [], "history_time": [], "attributes": [], "exclude": [], "k": 3}
    rows = [
        {**blank, "request_id": f"r{row}", "utterance": text, "history": items[row : 2 * row], "request_time": 10**9}
        for row, text in enumerate(said)
    ]
    head, arrays = answering(rows)
    tokens = model.signatures["tokenize"](utterance=tf.constant(said))
    has_text = np.array([False, True, True, False, True])
    embedding = model.signatures["encode_text"](**tokens)["embedding"].numpy() * has_text[:, None]
    asked = {name: tf.constant(values) for name, values in inputs_of(rows, answering.widths).items()}
    outputs = model.signatures["decide"](embedding=tf.constant(embedding), has_text=tf.constant(has_text), **asked)
    wanted = lists_of({name: outputs[name].numpy() for name in HEARD})
    assert (answering.engine, head["has_text"]) == (engine, has_text.tolist())
    np.testing.assert_allclose(arrays["embedding"], embedding, atol=1e-5)
    np.testing.assert_allclose(arrays["context"], outputs["context"], atol=1e-4)
    for name, values in wanted.items():
        if name in NUMBERS:
            np.testing.assert_allclose(head["rows"][name], values, atol=1e-4, err_msg=name)
        else:
            assert head["rows"][name] == values, name
    assert 0 < head["seconds"]["encode"] <= sum(head["seconds"].values())
    assert answering(rows[:1])[0]["seconds"]["encode"] == 0


@pytest.mark.parametrize("engine", ["tensorflow", "openvino"])
def test_the_fast_engine_in_bfloat16_keeps_directions_and_the_digits_of_prices(smoke_run, engine):
    language = text.load(configs.load(smoke_run / "config.toml"), smoke_run / "text")
    tagger = Head(language.dim, 5)
    tagger.bias.assign([0.0, 100.0, 0.0, 0.0, 0.0])  # every token is a part of a price
    language.slots = SlotModel(("below", "above"), tagger, {}, {}, language.encoder.tokenizer.pieces)
    fast = RequestEncoder(language, engine, tf.bfloat16, 2)
    assert fast.name == engine
    ids, mask = language.tokenize(tf.constant(["something funny", "手机 1299元以内", "under 4097.5 dollars"]))
    ours, exact = fast(ids, mask), language.encode_request(ids, mask)
    np.testing.assert_allclose(split_bounds(ours, language.dim)[1], [[0, 0], [0, 1299], [0, 4097.5]], rtol=1e-5)
    assert cosines(ours[:, : language.dim], exact[:, : language.dim]).min() > 0.998


def cosines(ours, theirs):
    return (tf.math.l2_normalize(ours, 1) * tf.math.l2_normalize(theirs, 1)).numpy().sum(1)


def test_a_run_without_an_export_is_one_sentence(tmp_path):
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "expected an export, found none; run `make train`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_host_that_nobody_knows_is_one_sentence(smoke_run, tmp_path):
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(smoke_run)]
    command += ["--set", "serving.host=nosuchhost.invalid", f"serving.log={sqlite_url(tmp_path / 'log.db')}"]
    environment = {**os.environ, "TFREC_LLM_SECRET": SECRET}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, "expected an address of this machine" in ended.stderr) == (2, True)


def test_a_port_that_is_taken_is_one_sentence(server, smoke_run, tmp_path):
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(smoke_run)]
    command += ["--set", f"serving.port={port}", f"serving.log={sqlite_url(tmp_path / 'log.db')}"]
    environment = {**os.environ, "TFREC_LLM_SECRET": SECRET}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert (ended.returncode, "to be free" in ended.stderr) == (2, True)


def test_ctrl_c_ends_it_without_a_traceback(smoke_run, tmp_path):
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(smoke_run), "--set"]
    command += ["serving.port=0", "serving.engine=export", f"serving.log={sqlite_url(tmp_path / 'log.db')}"]
    environment, path = {**os.environ, "TFREC_LLM_SECRET": SECRET}, tmp_path / "said.txt"
    with path.open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True)
        Server(process, path, tmp_path / "log.db")  # waits until it serves
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(30) == 0
    assert "Traceback" not in path.read_text()


def test_an_export_that_was_changed_is_refused_before_it_is_opened(smoke_run, tmp_path):
    shutil.copytree(smoke_run, tmp_path / "run")
    graph = tmp_path / "run" / "export" / "1" / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-1])
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(tmp_path / "run")]
    command += ["--set", "serving.port=0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, "expected saved_model.pb as the manifest says" in ended.stderr) == (2, True)
    assert "Traceback" not in ended.stderr
