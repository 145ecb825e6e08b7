"""Both simulators find what users like in data whose truth is known, and say how sure they are."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from tfrec_llm import metrics
from tfrec_llm.ranking.objectives import item_tables
from tfrec_llm.ranking.simulators import shifted, taking_event
from tfrec_llm.ranking.simulators.judge import fit_judge
from tfrec_llm.ranking.simulators.responses import Responses, divide, observed_responses
from tfrec_llm.ranking.simulators.tables import ResponseTables, calibrate, quality
from tfrec_llm.ranking.simulators.trainer import fit_trainer
from tfrec_llm.types import Catalogue

USERS, ITEMS = 60, 42


@pytest.fixture(scope="module")
def known():
    """Half of the users like the items of genre a, half those of genre b."""
    rng = np.random.default_rng(0)
    user = rng.integers(USERS, size=6000).astype(np.int32)
    item = rng.integers(2, ITEMS, size=6000).astype(np.int32)
    truth = expit(np.where(user % 2 == item % 2, 2.0, -2.0))
    positive = (rng.random(6000) < truth).astype(np.float32)
    return divide(Responses(user, item, positive, np.ones(6000, np.float32))), truth[5400:]


def catalogue():
    names = np.array([f"item {row}" for row in range(ITEMS)])
    genres = {"genre": ((), (), *(("ab"[row % 2],) for row in range(2, ITEMS)))}
    return Catalogue(names, names, names, genres, np.full(ITEMS, np.nan, np.float32), np.arange(ITEMS) > 1)


def fitted(name, parts):
    return fit_judge(parts, USERS, ITEMS, 1) if name == "judge" else fit_trainer(parts, catalogue(), None, USERS, 1)


@pytest.mark.parametrize("name", ["judge", "trainer"])
def test_it_finds_who_likes_what(known, name):
    parts, truth = known
    tables = fitted(name, parts)
    best = metrics.auroc(parts.held_out.positive, truth)
    found = quality(tables, parts.held_out, name)
    assert found[f"ranking.simulator.{name}.auc"]["value"] > best - 0.06
    assert found[f"ranking.simulator.{name}.ece"]["value"] < 0.1
    assert found[f"ranking.simulator.{name}.auc"]["n"] == 600
    again = fitted(name, parts)
    np.testing.assert_array_equal(tables.user, again.user)


def test_calibration_mends_scale_and_shift():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=4000)
    tables = ResponseTables(np.zeros((1, 1)), np.zeros(1), np.zeros((4000, 1)), 3 * truth - 1)
    positive = (rng.random(4000) < expit(truth)).astype(np.float32)
    responses = Responses(np.zeros(4000, int), np.arange(4000), positive, positive)
    mended = calibrate(tables, responses)
    np.testing.assert_allclose(mended.logits(responses), truth, atol=0.25)


def test_responses_are_what_the_domain_calls_positive(dataset, domain):
    dull = dataclasses.replace(dataset, split=dataclasses.replace(dataset.split, train=np.ones(12, bool)))
    many = dataclasses.replace(
        dull.interactions, **{n: np.tile(getattr(dull.interactions, n), 3) for n in ("user", "item", "event")}
    )
    large = dataclasses.replace(dull, interactions=many, split=dataclasses.replace(dull.split, train=np.ones(36, bool)))
    found = observed_responses(large, seed=0)
    assert len(found.user) == 36
    assert found.positive.sum() == 24  # four purchases of six events
    assert found.observed.all()


def test_where_all_events_are_alike_others_are_drawn(dataset):
    many = {n: np.tile(getattr(dataset.interactions, n), 3) for n in ("user", "item")}
    log = dataclasses.replace(dataset.interactions, **many, event=np.full(36, 3, np.int32))
    split = dataclasses.replace(dataset.split, train=many["item"] < 5)
    found = observed_responses(dataclasses.replace(dataset, interactions=log, split=split), seed=0)
    drawn = found.observed == 0
    assert drawn.any()
    assert (found.item[drawn] == 5).all()  # the only item that nobody has
    np.testing.assert_array_equal(found.positive, found.observed)


def test_too_few_events_are_refused(dataset):
    with pytest.raises(ValueError, match="at least 20 training events of known items, got 8"):
        observed_responses(dataset, seed=0)


def test_nothing_is_read_but_training_events(dataset):
    many = {n: np.tile(getattr(dataset.interactions, n), 4) for n in ("user", "item", "event")}
    train = np.tile(dataset.split.train, 4)
    log = dataclasses.replace(dataset.interactions, **many)
    whole = dataclasses.replace(dataset, interactions=log, split=dataclasses.replace(dataset.split, train=train))
    before = (*observed_responses(whole, 3), *item_tables(whole), taking_event(whole))
    log.item[~train] = log.item[~train][::-1]
    log.event[~train] = 4
    for old, new in zip(before, (*observed_responses(whole, 3), *item_tables(whole), taking_event(whole)), strict=True):
        np.testing.assert_array_equal(old, new)


def test_shifted_tastes_move_whole_categories(dataset):
    rows, users = len(dataset.catalogue.item_ids), len(dataset.interactions.user_ids)
    tables = ResponseTables(np.zeros((users, 1)), np.zeros(users), np.zeros((rows, 1)), np.zeros(rows))
    categories = item_tables(dataset).categories.numpy()
    moved = shifted(tables, dataset, 1.0, 1)
    np.testing.assert_allclose(shifted(tables, dataset, 2.0, 1).item_bias, 2 * moved.item_bias, rtol=1e-5)
    np.testing.assert_array_equal(shifted(tables, dataset, 0.0, 1).item_bias, tables.item_bias)
    assert not np.allclose(shifted(tables, dataset, 1.0, 2).item_bias, moved.item_bias)
    alike = (categories[:, None] == categories[None]).all(axis=2)
    assert np.ptp(np.where(alike[2], moved.item_bias, moved.item_bias[2])) < 1e-6
    assert np.ptp(moved.item_bias[2:]) > 0.1
    np.testing.assert_array_equal(moved.user, tables.user)
