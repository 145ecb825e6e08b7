"""What a server is put together from: a worker of its own or a TensorFlow Serving, and what the environment says."""

import logging
import re
import socket

import pytest
import uvicorn

from tfrec_llm.config import Serving
from tfrec_llm.serving.server import app
from tfrec_llm.serving.server.model import Model
from tfrec_llm.serving.server.parts import compose
from tfrec_llm.serving.server.remote import RemoteModel

SECRET = {"TFREC_LLM_SECRET": "a secret of the tests"}


def test_the_environment_chooses_who_is_asked(smoke_run, tmp_path):
    settings = Serving(log=f"sqlite:///{tmp_path / 'log.db'}")
    assert isinstance(compose(smoke_run, settings, SECRET).model, Model)
    assert isinstance(compose(smoke_run, settings, {**SECRET, "TF_SERVING_URL": "serving:8500"}).model, RemoteModel)


@pytest.mark.parametrize("url", ["serving", "http://serving", "serving:"])
def test_an_address_without_a_port_is_refused(smoke_run, tmp_path, url):
    settings = Serving(log=f"sqlite:///{tmp_path / 'log.db'}")
    with pytest.raises(ValueError, match="TF_SERVING_URL: expected host:port"):
        compose(smoke_run, settings, {**SECRET, "TF_SERVING_URL": url})


def test_the_environment_fills_what_the_settings_leave_empty(smoke_run, tmp_path):
    told = {**SECRET, "TFREC_LLM_LOG": f"sqlite:///{tmp_path / 'told.db'}", "TFREC_LLM_API_KEYS": "a,b,"}
    assert compose(smoke_run, Serving(), told).settings.api_keys == ("a", "b")
    assert (tmp_path / "told.db").exists()
    own = Serving(log=f"sqlite:///{tmp_path / 'own.db'}", api_keys=("c",))
    assert compose(smoke_run, own, told).settings.api_keys == ("c",)
    assert (tmp_path / "own.db").exists()


def test_an_empty_key_is_refused(smoke_run, tmp_path):
    settings = Serving(log=f"sqlite:///{tmp_path / 'log.db'}", api_keys=("a", ""))
    with pytest.raises(ValueError, match=r"serving\.api_keys: expected keys, got an empty one"):
        compose(smoke_run, settings, SECRET)


def test_who_reads_that_it_serves_can_connect(smoke_run, tmp_path, monkeypatch, caplog):
    class Reader(logging.Handler):
        def emit(self, record):
            if found := re.search(r"serving on http://([\d.]+):(\d+)", record.getMessage()):
                socket.create_connection((found[1], int(found[2])), timeout=5).close()
                connected.append(record)

    async def at_once(*_, **__):
        """The app has not begun to answer when the address is said."""

    async def start(_):
        """No worker is needed to listen."""

    connected, log = [], logging.getLogger(app.__name__)
    monkeypatch.setenv("TFREC_LLM_SECRET", "a secret of the tests")
    monkeypatch.setattr(Model, "start", start)
    monkeypatch.setattr(uvicorn.Server, "serve", at_once)
    reader = Reader()
    log.addHandler(reader)
    try:
        with caplog.at_level(logging.INFO, app.__name__):
            app.run_server(smoke_run, Serving(port=0, log=f"sqlite:///{tmp_path / 'log.db'}"))
    finally:
        log.removeHandler(reader)
    assert len(connected) == 1
