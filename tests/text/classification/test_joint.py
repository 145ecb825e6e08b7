"""Encoder and heads trained together on the tiny encoder, with every switch."""

import csv

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm import config, data, text, training
from tfrec_llm.text.classification import joint
from tfrec_llm.text.classification.classifier import WarmUp
from tfrec_llm.text.classification.joint import published_f1, shown_rows
from tfrec_llm.text.classification.tasks import Task


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two intents that differ by order alone: the mean of frozen vectors tells little."""
    path = tmp_path_factory.mktemp("own") / "labels.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "intent"])
        for i in range(100):
            rows.writerow([f"{i} cat then dog", "cat"])
            rows.writerow([f"{i} dog then cow", "cow"])
    return path


def settings(corpus, method: str, **groups) -> config.Config:
    return config.Config(
        data=config.Data(source="synthetic", synthetic_users=40, utterances=str(corpus)),
        train=config.Train(precision="float32", xla="off"),
        text=config.Text(
            encoder=config.Component("tiny"),
            finetuning=config.Component(method),
            corpora=(),
            domain_rows=30,
            tfidf=False,
            slots=config.build(config.Text, {"slots": {"rows": 0, "predict": False}}, "text").slots,
            epochs=1,
            hidden=0,
            joint_epochs=1,
            joint_min_steps=12,
            **groups,
        ),
    )


def trained(run, corpus, method, **groups):
    chosen = settings(corpus, method, **groups)
    dataset, figures = data.load_dataset(chosen.data, chosen.seed), {}
    training.run_stage(run, "text", {}, lambda stage: figures.update(text.train(chosen, dataset, stage)))
    return chosen, figures, text.load(chosen, run / "text")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("method", sorted(text.FINETUNING))
def test_trained_read_again_and_the_same(method, corpus, tmp_path):
    chosen, figures, model = trained(tmp_path / "run", corpus, method)
    again = text.load(chosen, tmp_path / "run" / "text")
    texts = tf.constant(["1 cat then dog", ""])
    first, second = (m.signals(m.encode(*m.tokenize(texts))) for m in (model, again))
    np.testing.assert_array_equal(first.intent, second.intent)
    base = text.ENCODERS["tiny"][1](text.ENCODERS["tiny"][0]())
    moved = np.abs(first.embedding - base.encode(*base.tokenize(texts))).max()
    assert (moved == 0) == (method == "frozen")
    assert (model.encoder.fingerprint == base.fingerprint) == (method == "frozen")
    items = model.item_vectors
    row = int(np.flatnonzero(items.present[:, 0])[0])
    title = str(data.load_dataset(chosen.data, chosen.seed).catalogue.texts[row])
    np.testing.assert_allclose(
        items.text[row],
        model.encoder.encode(*model.encoder.tokenize(tf.constant([title]), "passage", 96))[0],
        atol=2e-2,
    )
    assert (figures["text.trained_share"]["value"] == 0) == (method == "frozen")
    assert 0 <= figures["text.trained_share"]["value"] <= 1
    assert figures["text.heads_share"]["value"] > 0


@pytest.mark.parametrize(
    "switches",
    [
        {"adversarial": "fgm"},
        {"adversarial": "pgd", "pgd_steps": 2},
        {"r_drop": 1.0, "label_smoothing": 0.1},
        {"weight_average": 0.9, "class_weights": False},
    ],
    ids=str,
)
def test_switches_train(switches, corpus, tmp_path):
    _, figures, _ = trained(tmp_path / "run", corpus, "lora", regularise=config.Regularise(**switches))
    assert np.isfinite(figures["text.files.accuracy"]["value"])


def test_augmented_texts_train(corpus, tmp_path):
    _, figures, _ = trained(tmp_path / "run", corpus, "lora", augment=config.Augment(swap=0.2, delete=0.2))
    assert np.isfinite(figures["text.files.accuracy"]["value"])


def judged(multi_label: bool) -> Task:
    targets = np.zeros((1, 2), bool) if multi_label else np.zeros(1, np.int32)
    return Task("toy", "intent", ("a", "b"), np.array(["x"]), targets, np.array(["validation"]), np.array(["files"]))


def test_what_chooses_the_pass_by_hand():
    targets = np.array([0, 0, 0, 1, -1])
    logits = np.eye(2)[[0, 0, 1, 1, 0]]
    # F1 of a: 2 * 2 / (2 + 3); of b: 2 * 1 / (2 + 1)
    assert published_f1(judged(False), targets, logits) == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert published_f1(judged(False), np.array([-1]), np.eye(2)[:1]) is None
    several = np.array([[1, 1], [0, 1], [-1, -1]])
    # found two of three labels and nothing wrong: 2 * 2 / (2 + 3)
    assert published_f1(judged(True), several, np.array([[1, -1], [-1, 1], [1, 1]])) == pytest.approx(4 / 5)


def test_a_task_counts_by_the_rows_that_a_pass_shows():
    corpus, split = ["files", "files", "files_served", "domain", "files"], ["train"] * 4 + ["test"]
    task = Task("toy", "intent", ("a", "b"), np.arange(5), np.zeros(5, np.int32), np.array(split), np.array(corpus))
    assert shown_rows(task, 1) == 4
    assert shown_rows(task, 10) == 31  # three rows of the file, however the head gets them


def test_a_small_file_beside_a_larger_corpus_has_its_say_in_the_pass(corpus, monkeypatch):
    """Ten rows shown ten times count as much as a hundred."""
    chosen = settings(corpus, "lora")
    texts, targets = np.array([f"{i} dog" for i in range(240)]), np.arange(240, dtype=np.int32) % 2
    split = np.array((["train"] * 3 + ["validation"]) * 60)
    large = Task("large", "intent", ("a", "b"), texts, targets, split, np.full(240, "snips"))
    small = Task(
        "small", "intent", ("a", "b"), np.char.add(texts[:40], " x"), targets[:40],
        np.array(["train"] * 10 + ["validation"] * 30), np.full(40, "files"),
    )  # fmt: skip
    monkeypatch.setattr(joint, "published_f1", lambda task, *_: float(task.name == "small"))

    def answers(batch):
        return dict.fromkeys(("large", "small"), tf.zeros([tf.shape(batch["ids"])[0], 2]))

    encoder = text.ENCODERS["tiny"][1](text.ENCODERS["tiny"][0]())
    for repeats, share in ((1, 10 / 190), (10, 100 / 280)):
        judge, _ = joint._validation(answers, encoder, [large, small], chosen, repeats)
        assert judge()["f1"] == pytest.approx(share)


def test_how_sure_a_pass_is_does_not_choose_it():
    targets, logits = np.array([0, 1, 1]), np.array([[1, 0], [0, 1], [1.0, 0]])
    assert published_f1(judged(False), targets, logits) == published_f1(judged(False), targets, 100 * logits)


def test_step_size_rises_and_falls():
    schedule = WarmUp(2.0, 4, 10)
    assert [float(schedule(step)) for step in (0, 1, 3, 4, 7, 10)] == pytest.approx([0.5, 1, 2, 2, 1, 0])
