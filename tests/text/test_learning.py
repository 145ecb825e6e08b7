"""Ensembles, a model distilled from one, and intents held back: through the whole stage, on the tiny encoder."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm import config, data, text, training
from tfrec_llm.text import learning
from tfrec_llm.text.classification.ensemble import Ensemble
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.scope import ALL
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.model import build_encoder

WORDS = ("aaaa", "ffff", "kkkk", "zzzz")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "labels.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "intent"])
        rows.writerows([f"please {word} {i}", word] for i in range(50) for word in WORDS)
        rows.writerow(["only one of its kind", "single"])
    return config.Config(
        data=config.Data(source="synthetic", synthetic_users=40, utterances=str(path)),
        train=config.Train(precision="float32", xla="off"),
        text=config.Text(
            encoder=config.Component("tiny"),
            corpora=(),
            domain_rows=30,
            epochs=6,
            joint_epochs=1,
            joint_min_steps=10,
            hidden=0,
            dropout=0.0,
            slots=replace(config.Text().slots, rows=0, predict=False),
        ),
    )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))


def trained(settings, run, **changes):
    chosen = replace(settings, text=replace(settings.text, **changes))
    dataset, figures = data.load_dataset(chosen.data, chosen.seed), {}
    training.run_stage(run, "text", {}, lambda stage: figures.update(text.train(chosen, dataset, stage)))
    return figures, text.load(chosen, run / "text")


@pytest.mark.slow
def test_an_ensemble_is_served_whole(settings, tmp_path):
    figures, model = trained(settings, tmp_path, regularise=config.Regularise(ensemble=3))
    assert figures["text.files.accuracy"]["value"] > 0.9
    assert 0 <= figures["text.files.ece"]["value"] <= 1
    assert len(model.heads["intent"].members) == 3
    signals = model.signals(model.encode(*model.tokenize(tf.constant(["please aaaa", ""]))))
    np.testing.assert_allclose(tf.reduce_sum(signals.intent, -1), 1, atol=1e-4)
    assert "single" in model.intents  # one example is no reason to refuse a label


@pytest.mark.parametrize("method", ["frozen", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_distilled_model_is_one_model(method, settings, tmp_path):
    switches = config.Regularise(ensemble=2, distil=True)
    figures, model = trained(settings, tmp_path, finetuning=config.Component(method), regularise=switches)
    assert isinstance(model.heads["intent"], Head)
    assert figures["text.files.ensemble_accuracy"]["value"] > 0.5
    assert figures["text.files.accuracy"]["value"] > 0.5


def test_an_ensemble_of_encoders_cannot_be_served(settings, tmp_path):
    with pytest.raises(config.ConfigError, match="distil"):
        trained(settings, tmp_path, finetuning=config.Component("lora"), regularise=config.Regularise(ensemble=2))


@pytest.mark.slow
def test_intents_held_back_are_measured(settings, tmp_path):
    figures, _ = trained(settings, tmp_path / "apart")
    assert 0 <= figures["text.files.out_of_scope_auroc"]["value"] <= 1
    figures, model = trained(settings, tmp_path / "left_out", unseen_intents=True)
    assert 0 <= figures["text.files.out_of_scope_auroc"]["value"] <= 1
    assert len(set(WORDS) - set(model.intents)) >= 1


def test_the_mean_of_two_heads_by_hand():
    heads = [Head(1, 2), Head(1, 2)]
    for head, bias in zip(heads, ([0.0, 0.0], np.log([0.9, 0.1])), strict=True):
        head.kernel.assign([[0.0, 0.0]])
        head.bias.assign(np.array(bias, np.float32))
    both = Ensemble(heads)
    np.testing.assert_allclose(both.probabilities(tf.ones([1, 1])), [[0.7, 0.3]], atol=1e-5)
    # evidence: log(1 + 1) and log(.9 + .1)
    np.testing.assert_allclose(both.evidence(tf.ones([1, 1])), [np.log(2) / 2], atol=1e-5)


@pytest.mark.parametrize(("few_shot", "again"), [("none", ["held"]), ("supcon", [])])
def test_who_calibrates_heads_of_a_trained_encoder(few_shot, again, settings, tmp_path, monkeypatch):
    """Together trained heads are calibrated by validation rows where they have any; after few_shot they are already."""
    little = config.Little(few_shot=few_shot, few_shot_steps=4, batch_size=8)
    chosen = replace(settings, text=replace(settings.text, finetuning=config.Component("lora"), little=little))
    texts, targets = np.array([f"{WORDS[i % 2]} {i}" for i in range(24)]), np.arange(24, dtype=np.int32) % 2
    plain = Task("plain", "intent", ("a", "b"), texts, targets, np.full(24, "train"), np.full(24, "files"))
    split = np.where(np.arange(24) < 18, "train", "validation")
    tasks, calibrated = [plain, replace(plain, name="held", split=split)], []
    monkeypatch.setattr(learning, "train_jointly", lambda *_: None)
    monkeypatch.setattr(learning, "calibrate_head", lambda head, task, *_: calibrated.append(task.name))
    stage = training.Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    _, finetuning = build_encoder(chosen)
    heads = learning.learn(finetuning, tasks, [], chosen, stage, {})
    assert calibrated == again
    assert heads["plain"].threshold.numpy() == pytest.approx(ALL)  # no row says how sure it may be
    assert heads["held"].threshold.numpy() > ALL / 2  # what fit_few settled by the validation rows


@pytest.mark.parametrize("method", ["frozen", "lora"])
def test_self_training_gets_the_changed_copies_too(method, settings, tmp_path, monkeypatch):
    little, seen = config.Little(self_training=1), []
    chosen = replace(settings.text, finetuning=config.Component(method), little=little, augment=config.Augment(noise=1))
    texts, targets = np.array([f"please {WORDS[i % 2]} {i}" for i in range(24)]), np.arange(24, dtype=np.int32) % 2
    task = Task("plain", "intent", ("a", "b"), texts, targets, np.full(24, "train"), np.full(24, "files"))
    monkeypatch.setattr(learning, "train_jointly", lambda *_: None)
    monkeypatch.setattr(learning, "learn_from_unlabelled", lambda tasks, *_: seen.extend(tasks))
    stage = training.Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    _, finetuning = build_encoder(replace(settings, text=chosen))
    learning.learn(finetuning, [task], [], replace(settings, text=chosen), stage, {})
    assert len(seen[0].texts) > len(task.texts)
