"""The whole stage on the tiny encoder: trained, read again, exported."""

import csv
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm import config, data, text, training


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "labels.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "intent", "emotion", "sentiment"])
        labels = (("aaaa", "joy", "pos"), ("zzzz", "pride", "差评"))
        rows.writerows([f"please {names[0]} {i}", *names] for i in range(60) for names in labels)
    return config.Config(
        data=config.Data(source="synthetic", synthetic_users=60, utterances=str(path)),
        train=config.Train(precision="float32", xla="off"),
        text=config.Text(
            encoder=config.Component("tiny"),
            corpora=(),
            domain_rows=300,
            epochs=6,
            hidden=0,
            dropout=0.0,
            slots=config.Slots(rows=100),
        ),
    )


@pytest.fixture(scope="module")
def dataset(settings):
    return data.load_dataset(settings.data, settings.seed)


@pytest.fixture(scope="module")
def trained(settings, dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    patch = pytest.MonkeyPatch()
    patch.setenv("TFREC_LLM_CACHE", str(tmp_path_factory.mktemp("cache")))
    figures = {}
    training.run_stage(folder, "text", {}, lambda stage: figures.update(text.train(settings, dataset, stage)))
    yield folder, figures
    patch.undo()


def test_figures_have_the_contracts_form(trained):
    folder, figures = trained
    assert json.loads((folder / "text" / "metrics.json").read_text(encoding="utf-8")) == figures
    assert {
        "text.domain.accuracy",
        "text.domain.emotion.accuracy",
        "text.files.accuracy",
        "text.files.macro_f1",
        "text.files.emotion.accuracy",
        "text.files.sentiment.accuracy",
        "text.files_served.accuracy",
        "text.files_served.emotion.accuracy",
        "text.files_served.sentiment.accuracy",
    } <= set(figures)
    for figure in figures.values():
        assert set(figure) == {"value", "ci95", "over", "n", "split"}
    accuracy = figures["text.files.accuracy"]
    assert accuracy["split"] == "test"
    assert accuracy["value"] > 0.9  # the two words share no character
    assert accuracy["ci95"][0] <= accuracy["value"] <= accuracy["ci95"][1]
    assert figures["text.trained_share"]["value"] == 0  # the encoder is frozen
    assert 0 < figures["text.heads_share"]["value"] < 0.5
    assert "text.emotion_weak.agreement" not in figures  # no real texts, no figure


def test_signals_are_probabilities(trained, settings, dataset):
    model = text.load(settings, trained[0] / "text")
    embedding = model.encode(*model.tokenize(tf.constant(["funny films please", "", "手机"])))
    signals = model.signals(embedding)
    assert signals.intent.shape == (3, len(dataset.domain.intents) + 2)
    assert signals.emotion.shape == (3, len(dataset.domain.emotions) + 1)
    assert signals.sentiment.shape == (3, 3)
    for part in signals[:3]:
        np.testing.assert_allclose(tf.reduce_sum(part, -1), 1, atol=1e-5)
    assert model.intents == (*dataset.domain.intents, "aaaa", "zzzz")  # the user's labels are served too
    assert model.emotions == (*dataset.domain.emotions, "pride")
    assert model.sentiments == ("negative", "neutral", "positive")


def test_what_the_users_file_calls_by_other_names_is_what_serving_says(trained, settings):
    model = text.load(settings, trained[0] / "text")
    signals = model.signals(model.encode(*model.tokenize(tf.constant(["please aaaa 7", "please zzzz 7"]))))
    for part, names, wanted in (
        (signals.intent, model.intents, ["aaaa", "zzzz"]),
        (signals.emotion, model.emotions, ["joy", "pride"]),
        (signals.sentiment, model.sentiments, ["positive", "negative"]),
    ):
        assert [names[place] for place in np.argmax(part, axis=1)] == wanted


def test_item_vectors(trained, settings, dataset):
    items = text.load(settings, trained[0] / "text").item_vectors
    rows = len(dataset.catalogue.item_ids)
    assert items.text.shape == (rows, 32)
    assert not items.text[:2].any()
    assert not items.present[:2].any()
    np.testing.assert_allclose(np.linalg.norm(items.text[2:], axis=1), 1, atol=1e-5)
    assert items.present[2:, 0].all()


def test_exported_equals_python(trained, settings, tmp_path):
    model = text.load(settings, trained[0] / "text")

    class Served(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            return model.signals(model.encode(*model.tokenize(texts)))._asdict()

    served = Served()
    served.model = model
    tf.saved_model.save(served, str(tmp_path))
    texts = tf.constant(["more like this", "不好看"])
    for name, value in tf.saved_model.load(str(tmp_path))(texts).items():
        np.testing.assert_allclose(value, served(texts)[name], atol=1e-5)


def test_another_encoder_is_refused(trained, settings):
    wide = config.Component("tiny", {"dim": 64})
    other = config.Config(data=settings.data, text=config.Text(encoder=wide, hidden=0))
    with pytest.raises(ValueError, match="make train STAGE=text"):
        text.load(other, trained[0] / "text")


def test_another_checkpoint_of_the_same_width_is_refused_and_earlier_runs_are_read(trained, settings, tmp_path):
    other = config.Component("tiny", {"seed": 2})
    chosen = config.Config(data=settings.data, text=config.Text(encoder=other, hidden=0))
    with pytest.raises(ValueError, match=r"expected the encoder that the heads were trained on .*make train STAGE"):
        text.load(chosen, trained[0] / "text")
    shutil.copytree(trained[0] / "text", tmp_path / "text")
    labels = json.loads((tmp_path / "text" / "labels.json").read_text(encoding="utf-8"))
    del labels["encoder"]
    (tmp_path / "text" / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    assert text.load(chosen, tmp_path / "text").dim == 32


def test_unknown_corpus_and_encoder_are_refused(settings, dataset, tmp_path):
    stage = training.Stage("text", tmp_path, tmp_path, tmp_path)
    for section in (
        config.Text(corpora=("nobody",), encoder=config.Component("tiny")),
        config.Text(encoder=config.Component("bart")),
    ):
        with pytest.raises(config.ConfigError, match=r"nobody|bart"):
            text.train(config.Config(data=settings.data, text=section), dataset, stage)
