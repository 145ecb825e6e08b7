"""A run whose behaviour model is several: trained, blended, exported, asked, and told of a new item."""

import shutil

import numpy as np
import pytest
import tensorflow as tf

from pipelines import stages, train
from tfrec_llm import behaviour, config, serving, text


@pytest.fixture(scope="module")
def run(smoke_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble") / "run"
    shutil.copytree(smoke_run, folder)
    before = (folder / "behaviour" / "weights.npz").read_bytes()
    more = 'behaviour.ensemble=[{name="lstm", units=32, dim=16}, {name="sasrec", units=16, dim=16, heads=2}]'
    train.main(["--config", "smoke", "--run", str(folder), "--set", more])
    assert (folder / "behaviour" / "weights.npz").read_bytes() == before  # the model itself was there already
    return folder


def test_its_members_are_trained_apart_and_answer_as_one(run):
    made = config.load(run / "config.toml")
    dataset, items = stages.load_dataset(run), text.load_item_vectors(run / "text")
    both = behaviour.load(made, dataset, items, run / "behaviour")
    assert [type(model.body).__name__ for model in both.models][:2] == ["LSTM", "LSTM"]
    ids = [model.item_table().numpy() for model in both.models[:2]]
    assert np.abs(ids[0] - ids[1]).max() > 0.01
    recommender = serving.load_recommender(made, dataset, run, run)
    assert recommender.path.source.widths["behaviour"] == both.item_table().shape[1]


def test_the_export_answers_with_reasons(run):
    serve = tf.saved_model.load(str(run / "export" / "2")).signatures["serving_default"]
    spec = serve.structured_input_signature[1]
    asked = {name: tf.zeros([1, *s.shape[1:]], s.dtype) for name, s in spec.items() if s.dtype != tf.string}
    asked |= {name: tf.fill([1, *s.shape[1:]], "") for name, s in spec.items() if s.dtype == tf.string}
    seen = [str(item) for item in stages.load_dataset(run).catalogue.item_ids[2:5]]
    asked["history"] = tf.constant([[*seen, *[""] * (spec["history"].shape[1] - len(seen))]])
    answer = serve(**asked | {"k": tf.constant([5])})
    shown = answer["item_ids"].numpy()[0][:5]
    assert len({*shown} - {b""}) == 5
    assert not {*shown} & {item.encode() for item in seen}
    assert {*answer["because"].numpy().ravel()} & {item.encode() for item in seen}


def test_a_member_of_an_unknown_name_is_refused(tmp_path):
    command = ["--config", "smoke", "--run", str(tmp_path / "run"), "--set", 'behaviour.ensemble=["lstn"]']
    with pytest.raises(config.ConfigError, match=r"behaviour\.ensemble"):
        train.main(command)
