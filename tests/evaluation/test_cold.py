"""Cold start's figures by hand: ranked among themselves, share of lists."""

import dataclasses

import numpy as np

from tfrec_llm.config import Data, Evaluate
from tfrec_llm.data import load_dataset
from tfrec_llm.evaluation.baselines import BASELINES as ALL
from tfrec_llm.evaluation.cold import BASELINES, among, cold_figures, shares
from tfrec_llm.evaluation.protocol import top_items

SETTINGS = Evaluate(split="test", bootstrap=20)
DATASET = load_dataset(
    Data(source="synthetic", synthetic_users=60, synthetic_items=40, synthetic_events=12, held_out_items=0.3), 1
)
QUERIES = DATASET.split.cold.test


def oracle(rows):
    """Every other item is liked better, but among the held-out ones the answer is first."""
    scores = np.where(DATASET.split.cold.items, 0.0, 9.0)[None].repeat(len(rows), 0)
    scores[np.arange(len(rows)), QUERIES.relevant[rows]] = 1.0
    return scores


def test_held_out_items_are_ranked_among_themselves():
    found = cold_figures({"oracle": oracle}, DATASET, QUERIES, SETTINGS, 1)
    assert found["cold.oracle.ndcg@10"]["value"] == 1.0
    assert found["cold.oracle.ndcg@10"]["n"] == len(QUERIES.user)
    top = top_items(among(oracle, DATASET.split.cold.items), DATASET, QUERIES, 100)
    assert DATASET.split.cold.items[top[top > 0]].all()
    had = [set(DATASET.interactions.item[b:e]) for b, e in zip(QUERIES.begin, QUERIES.end, strict=True)]
    if not DATASET.domain.repeat:
        assert not any(own & set(row) for own, row in zip(had, top, strict=True))


def test_share_of_lists_by_hand():
    held, other = np.flatnonzero(DATASET.split.cold.items), np.flatnonzero(~DATASET.split.cold.items)[2:]
    tops = {"system": np.array([[held[0], other[0], other[1], 0], [other[0], 0, 0, 0]]), "behaviour": held[None, :2]}
    found = shares(tops, DATASET, dataclasses.replace(SETTINGS, recall_at=4), 1)
    np.testing.assert_allclose(found["cold.share@4"]["value"], (1 / 3 + 0) / 2)
    assert found["cold.behaviour.share@4"]["value"] == 1


def test_the_baselines_exist():
    assert set(BASELINES) <= set(ALL)
