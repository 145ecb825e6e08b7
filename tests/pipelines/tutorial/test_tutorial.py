"""The tutorial's split, metric and model, and ours beside it, on a small world of two tastes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

from pipelines import suite
from pipelines.tutorial import TutorialConfig, ratings, stock, study
from pipelines.tutorial.ratings import Ratings, rows_of, top_share
from pipelines.tutorial.stock import StockSettings, StockTowers, build_stock, train_stock
from tfrec_llm.config import Component, ConfigError

USERS, FILMS = 40, 30


@pytest.fixture(scope="module")
def tastes():
    """Users watch films of their own half; of each user's twelve, three are judged."""
    draw = np.random.default_rng(0)
    user = np.repeat(np.arange(USERS, dtype=np.int32), 12)
    half = [draw.permutation(FILMS // 2)[:12] + (u % 2) * (FILMS // 2) for u in range(USERS)]
    rows = np.arange(len(user))
    titles = np.array([f"film {number // 2 if number < 2 else number}" for number in range(FILMS)])  # two share theirs
    names = np.array([f"user {number}" for number in range(USERS)])
    judged = rows % 12 >= 9
    return Ratings(user, np.concatenate(half).astype(np.int32), rows[~judged], rows[judged], names, titles)


def test_the_split_is_the_tutorials_and_choices_are_made_inside_its_training_part():
    train, test = rows_of(100_000, "test")
    assert (len(train), len(test)) == (80_000, 20_000)
    assert len(set(train) | set(test)) == 100_000
    kept, cut = rows_of(100_000, "validation")
    assert (len(kept), len(cut)) == (72_000, 8_000)
    np.testing.assert_array_equal(np.concatenate([kept, cut]), train)
    assert not np.array_equal(train, np.sort(train))
    with pytest.raises(ValueError, match="100000 ratings or more and validation or test, got 9 and 'test'"):
        rows_of(9, "test")


def test_top_share_counts_as_factorized_top_k_does(tastes):
    draw = np.random.default_rng(1)  # whole numbers: the order of a sum decides about no place
    query, candidate = draw.integers(-9, 10, [USERS, 4]), draw.integers(-9, 10, [FILMS, 4])
    films = tf.data.Dataset.from_tensor_slices(candidate.astype(np.float32)).batch(8)
    metric = tfrs.metrics.FactorizedTopK(candidates=films, ks=(5,))
    asked = tastes.user[tastes.judged], tastes.film[tastes.judged]
    metric.update_state(tf.constant(query[asked[0]], tf.float32), tf.constant(candidate[asked[1]], tf.float32))
    share = top_share((query @ candidate.T).astype(np.float32), tastes, 5)
    assert share == pytest.approx(float(metric.result()[0]))
    assert top_share(query @ candidate.T, tastes, FILMS) == 1


def test_ties_count_for_the_film_that_is_asked_for(tastes):
    assert top_share(np.zeros([USERS, FILMS]), tastes, 1) == 1


def test_watched_holds_training_only(tastes):
    watched = tastes.watched()
    assert watched.sum() == len(tastes.train)
    assert not watched[tastes.user[tastes.judged], tastes.film[tastes.judged]].any()


@pytest.mark.parametrize("switches", [{}, {"correction": True}, {"history": True}, {"metrics": True}], ids=str)
def test_the_stock_model_finds_the_taste(tastes, switches):
    settings = StockSettings(dim=8, learning_rate=0.5, batch_size=64, epochs=8, **switches)
    scores = train_stock(settings, tastes, 1)
    own = np.arange(FILMS)[None] // (FILMS // 2) == np.arange(USERS)[:, None] % 2
    assert scores[own].mean() > scores[~own].mean() + 1
    np.testing.assert_allclose(scores[:, 0], scores[:, 1])  # one title


def test_metrics_and_their_absence_train_the_same_model(tastes):
    settings = StockSettings(dim=4, batch_size=64, epochs=2)
    with_metrics = train_stock(dataclasses.replace(settings, metrics=True), tastes, 3)
    np.testing.assert_allclose(train_stock(settings, tastes, 3), with_metrics, rtol=1e-4, atol=1e-5)


def test_the_film_that_is_asked_for_is_not_in_its_own_history(tastes):
    model = build_stock(StockSettings(dim=4, history=True), tastes)
    row = tastes.train[0]
    user, film = int(tastes.user[row]), int(tastes.film[row])
    others = np.flatnonzero(tastes.watched()[user])
    others = others[others != film]
    mean = model._mean_of_others(tf.constant([user]), tf.constant([film]))[0]
    np.testing.assert_allclose(mean, model.others.numpy()[others].mean(axis=0), rtol=1e-4, atol=1e-6)


def test_the_correction_lowers_the_loss_of_popular_films_only_through_its_share(tastes):
    pairs = next(iter(stock.batches(StockSettings(batch_size=50), tastes, 0)))
    tf.random.set_seed(0)
    plain = StockTowers(StockSettings(dim=4), tastes)
    plain.compute_loss(pairs)
    tf.random.set_seed(0)
    corrected = StockTowers(StockSettings(dim=4, correction=True), tastes)
    corrected.compute_loss(pairs)
    for one, other in zip(corrected.trainable_variables, plain.trainable_variables, strict=True):
        one.assign(other)
    query, film = plain.query_tower(pairs["user_id"]), plain.candidate_tower(pairs["movie_title"])
    share = np.bincount(tastes.film[tastes.train], minlength=FILMS)[pairs["film"].numpy()] / len(tastes.train)
    logits = tf.matmul(query, film, transpose_b=True) - np.log(share)[None].astype(np.float32)
    want = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(50), logits)
    assert float(corrected.compute_loss(pairs)) == pytest.approx(float(tf.reduce_sum(want)), rel=1e-4)


@pytest.mark.parametrize("model", [{"name": "set_towers", "epochs": 40, "dim": 8, "batch_size": 20}, {"name": "stock"}])
def test_a_cell_says_what_it_found_and_by_which_protocol(tastes, monkeypatch, model):
    monkeypatch.setattr(ratings, "load_ratings", lambda split: tastes)
    own = {key: value for key, value in model.items() if key != "name"}
    report = study(TutorialConfig(seed=2, model=Component(model["name"], own)))
    metrics = report["metrics"]
    assert {f"tutorial.top_{depth}" for depth in (1, 5, 10, 50, 100)} < set(metrics)
    assert metrics["tutorial.top_100"]["value"] == 1  # of thirty films
    assert metrics["tutorial.top_100"]["n"] == len(tastes.judged)
    assert metrics["seconds.tutorial"]["value"] > 0
    assert report["protocol"]["sha256"] == tastes.sha256()
    assert report["protocol"]["seeds"] == [2]


def test_the_suite_refuses_models_that_are_not_there():
    cell = suite.all_cells("ml100k_tutorial")[0]
    suite.check_cell(cell)
    with pytest.raises(ConfigError, match="expected one of set_towers, stock, got 'none'"):
        suite.check_cell(cell._replace(config=TutorialConfig(model=Component("none"))))
