"""What a server is put together from: a worker of its own or a TensorFlow Serving, and what the environment says."""

import pytest

from tfrec_llm.config import Serving
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
