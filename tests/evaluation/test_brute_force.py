"""Every baseline against the plainest possible program: loops over users, dictionaries and sets."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from tfrec_llm.config import Evaluate
from tfrec_llm.evaluation import BASELINES, top_items

NUM_ITEMS, USERS, WIDTH = 9, 30, 4
SETTINGS = Evaluate(knn_neighbours=4, knn_shrink=1.5, mf_factors=2, ease_l2=3.0, ease_decay=2.0, text_knn_decay=3.0)


@pytest.fixture(name="dataset", params=[False, True], ids=["without repeats", "with repeats"])
def _dataset(request, make_dataset):
    """Random histories of 0 to 7 events, unknown items and equal times among them; the newest is not trained on."""
    generator = np.random.default_rng(7)
    histories = [generator.integers(1, NUM_ITEMS + 2, generator.integers(0, 8)).tolist() for _ in range(USERS)]
    answers = [[int(generator.integers(2, NUM_ITEMS + 2))] for _ in range(USERS)]
    times = [np.sort(generator.integers(0, 5, len(h) + 1)) for h in histories]
    made = make_dataset(histories, answers, NUM_ITEMS, repeat=request.param, times=times)
    train, newest = made.split.train.copy(), made.split.test.end - 1
    train[newest[made.split.test.end > made.split.test.begin]] = False
    return dataclasses.replace(made, split=dataclasses.replace(made.split, train=train))


@pytest.fixture(name="text")
def _text():
    vectors = np.random.default_rng(3).normal(size=(NUM_ITEMS + 2, WIDTH)).astype(np.float32)
    vectors[[0, 1, 5]] = 0  # item 5 has no text
    return vectors


def histories_of(dataset):
    """[(item, time), ...] for every query, oldest first."""
    events, queries = dataset.interactions, dataset.split.test
    return [
        [(int(events.item[row]), int(events.time[row])) for row in range(begin, end)]
        for begin, end in zip(queries.begin, queries.end, strict=True)
    ]


def trained(dataset):
    """(user, item) of every training event."""
    events = dataset.interactions
    return [
        (int(events.user[row]), int(events.item[row])) for row in range(len(events.item)) if dataset.split.train[row]
    ]


def owners(dataset):
    """Item -> users who have it in training."""
    found = {item: set() for item in range(2, NUM_ITEMS + 2)}
    for user, item in trained(dataset):
        if item >= 2:
            found[item].add(user)
    return found


def matrix(dataset):
    """[users, items] of zeros and ones."""
    owned = np.zeros((USERS, NUM_ITEMS + 2))
    for item, users in owners(dataset).items():
        owned[sorted(users), item] = 1
    return owned


def weights_of(history, decay):
    """Item -> exp(-later events / decay), by its latest event; 1 without decay."""
    found = {}
    for place, (item, _) in enumerate(history):
        if item >= 2:
            found[item] = np.exp(-(len(history) - 1 - place) / decay) if decay else 1.0
    return found


def popularity(dataset, text):
    counts = Counter(item for _, item in trained(dataset))
    return [[0, 0, *(counts[item] for item in range(2, NUM_ITEMS + 2))]] * USERS


def item_knn(dataset, text):
    users, similar = owners(dataset), {}
    for one, its in users.items():
        near = []
        for other, theirs in users.items():
            together = len(its & theirs)
            if other != one and together:
                near.append((-together / ((len(its) * len(theirs)) ** 0.5 + SETTINGS.knn_shrink), other))
        similar[one] = {other: -value for value, other in sorted(near)[: SETTINGS.knn_neighbours]}
    return [
        [sum(similar[own].get(item, 0.0) for own in weights_of(history, None)) for item in range(NUM_ITEMS + 2)]
        for history in histories_of(dataset)
    ]


def weighted_sums(dataset, weights, decay):
    """Sum over the history's items of their weight times their row."""
    return [
        sum((w * weights[item] for item, w in weights_of(history, decay).items()), np.zeros(NUM_ITEMS + 2))
        for history in histories_of(dataset)
    ]


def matrix_factorisation(dataset, text):
    _, _, directions = np.linalg.svd(matrix(dataset))
    kept = directions[: SETTINGS.mf_factors]
    return weighted_sums(dataset, kept.T @ kept, None)


def ease_weights(dataset):
    """Each item regressed on all others (ridge): what EASE's closed form solves for all at once."""
    owned = matrix(dataset)
    weights = np.zeros((NUM_ITEMS + 2, NUM_ITEMS + 2))
    for item in range(NUM_ITEMS + 2):
        others = [i for i in range(NUM_ITEMS + 2) if i != item]
        square = owned[:, others].T @ owned[:, others] + SETTINGS.ease_l2 * np.eye(len(others))
        weights[others, item] = np.linalg.solve(square, owned[:, others].T @ owned[:, item])
    return weights


def ease(dataset, text):
    return weighted_sums(dataset, ease_weights(dataset), None)


def ease_recency(dataset, text):
    return weighted_sums(dataset, ease_weights(dataset), SETTINGS.ease_decay)


def text_knn(dataset, text, decay=None):
    known = [item for item in range(2, NUM_ITEMS + 2) if text[item].any()]
    middle = sum(text[item].astype(float) for item in known) / len(known)
    unit = {item: (text[item] - middle) / np.linalg.norm(text[item] - middle) for item in known}
    rows = []
    for history in histories_of(dataset):
        taken = weights_of(history, decay).items()
        mean = sum((weight * unit[item] for item, weight in taken if item in unit), np.zeros(WIDTH))
        length = np.linalg.norm(mean)
        rows.append([unit[i] @ mean / length if i in unit and length else 0.0 for i in range(NUM_ITEMS + 2)])
    return rows


def text_knn_recency(dataset, text):
    return text_knn(dataset, text, SETTINGS.text_knn_decay)


PLAIN = (popularity, item_knn, matrix_factorisation, ease, ease_recency, text_knn, text_knn_recency)


def test_every_baseline_has_a_plain_program():
    # random has nothing to compare; own_frequent is compared by its order, below
    assert {program.__name__ for program in PLAIN} == set(BASELINES) - {"random", "own_frequent"}


@pytest.mark.parametrize("program", PLAIN, ids=lambda program: program.__name__)
def test_scores(program, dataset, text):
    queries = dataset.split.test
    scorer = BASELINES[program.__name__](dataset, SETTINGS, queries, 1, text)
    expected = np.array(program(dataset, text), float)[:, 2:]
    np.testing.assert_allclose(scorer(np.arange(USERS))[:, 2:], expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected, axis=1).max() > 0


def test_own_frequent_in_order(dataset):
    queries = dataset.split.test
    scorer = BASELINES["own_frequent"](dataset, SETTINGS, queries, 1)
    if scorer is None:
        assert not dataset.domain.repeat
        return
    top = top_items(scorer, dataset, queries, NUM_ITEMS)
    popular = Counter(item for _, item in trained(dataset))
    for row, history in zip(top, histories_of(dataset), strict=True):
        times, latest = Counter(item for item, _ in history), dict(history)

        def rank(item, times=times, latest=latest):
            return -times[item], -latest[item] if item in latest else 0, -popular[item], item

        assert row.tolist() == sorted(range(2, NUM_ITEMS + 2), key=rank)
