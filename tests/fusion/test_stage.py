import dataclasses
import json
import logging

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, Config, Fusion, Train
from tfrec_llm.fusion import FUSIONS, contexts, load, train
from tfrec_llm.fusion.fusions import build_fusion
from tfrec_llm.fusion.scorer import ContextScorer
from tfrec_llm.fusion.stage import _examples, _passes

LAYER = Component("concatenation", {"dim": 8, "projection": 8, "dropout": 0.0, "modality_dropout": 0.0})
CONFIG = Config(
    train=Train(precision="float32", xla="off"),
    fusion=Fusion(layer=LAYER, epochs=12, batch_size=32, learning_rate=0.01, patience=12),
)


def scorer_of(examples, jit_compile=False, layer=LAYER):
    widths = {name: values.shape[1] for name, (values, _) in examples.modalities.items()}
    scorer = ContextScorer(build_fusion(layer, widths, seed=1), examples.candidates.features.shape[2], seed=1)
    scorer.adapt(examples.modalities, examples.candidates)
    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    scorer.compile(tf.keras.optimizers.Adam(0.01), loss, jit_compile=jit_compile)
    return scorer


def test_it_learns_that_the_mood_decides_and_is_written_and_read(rows, stage):
    metrics = train(CONFIG, rows, stage)
    assert sorted(path.name for path in stage.folder.iterdir()) == ["fusion.json", "metrics.json", "weights.npz"]
    assert json.loads((stage.folder / "metrics.json").read_text()) == metrics
    _, stopping, _ = _examples(rows)
    p = np.where(rows.candidates.allowed, np.exp(rows.candidates.scores), 0)[rows.stop & rows.target.any(axis=1)]
    blend = np.log((p / p.sum(axis=1, keepdims=True) * stopping.label).sum(axis=1)).mean()
    assert metrics["fusion.context.log_likelihood"]["value"] > blend + 0.3
    fusion = load(CONFIG, stage.folder)
    context = contexts(fusion, rows, batch_size=150)
    assert context.shape == (400, 8)
    np.testing.assert_allclose(
        context[:7], fusion({k: (v[:7], p[:7]) for k, (v, p) in rows.modalities.items()}), atol=1e-6
    )
    mood = np.sign(rows.modalities["behaviour"][0][:, 0])
    assert max(abs(np.corrcoef(mood, column)[0, 1]) for column in context.T) > 0.6
    assert (stage.logs / "projector_config.pbtxt").exists()


@pytest.mark.parametrize("name", sorted(FUSIONS))
def test_every_fusion_learns_that_the_mood_decides_and_can_do_without_text(name, rows, stage):
    settings = {"dim": 8, "projection": 8, "dropout": 0.0, "modality_dropout": 0.2}
    fusion = Fusion(layer=Component(name, settings), epochs=12, batch_size=32, learning_rate=0.01, patience=12)
    config = dataclasses.replace(CONFIG, fusion=fusion)
    metrics = train(config, rows, stage)
    _, stopping, _ = _examples(rows)
    p = np.where(stopping.candidates.allowed, np.exp(stopping.candidates.scores), 0)
    blend = np.log((p / p.sum(axis=1, keepdims=True) * stopping.label).sum(axis=1)).mean()
    assert metrics["fusion.context.log_likelihood"]["value"] > blend + 0.2
    loaded = load(config, stage.folder)
    mood = np.sign(rows.modalities["behaviour"][0][:, 0])
    silent = rows.modalities | {"text": (rows.modalities["text"][0], np.zeros(400, bool))}
    for modalities in (rows.modalities, silent):
        context = contexts(loaded, rows._replace(modalities=modalities))
        assert max(abs(np.corrcoef(mood, column)[0, 1]) for column in context.T) > 0.5


def ndcg_of(scorer, examples):
    """Mean over rows of 1 / log2(1 + rank of the one right answer)."""
    logits = scorer((examples.modalities, examples.candidates)).numpy()
    rank = (logits > np.take_along_axis(logits, examples.label.argmax(axis=1)[:, None], 1)).sum(axis=1) + 1
    return (1 / np.log2(1 + rank)).mean()


def test_a_modality_that_another_can_stand_in_for_may_be_missing_at_serving(rows):
    mood, there = rows.modalities["behaviour"]
    noise = np.random.default_rng(1).normal(size=mood.shape).astype(np.float32)
    twice = rows.modalities | {"signals": (mood + 0.1 * noise, there)}
    training, stopping, _ = _examples(rows._replace(modalities=twice))
    layer = Component("concatenation", {"dim": 8, "projection": 8, "dropout": 0.0, "modality_dropout": 0.3})
    scorer = scorer_of(training, layer=layer)
    for number in range(15):
        for x, y in _passes(training, 32, 0)(number):
            scorer.train_on_batch(x, y)
    whole = ndcg_of(scorer, stopping)
    assert whole > ndcg_of(scorer_of(training), stopping) + 0.05  # it has learnt something to lose
    for name, (values, present) in stopping.modalities.items():
        without = stopping._replace(modalities={**stopping.modalities, name: (values, np.zeros_like(present))})
        assert ndcg_of(scorer, without) > 0.95 * whole, name


def test_rows_without_their_next_item_are_skipped_and_counted(rows, stage, caplog):
    missing = int((~(rows.target & rows.candidates.allowed).any(axis=1)).sum())
    config = dataclasses.replace(CONFIG, fusion=dataclasses.replace(CONFIG.fusion, epochs=1))
    with caplog.at_level(logging.INFO):
        metrics = train(config, rows, stage)
    assert missing > 0
    assert f"{missing} of 400 rows skipped" in caplog.text
    assert metrics["fusion.rows.skipped_share"]["value"] == pytest.approx(missing / 400)


def test_labels_are_uniform_over_several_right_answers(rows):
    target = rows.target.copy()
    target[3, :2] = True
    training, stopping, _ = _examples(rows._replace(target=target))
    for part in (training, stopping):
        np.testing.assert_allclose(part.label.sum(axis=1), 1.0)
    assert {0.5, 1.0} & set(np.unique(training.label))
    assert len(training.label) + len(stopping.label) <= 400


def test_the_weights_of_the_fusion_do_move(rows):
    # With a scorer linear in [context; features] they would not: the softmax cancels the context's term.
    values, present = rows.modalities["behaviour"]
    sometimes = {"behaviour": (values, present & (np.arange(400) % 3 > 0))}
    training, _, _ = _examples(rows._replace(modalities=rows.modalities | sometimes))
    scorer = scorer_of(training)
    x, y = next(iter(_passes(training, 32, 0)(0)))
    with tf.GradientTape() as tape:
        loss = scorer.compute_loss(x, y, scorer(x, training=True))
    gradients = tape.gradient(loss, scorer.fusion.to_context.trainable_variables)
    assert all(np.abs(gradient).max() > 1e-6 for gradient in gradients)
    before = [v.numpy() for v in scorer.fusion.trainable_variables]
    scorer.train_on_batch(x, y)
    moved = [np.abs(v.numpy() - b).max() > 0 for v, b in zip(scorer.fusion.trainable_variables, before, strict=True)]
    assert all(moved)


def test_it_starts_from_the_order_of_the_blend(rows):
    training, _, _ = _examples(rows)
    scorer = scorer_of(training)
    scorer.product.assign(tf.zeros_like(scorer.product))
    logits = scorer((training.modalities, training.candidates)).numpy()
    allowed = training.candidates.allowed
    np.testing.assert_allclose(logits[allowed], training.candidates.scores[allowed], atol=1e-6)
    assert (logits[~allowed] < -1e8).all()


def test_the_training_step_compiles_under_xla_to_the_same_loss(rows):
    training, _, _ = _examples(rows)
    scorers = [scorer_of(training, jit) for jit in (False, True)]
    for x, y in _passes(training, 32, 0)(0).take(2):
        plain, compiled = (scorer.train_on_batch(x, y) for scorer in scorers)
        assert plain == pytest.approx(compiled, abs=1e-4)


def test_passes_differ_and_repeat_by_their_number(rows):
    passes = _passes(_examples(rows)[0], 32, seed=3)
    first, again, second = ([y.numpy() for _, y in passes(number)] for number in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(second)).any()


def test_no_stopping_rows_is_fine(rows, stage):
    config = dataclasses.replace(CONFIG, fusion=dataclasses.replace(CONFIG.fusion, epochs=1))
    metrics = train(config, rows._replace(stop=np.zeros(400, bool)), stage)
    assert set(metrics) == {"fusion.rows.skipped_share"}


def test_nothing_to_learn_from_is_refused(rows, stage):
    with pytest.raises(ValueError, match=r"got none in 320; raise retrieval\.candidates"):
        train(CONFIG, rows._replace(target=np.zeros_like(rows.target)), stage)


def test_values_that_are_not_finite_are_refused(rows, stage):
    values, present = rows.modalities["text"]
    values = values.copy()
    values[5, 1] = np.nan
    with pytest.raises(ValueError, match="text: expected finite values, got others in 1 rows, the first 5"):
        train(CONFIG, rows._replace(modalities=rows.modalities | {"text": (values, present)}), stage)


def test_the_folder_of_another_fusion_is_refused(tmp_path):
    (tmp_path / "fusion.json").write_text('{"name": "gated", "widths": {}}')
    with pytest.raises(ValueError, match="got 'gated'; build it again with: make train STAGE=fusion"):
        load(CONFIG, tmp_path)
