"""The model that a TensorFlow Serving has: its answers are the worker's, and what fails there fails in good order."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from tests.serving.server import stand_in
from tfrec_llm import data, training
from tfrec_llm.config import Serving
from tfrec_llm.serving.server import remote
from tfrec_llm.serving.server.answering import load
from tfrec_llm.serving.server.asks import AnswerError, Ask, ModelUnavailableError
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.process import decided_row

TEXTS = ("", "something funny", "手机", "  ", "a quiet film about the sea, " * 9)


@pytest.fixture(scope="module")
def folder(smoke_run):
    return smoke_run / "export" / "1"


@pytest.fixture(scope="module")
def asks(smoke_run):
    items = list(data.read_names(smoke_run / "data")[1])
    return [
        Ask(
            f"r{i}" if i % 3 else "", f"user {i}", TEXTS[i % 5], items[i : i + i % 4], ["rated_5"] * (i % 4),
            [10**9 + n for n in range(i % 4)], 1_000_600_000, exclude=items[9:11], k=1 + i % 10,
        )
        for i in range(20)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def served(folder):
    made = stand_in.StandIn(folder)
    server, port = stand_in.serve(made)
    made.url = f"127.0.0.1:{port}"
    yield made
    server.stop(None)


def run(url, scenario, export=Path("nowhere"), **settings):
    """Runs a scenario with a model at an address."""

    async def all_of_it():
        model = remote.RemoteModel(url, export, Serving(**{"timeout_ms": 60_000.0, **settings}), Measures())
        await model.start()
        try:
            return await asyncio.wait_for(scenario(model), 120)
        finally:
            await model.close()

    return asyncio.run(all_of_it())


def test_its_answers_are_the_workers(served, folder, smoke_run, asks):
    async def scenario(model):
        return await asyncio.gather(*(model.decide(ask) for ask in asks))

    theirs = run(served.url, scenario, max_batch=8, log_candidates=5)
    head, arrays = load(folder, smoke_run, "export", 1, 5)([vars(ask) for ask in asks])
    for place, (ask, row) in enumerate(zip(asks, theirs, strict=True)):
        ours = decided_row(place, ask.k, head, arrays)
        for name, value in vars(ours).items():
            other = getattr(row, name)
            if name in ("embedding", "context", "features") and value is not None:
                np.testing.assert_allclose(other, value, atol=1e-5)
            elif name in ("scores", "propensities", "intent_probability", "emotion_probability"):
                np.testing.assert_allclose(other, value, atol=1e-4)
            elif name != "fusion_version":
                assert other == value, name


def test_what_waits_is_asked_together_and_only_texts_are_encoded(served, asks):
    async def scenario(model):
        del served.asked[:]
        await asyncio.gather(*(model.decide(ask) for ask in asks[:10]))
        return list(served.asked)

    asked = run(served.url, scenario, max_batch=8)
    sizes = {name: sum(size for other, size in asked if other == name) for name, _ in asked}
    assert sizes == {"tokenize": 6, "encode_text": 6, "decide": 10}
    assert max(size for _, size in asked) == 8


def test_the_facts_are_those_of_the_signatures(served, smoke_run):
    async def scenario(model):
        return model.facts

    facts = run(served.url, scenario, export=smoke_run / "export")
    fusion = training.stage_fingerprint(smoke_run, "fusion/context")
    assert (facts.version, facts.fusion_version, facts.engine) == ("1", fusion, "TensorFlow Serving")
    assert run(served.url, scenario).fusion_version == "1"  # without the export, each version has its own
    assert (facts.max_history, facts.max_attributes, facts.max_exclude, facts.candidates) == (50, 8, 50, 40)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_what_passes_is_unavailable(served, asks, code, monkeypatch):
    async def scenario(model):
        monkeypatch.setattr(served, "fails", code)
        with pytest.raises(ModelUnavailableError, match="ask again in a moment"):
            await model.decide(asks[0])
        monkeypatch.setattr(served, "fails", None)
        return await model.decide(asks[0])

    assert len(run(served.url, scenario).item_ids) == asks[0].k


def test_what_does_not_pass_is_an_error_of_that_row_alone(served, asks, monkeypatch):
    def refuse(inputs):
        return len(inputs["user_id"]) > 1 or b"bad" in inputs["user_id"].numpy()

    async def scenario(model):
        rows = [asks[0], Ask(user_id="bad"), asks[5]]
        return await asyncio.gather(*(model.decide(row) for row in rows), return_exceptions=True)

    real = served.signatures["decide"]

    def decide(**inputs):
        if refuse(inputs):
            raise ValueError("as the test says")
        return real(**inputs)

    decide.structured_input_signature = real.structured_input_signature
    monkeypatch.setattr(served, "signatures", {**served.signatures, "decide": decide})
    answers = run(served.url, scenario)
    assert [type(answer).__name__ for answer in answers] == ["Decided", "AnswerError", "Decided"]
    assert isinstance(answers[1], AnswerError)
    assert "bad" not in str(answers[1])


def test_a_server_that_is_not_there_yet_is_found_when_it_comes(served, asks, monkeypatch):
    monkeypatch.setattr(remote, "PATIENCE", (0.1,))
    other, port = stand_in.serve(served)
    other.stop(None).wait()

    async def scenario(model):
        assert (model.ready, model.facts) == (False, None)
        with pytest.raises(ModelUnavailableError):
            await model.decide(asks[0])
        again, _ = await asyncio.to_thread(stand_in.serve, served, port)
        while not model.ready:
            await asyncio.sleep(0.05)
        answer = await model.decide(asks[0])
        again.stop(None)
        return answer

    assert len(run(f"127.0.0.1:{port}", scenario).item_ids) == asks[0].k


def test_another_version_is_noticed(served, asks, monkeypatch):
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.05)

    async def scenario(model):
        monkeypatch.setattr(served, "version", 2)
        while model.facts.version != "2":
            await asyncio.sleep(0.05)
        return model.ready

    assert run(served.url, scenario)


def test_a_version_that_goes_in_the_middle_of_a_batch_is_looked_for_again(served, asks, monkeypatch):
    def goes(signature):
        if signature == "encode_text" and served.version == 1:
            monkeypatch.setattr(served, "version", 2)

    async def scenario(model):
        monkeypatch.setattr(served, "answered", goes)
        del served.asked[:]
        answer = await model.decide(asks[1])
        return answer, [name for name, _ in served.asked], model._served.facts.version

    answer, asked, version = run(served.url, scenario)
    assert (len(answer.item_ids), version) == (asks[1].k, "2")
    assert asked[:2] == asked[-3:-1] == ["tokenize", "encode_text"]  # the new version heard and encoded it itself
    assert asked[-1] == "decide"


def test_a_context_is_logged_under_the_fusion_of_the_version_that_made_it(served, asks, smoke_run):
    async def scenario(model):
        model.facts = replace(model.facts, version="2", fusion_version="of another version")
        return await model.decide(asks[0])

    fusion = training.stage_fingerprint(smoke_run, "fusion/context")
    assert run(served.url, scenario, export=smoke_run / "export").fusion_version == fusion


def test_a_label_that_nobody_serves_is_said(served):
    async def scenario(model):
        return model.ready

    assert not run(served.url, scenario, label="canary")


def test_too_many_who_wait_are_refused(served, asks):
    async def scenario(model):
        return await asyncio.gather(*(model.decide(asks[0]) for _ in range(9)), return_exceptions=True)

    answers = run(served.url, scenario, max_waiting=5)
    assert [type(answer).__name__ for answer in answers] == ["Decided"] * 5 + ["ModelUnavailableError"] * 4


def test_the_whole_server_answers_over_it_without_tensorflow_in_its_process(served, smoke_run, tmp_path):
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(smoke_run), "--set"]
    command += ["serving.port=0", "serving.timeout_ms=20000.0", "serving.log_wait_ms=1000.0"]
    environment = {**os.environ, "TF_SERVING_URL": served.url, "TFREC_LLM_LOG": f"sqlite:///{tmp_path / 'log.db'}"}
    environment |= {"TFREC_LLM_SECRET": "a secret of the tests", "TFREC_LLM_API_KEYS": "open sesame"}
    with (tmp_path / "said.txt").open("w") as said:
        process = subprocess.Popen(command, cwd=Path(__file__).parents[3], env=environment, stderr=said, stdout=said)
    try:
        for _ in range(1200):
            text = (tmp_path / "said.txt").read_text("utf-8")
            if found := re.search(r"serving on (http://\S+)", text):
                break
            assert process.poll() is None, text
            time.sleep(0.1)
        with httpx.Client(base_url=found[1], timeout=60, headers={"X-API-Key": "open sesame"}) as client:
            assert client.get("/healthz").json()["encoder"] == "TensorFlow Serving"
            answer = client.post("/recommend", json={"user_id": "7", "utterance": "手机", "k": 5}).json()
            assert (len(answer["items"]), answer["model_version"]) == (5, "1")
            event = {"decision_id": answer["decision_id"], "item_id": answer["items"][0]["id"], "event": "like"}
            assert client.post("/feedback", json={"event_id": "e", **event}).json() == {"new": 1, "known": 0}
            client.headers.clear()
            assert client.get("/metrics").status_code == 401
        assert "libtensorflow" not in Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)
