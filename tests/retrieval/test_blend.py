"""retrieval.blend: the derivatives, known answers, and the promise never to be worse than the best source alone."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Config
from tfrec_llm.retrieval import blend
from tfrec_llm.retrieval.blend import calibrate, fit_blend, flat, join_rows, single
from tfrec_llm.retrieval.candidates import CandidateSource
from tfrec_llm.retrieval.descent import descend, descend_crossed
from tfrec_llm.retrieval.moments import BlendBatch, Moments
from tfrec_llm.types import History

ITEMS, ROWS = 22, 240


def made(world, as_history, seed=0, signal=None, answers=1, **kwargs):
    """Rows whose answers follow a weighted sum of the sources: signal = source -> weight; the others are noise."""
    signal = {"towers": 2.0} if signal is None else signal
    rng = np.random.default_rng(seed)
    tables = {name: rng.normal(size=[ITEMS, 5]) for name in ("behaviour", "towers", "text")}
    source = CandidateSource.build(tables, world(**kwargs).dataset)
    queries = {name: rng.normal(size=[ROWS, 5]).astype(np.float32) for name in tables}
    spoken = rng.random(ROWS) < 0.5
    here = {name: spoken if name == "text" else np.ones(ROWS, bool) for name in tables}
    history = as_history(*[[2] * (1 + row % 7) for row in range(ROWS)])
    asked = {name: (tf.constant(queries[name]), tf.constant(here[name])) for name in tables}
    parts = source.source_scores(asked, history).numpy()
    scores = sum(weight * parts[:, :, source.source_names.index(name)] for name, weight in signal.items())
    scores = np.where(source.allowed(history, np.zeros([ROWS, 0])), scores, -np.inf)
    top = np.argsort(-(scores + rng.gumbel(size=scores.shape)), axis=1)[:, :answers].astype(np.int32)
    stop = np.arange(ROWS) % 4 == 0
    return source, BlendBatch(asked, history, np.zeros([ROWS, 0], np.int32), top, stop)


def test_gradient_and_curvature_equal_finite_differences(world, as_history):
    source, rows = made(world, as_history, answers=3, repeat=True)
    rows = join_rows([rows])
    moments, places = Moments(source, rows), np.arange(7)
    theta = np.random.default_rng(1).normal(size=5 * len(source.source_names)) * 0.3
    here, step = moments(theta, places), 1e-2
    for i in range(len(theta)):
        up, down = (moments(theta + sign * step * np.eye(len(theta))[i], places) for sign in (1, -1))
        np.testing.assert_allclose(here.gradient[i], (up.loss - down.loss) / (2 * step), atol=2e-3)
        np.testing.assert_allclose(here.curvature[i], (up.gradient - down.gradient) / (2 * step), atol=2e-2)


def test_moments_do_not_depend_on_the_chunks(world, as_history):
    source, rows = made(world, as_history)
    rows = join_rows([rows])
    whole, small = Moments(source, rows), Moments(source, rows)
    small._chunk = 7
    theta, places = np.full(20, 0.5), np.arange(50)
    for a, b in zip(whole(theta, places), small(theta, places), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_loss_and_gain_by_hand(world, as_history):
    source, rows = made(world, as_history)
    rows = join_rows([rows])
    rows.target[0] = 5
    none = Moments(source, rows)(np.zeros(20), np.array([0]))  # nothing is believed: 19 equal items, 2 is out
    assert none.loss == pytest.approx(np.log(19), rel=1e-4)
    assert none.gain == pytest.approx(1 / np.log2(4))  # equal scores go by index: 3, 4, 5


def test_rows_whose_answer_cannot_be_shown_do_not_count(world, as_history):
    source, rows = made(world, as_history)
    rows = join_rows([rows])
    impossible = rows._replace(target=np.where(np.arange(ROWS)[:, None] == 0, 2, rows.target))  # 2 is in the history
    a, b = Moments(source, impossible)(np.ones(20), np.arange(5)), Moments(source, rows)(np.ones(20), np.arange(1, 5))
    assert a.loss == pytest.approx(b.loss, rel=1e-5)


def test_finds_the_weights_that_made_the_rows(world, as_history, stage):
    source, rows = made(world, as_history, signal={"towers": 1.0, "behaviour": 0.5})
    figures = fit_blend(source, [rows], Config(), stage("blend"))
    weights = source.weights.numpy()[:, :2] / source.scale.numpy()[:2]
    np.testing.assert_allclose(weights, [[0.5, 1.0], [0.5, 1.0]], atol=0.25)
    together = figures["retrieval.blend_all.ndcg@10"]["value"]
    assert together >= max(entry["value"] for entry in figures.values())


def test_of_many_rows_some_are_drawn_and_the_weights_are_still_found(world, as_history, stage, monkeypatch):
    asked = []

    class Counting(Moments):
        def __call__(self, theta, places):
            asked.append(len(places))
            return super().__call__(theta, places)

    monkeypatch.setattr(blend, "Moments", Counting)
    monkeypatch.setattr(blend, "LEARN_ROWS", 120)
    monkeypatch.setattr(blend, "STOP_ROWS", 40)
    source, rows = made(world, as_history, signal={"towers": 1.0, "behaviour": 0.5})
    figures = fit_blend(source, [rows], Config(), stage("blend"))
    assert {120, 40} <= set(asked) <= {120, 40, 160}
    assert {entry["n"] for entry in figures.values()} == {40}
    weights = source.weights.numpy()[:, :2] / source.scale.numpy()[:2]
    np.testing.assert_allclose(weights, [[0.5, 1.0], [0.5, 1.0]], atol=0.35)


def test_where_hardly_a_row_stops_all_are_learnt_from(world, as_history, stage):
    source, rows = made(world, as_history, signal={"towers": 1.0, "behaviour": 0.5})
    misled = rows.target.copy()
    misled[0] = np.argmin(rows.queries["towers"][0][:1] @ source.columns.silent.numpy()[3:, 5:10].T) + 3
    rows = rows._replace(target=misled, stop=np.arange(ROWS) == 0)  # the one that stops says the contrary of all others
    figures = fit_blend(source, [rows], Config(), stage("blend"))
    weights = source.weights.numpy()[:, :2] / source.scale.numpy()[:2]
    np.testing.assert_allclose(weights, [[0.5, 1.0], [0.5, 1.0]], atol=0.3)
    assert {entry["n"] for entry in figures.values()} == {ROWS}


def test_crossed_rows_that_teach_nothing_leave_the_start(world, as_history):
    source, rows = made(world, as_history, signal={})
    rows, some, draw = join_rows([rows]), np.arange(60), np.random.default_rng(0)
    start = np.zeros(20)  # equal items, and no weights are right
    learnt = descend(Moments(source, rows), start, some, some)
    crossed = descend_crossed(Moments(source, rows), start, some, draw)
    assert np.abs(crossed).sum() < 0.3 * np.abs(learnt).sum()
    np.testing.assert_array_equal(descend_crossed(Moments(source, rows), start, some[:3], draw), start)


def test_what_is_said_counts_where_something_is_said(world, as_history, stage):
    source, rows = made(world, as_history, signal={"text": 6.0, "towers": 0.3})
    fit_blend(source, [rows], Config(), stage("blend"))
    assert np.argmax(np.abs(source.weights.numpy()[1])) == source.source_names.index("text")


def test_newton_finds_the_weights_without_stopping(world, as_history):
    source, rows = made(world, as_history, signal={"text": 6.0, "towers": 0.3})
    rows, everyone = join_rows([rows]), np.arange(ROWS)
    theta = descend(Moments(source, rows), single(source, 2), everyone, everyone)
    spoken = theta[4:8]  # behaviour, towers, text, popularity; the source's own centre made the rows
    np.testing.assert_allclose(spoken[:3], [0.0, 0.3, 6.0], atol=1.2)


@pytest.mark.parametrize("seed", range(4))
def test_never_worse_than_the_best_source_alone(world, as_history, stage, seed):
    source, rows = made(world, as_history, seed, signal={"behaviour": 0.2})
    fit_blend(source, [rows], Config(), stage("blend"))
    rows, everyone = join_rows([rows]), np.arange(ROWS)
    moments, stop = Moments(source, rows), np.flatnonzero(rows.stop)
    theta = flat(source.weights.numpy(), source.by_length.numpy())
    alone = [single(source, place) for place in range(len(source.source_names))]
    best = max(alone, key=lambda weights: moments(weights, stop).gain)
    assert moments(theta, everyone).gain >= moments(best, everyone).gain
    assert moments(theta, stop).loss <= moments(best, stop).loss


def test_single_sources_as_weights(world, as_history):
    source, _ = made(world, as_history)
    np.testing.assert_array_equal(single(source, 1), flat([[0, 1, 0, 0]] * 2, [[0, 0, 0, 1], [0] * 4, [0] * 4]))


def test_calibration_makes_the_sources_alike(world, as_history):
    source, rows = made(world, as_history)
    rows = join_rows([rows])
    calibrate(source, rows, np.arange(ROWS))
    scores = source.source_scores(rows.queries, History(*map(tf.constant, rows.history))).numpy()[:, 2:, :2]
    np.testing.assert_allclose(scores.std(axis=1).mean(axis=0), 1, atol=0.15)


def test_batches_of_other_widths_are_joined(as_history):
    one = ({}, as_history([2, 3]), np.zeros([1, 1], np.int32), np.array([[5, 5, 4]], np.int32), np.array([True]))
    two = ({}, as_history([2, 3, 4]), np.zeros([1, 0], np.int32), np.array([[6]], np.int32), np.array([False]))
    rows = join_rows([BlendBatch(*one), BlendBatch(*two)])
    assert rows.history.item.tolist() == [[2, 3, 0], [2, 3, 4]]
    assert rows.target.tolist() == [[4, 5, 0], [0, 0, 6]]
    assert rows.stop.tolist() == [True, False]


def test_no_rows(world, as_history, stage):
    source, rows = made(world, as_history)
    with pytest.raises(ValueError, match="expected a batch of rows, got none"):
        fit_blend(source, [], Config(), stage("blend"))
    assert fit_blend(source, [rows._replace(stop=np.ones(ROWS, bool))], Config(), stage("again")) == {}
