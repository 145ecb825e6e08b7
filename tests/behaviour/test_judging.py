"""Judging by hand: who is left out, what counts."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.worlds import dataset_of
from tfrec_llm.behaviour import judging
from tfrec_llm.behaviour.judging import judge, ranker
from tfrec_llm.types import BehaviourSignals

DATA = dataset_of(np.array([[2, 3, 4, 5, 6], [6, 5, 4, 3, 2]]), num_items=5)  # test: 6 and 2, validation: 5 and 3


class Fixed:
    """Likes items with high numbers, whatever the history."""

    def signals(self, history, request_time):
        return BehaviourSignals(tf.ones((tf.shape(history.item)[0], 1)), None, None, None)

    def item_table(self):
        return tf.range(7.0)[:, None]


def figures(dataset, queries="test"):
    asked = getattr(dataset.split, queries)
    return judge(ranker(Fixed()), dataset, asked, np.arange(2), 16)


def test_everything_ranked_where_items_repeat():
    got = figures(DATA)  # ranks 1 (item 6) and 5 (item 2)
    assert got == pytest.approx({"ndcg@10": (1 + 1 / np.log2(6)) / 2, "hr@10": 1.0, "recall@100": 1.0})


def test_seen_items_are_left_out_where_they_do_not_repeat():
    once = dataclasses.replace(DATA, domain=dataclasses.replace(DATA.domain, repeat=False))
    assert figures(once)["ndcg@10"] == 1  # nothing else is left
    # validation: 5 among {5, 6} is second, 3 among {2, 3} first
    assert figures(once, "validation")["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_a_large_catalogue_is_asked_in_smaller_batches(monkeypatch):
    whole = figures(DATA)
    monkeypatch.setattr(judging, "CELLS", 8)  # one query of 7 items at once
    assert figures(DATA) == whole


def test_no_query_is_an_error():
    with pytest.raises(ValueError, match="expected validation queries of half A, got none"):
        judge(ranker(Fixed()), DATA, DATA.split.test, np.zeros(0, int), 16)
