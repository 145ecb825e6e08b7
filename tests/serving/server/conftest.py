"""A server in this process over a model that is none: everything but the model is real."""

import asyncio

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tfrec_llm.config import Serving
from tfrec_llm.feedback import EventLog, sqlite_url
from tfrec_llm.serving.server import Parts, make_app
from tfrec_llm.serving.server.asks import AnswerError, Decided, Facts
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.recorder import Recorder

K, F, C, D = 40, 5, 3, 4


def decided(ask):
    """Items i1 to ik with falling scores, because of the first history item."""
    said = np.ones(D, np.float32) if ask.utterance else None
    return Decided(
        item_ids=[f"i{place}" for place in range(1, ask.k + 1)],
        scores=[1.0 / place for place in range(1, ask.k + 1)],
        propensities=[0.5] * ask.k,
        because=[[*ask.history[:1], "", ""][:3]] * ask.k,
        intent="find" if ask.utterance else "",
        emotion="joy" if ask.utterance else "",
        sentiment="positive" if ask.utterance else "",
        intent_probability=0.75,
        emotion_probability=0.5,
        model_version="7",
        candidate_ids=[f"i{place}" for place in range(1, K + 1)],
        context=np.ones(C, np.float32),
        features=np.ones((K, F), np.float32),
        embedding=said,
    )


class Stub:
    """Stands for the model: some utterances make it slow or fail."""

    facts, ready = Facts("7", "fused", 50, 8, 50, K, "export"), True

    def __init__(self):
        self.asked = []

    async def decide(self, ask):
        self.asked.append(ask)
        if ask.utterance == "slow":
            await asyncio.sleep(60)
        if ask.utterance == "fail":
            raise AnswerError("the model failed")
        if ask.utterance.startswith("crash"):
            raise KeyError(ask.utterance)
        return decided(ask)

    async def close(self):
        """There is nothing to end."""


@pytest.fixture
def make_client(tmp_path):
    """Settings -> a client of a running server; all are ended after the test."""
    opened = []

    def make(**settings):
        made, measures = Serving(**{"timeout_ms": 10_000.0, "log_wait_ms": 1_000.0, **settings}), Measures()
        recorder = Recorder(made.log or sqlite_url(tmp_path / "log.db"), made, measures)
        events, titles = ("click", "buy", "reward"), {"i1": "One", "i2": ""}
        parts = Parts(made, Stub(), recorder, measures, b"0123456789abcdef", events, titles)
        client = TestClient(make_app(parts), raise_server_exceptions=False)
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def log(tmp_path, client):
    opened = EventLog(sqlite_url(tmp_path / "log.db"))
    yield opened
    opened.close()


def body_of(client):
    """The metrics of a client's server."""
    return client.get("/metrics").text
