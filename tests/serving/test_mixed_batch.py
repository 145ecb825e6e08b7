"""In a batch where some say something and some do not, only what was said is encoded."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines import stages
from tests.serving import foreign
from tfrec_llm import config as configs
from tfrec_llm import serving
from tfrec_llm.serving.saved_model import signatures


@pytest.fixture(scope="module")
def recommender(smoke_run, tmp_path_factory):
    config, dataset = configs.load(smoke_run / "config.toml"), stages.load_dataset(smoke_run)
    return serving.load_recommender(config, dataset, smoke_run, tmp_path_factory.mktemp("scratch"))


def test_serving_default_encodes_the_rows_with_text_alone(recommender, monkeypatch):
    language, encoded = recommender.path.text, []
    real = type(language).encode_request

    def encode_request(self, ids, mask):
        tf.py_function(lambda rows: encoded.append(int(rows)), [tf.shape(ids)[0]], [])
        return real(self, ids, mask)

    monkeypatch.setattr(type(language), "encode_request", encode_request)
    serve = signatures(recommender, configs.Export(max_history=50))["serving_default"]
    asked = [{"text": text} for text in ("", "something sad", "  ", "手机", "")]
    answer = foreign.ask(serve, asked)
    assert encoded == [2]
    assert [bool(intent) for intent in answer["intent"]] == [False, True, False, True, False]
    foreign.ask(serve, [{"text": ""}] * 3)
    assert encoded == [2]  # nothing was said: the encoder does not run at all
    alone = foreign.ask(serve, asked[1:2])
    np.testing.assert_allclose(answer["emotion_probability"][1], alone["emotion_probability"][0], atol=1e-5)
