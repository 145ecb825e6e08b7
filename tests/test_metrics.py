from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tfrec_llm import metrics

RANKING = (metrics.hit_rate, metrics.recall, metrics.mrr, metrics.ndcg)


def ask(metric, top, relevant, k):
    """One value per query from lists of lists."""
    offsets = np.cumsum([0, *(len(r) for r in relevant)])
    return metric(np.array(top), np.concatenate([np.array(r, int) for r in relevant]), offsets, k)


@pytest.mark.parametrize("metric", RANKING)
class TestEveryRankingMetric:
    def test_perfect(self, metric):
        assert ask(metric, [[2, 3], [4, 5]], [[2, 3], [5, 4]], 2).tolist() == [1.0, 1.0]

    def test_no_match(self, metric):
        assert ask(metric, [[2, 3, 4]], [[5]], 3).tolist() == [0.0]

    def test_empty(self, metric):
        assert ask(metric, [[2, 3], [2, 3]], [[], [2]], 2).tolist() == [0.0, 1.0]

    def test_no_queries(self, metric):
        assert metric(np.zeros((0, 5), int), np.zeros(0, int), np.zeros(1, int), 5).shape == (0,)

    def test_padding_is_never_right(self, metric):
        assert ask(metric, [[0, 0]], [[0]], 2).tolist() == [0.0]

    def test_below_the_cut(self, metric):
        assert ask(metric, [[2, 3, 4]], [[4]], 2).tolist() == [0.0]

    def test_wrong_shapes(self, metric):
        with pytest.raises(ValueError, match="expected top"):
            metric(np.array([[2, 3]]), np.array([2, 3]), np.array([0, 1]), 2)
        with pytest.raises(ValueError, match="expected top"):
            metric(np.array([2, 3]), np.array([2]), np.array([0, 1]), 2)


def test_hit_rate_of_several():
    # first query: 3 of its two is there; second: neither; the batch stays in order
    assert ask(metrics.hit_rate, [[2, 3], [2, 3]], [[3, 9], [8, 9]], 2).tolist() == [1.0, 0.0]


def test_recall_counts_against_all_relevant():
    # 2 of 4 relevant items are among the first three
    assert ask(metrics.recall, [[2, 7, 3]], [[2, 3, 4, 5]], 3).tolist() == [0.5]


def test_mrr_takes_the_first_hit():
    # hits at ranks 3 and 4 -> 1/3
    assert ask(metrics.mrr, [[9, 8, 2, 3]], [[2, 3]], 4) == pytest.approx([1 / 3])


def test_ndcg_second_place():
    # one relevant item at rank 2: (1/log2 3) / (1/log2 2) = 0.63093
    assert ask(metrics.ndcg, [[9, 2, 8]], [[2]], 3) == pytest.approx([0.6309297536])


def test_ndcg_ideal_is_cut_at_k():
    # 3 relevant, k = 2, both places right: 1, though one of three is missing
    assert ask(metrics.ndcg, [[2, 3]], [[2, 3, 4]], 2) == pytest.approx([1.0])


def test_ndcg_two_of_three():
    # gains at ranks 1 and 3: 1 + 1/2 = 1.5; ideal 1 + 1/log2(3) + 1/2 = 2.1309298
    assert ask(metrics.ndcg, [[2, 9, 3]], [[2, 3, 4]], 3) == pytest.approx([1.5 / 2.1309297536])


def test_list_shorter_than_k():
    assert ask(metrics.ndcg, [[2]], [[2]], 10) == pytest.approx([1.0])
    assert ask(metrics.recall, [[2]], [[2, 3]], 10) == pytest.approx([0.5])


def test_repeated_answer_counts_once():
    assert ask(metrics.recall, [[2, 2]], [[2, 3]], 2).tolist() == [0.5]
    assert ask(metrics.ndcg, [[2, 2]], [[2]], 2).tolist() == [1.0]


def test_repeated_relevant_counts_once():
    assert ask(metrics.recall, [[2, 4]], [[2, 2, 2]], 2).tolist() == [1.0]


def test_coverage_counts_items_once_and_no_padding():
    # items 2, 3, 4 of 6; 0 is padding and 1 unknown
    assert metrics.coverage(np.array([[2, 3, 0], [4, 2, 1]]), 6) == 0.5
    assert metrics.coverage(np.zeros((0, 3), int), 6) == 0.0


def test_gini_by_hand():
    # shown 3, 1, 0, 0 times, ascending 0 0 1 3: (-3*0 - 1*0 + 1*1 + 3*3) / (4 * 4) = 10 / 16
    assert metrics.gini(np.array([[2, 3], [2, 0], [2, 1]]), 4) == 0.625
    assert metrics.gini(np.array([[2, 3], [4, 5]]), 4) == 0.0
    assert metrics.gini(np.array([[2], [2]]), 4) == 0.75  # one item is all that is shown: 1 - 1/4
    assert np.isnan(metrics.gini(np.zeros((2, 3), int), 4))


def test_novelty_in_bits():
    # 16 events: item 2 has 8 of them (1 bit), 3 and 4 have 4 each (2 bits), 5 has none and counts as 1 of 16 (4 bits)
    counts = np.array([0, 0, 8, 4, 4, 0])
    found = metrics.novelty(np.array([[2, 3, 5], [2, 0, 0], [5, 1, 2], [0, 0, 0]]), counts, 2)
    np.testing.assert_array_equal(found, [1.5, 1.0, 4.0, np.nan])


def test_popularity_share_of_what_is_shown():
    popular = np.array([False, False, True, False, True])
    found = metrics.popularity_share(np.array([[2, 3, 4], [3, 2, 4], [2, 0, 0], [0, 0, 0]]), popular, 2)
    np.testing.assert_array_equal(found, [0.5, 0.5, 1.0, np.nan])


@pytest.mark.parametrize("form", [np.array, sparse.csr_matrix])
def test_diversity_by_hand(form):
    # 2 and 3 are orthogonal, 4 lies between them (cosine 1/sqrt 2 with either), 5 is 2 reversed, 6 has no vector
    vectors = form(np.array([[9, 9], [9, 9], [1, 0], [0, 3], [2, 2], [-4, 0], [0, 0]], np.float32))
    top = np.array([[2, 3, 4], [2, 2, 2], [2, 5, 0], [2, 1, 0], [6, 2, 3], [0, 0, 0]])
    between = (1 + 2 * (1 - 0.5**0.5)) / 3
    np.testing.assert_allclose(metrics.diversity(top, vectors, 3), [between, 0, 2, np.nan, 1, np.nan], atol=1e-6)
    assert metrics.diversity(top, vectors, 2)[0] == pytest.approx(1.0)  # below the cut nothing counts
    assert metrics.diversity(np.zeros((0, 5), int), vectors, 3).shape == (0,)


def test_diversity_equals_the_mean_over_pairs(monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_LISTS", 3)
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(32, 5)).astype(np.float32)
    top = np.stack([generator.permutation(30)[:6] + 2 for _ in range(10)])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [[1 - unit[a] @ unit[b] for a, b in combinations(row[:4], 2)] for row in top]
    np.testing.assert_allclose(metrics.diversity(top, vectors, 4), np.mean(pairs, axis=1), atol=1e-5)


def test_accuracy_three_of_four():
    assert metrics.accuracy(np.array([0, 1, 2, 1]), np.array([0, 1, 2, 2])) == 0.75


def test_macro_f1_weighs_classes_equally():
    # class 0: TP 3, FP 1, FN 0 -> 6/7; class 1: TP 0, FN 1 -> 0; mean 3/7
    assert metrics.macro_f1(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])) == pytest.approx(3 / 7)


def test_macro_f1_ignores_classes_that_never_occur():
    labels = np.array([[True, False, False], [True, False, False]])
    assert metrics.macro_f1(labels, labels) == 1.0
    assert metrics.macro_f1(labels & False, labels & False) == 0.0


def test_micro_f1_multi_label():
    labels = np.array([[1, 1, 0], [0, 1, 0]], bool)
    predictions = np.array([[1, 0, 0], [0, 1, 1]], bool)
    # TP 2, FP 1, FN 1 -> 4 / 6
    assert metrics.micro_f1(labels, predictions) == pytest.approx(2 / 3)


def test_micro_f1_of_single_labels_is_accuracy():
    labels, predictions = np.array([0, 1, 2, 1]), np.array([0, 1, 2, 2])
    assert metrics.micro_f1(labels, predictions) == metrics.accuracy(labels, predictions) == 0.75


def test_f1_nothing_to_find():
    nothing = np.zeros((3, 2), bool)
    assert metrics.micro_f1(nothing, nothing) == 0.0


def test_calibration_perfect():
    # half of the rows at 0.5 come true
    assert metrics.expected_calibration_error(np.array([1, 0]), np.array([0.5, 0.5])) == 0.0


def test_calibration_overconfident():
    # three rows at 0.9, one right: |1/3 - 0.9| = 0.5667; one row at 0.1, wrong: 0.1; (3 * 0.5667 + 0.1) / 4 = 0.45
    correct, confidence = np.array([1, 0, 0, 0]), np.array([0.9, 0.9, 0.9, 0.1])
    assert metrics.expected_calibration_error(correct, confidence, bins=10) == pytest.approx(0.45)


def test_calibration_of_certainty():
    assert metrics.expected_calibration_error(np.array([True, True]), np.array([1.0, 1.0])) == 0.0


def test_calibration_refuses_logits():
    with pytest.raises(ValueError, match="not logits"):
        metrics.expected_calibration_error(np.array([1]), np.array([2.5]))


def test_auroc_perfect_reversed_and_constant():
    labels = np.array([0, 0, 1, 1])
    assert metrics.auroc(labels, np.array([1, 2, 3, 4])) == 1.0
    assert metrics.auroc(labels, np.array([4, 3, 2, 1])) == 0.0
    assert metrics.auroc(labels, np.ones(4)) == 0.5


def test_auroc_pairs():
    # positives .8 and .4 against negatives .6 and .4: won, won, lost, tied -> 2.5 of 4
    assert metrics.auroc(np.array([1, 1, 0, 0]), np.array([0.8, 0.4, 0.6, 0.4])) == 0.625


def test_auroc_one_class():
    with pytest.raises(ValueError, match="leave it out"):
        metrics.auroc(np.array([1, 1]), np.array([0.1, 0.2]))


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.macro_f1, metrics.micro_f1, metrics.auroc])
def test_no_rows_and_unequal_rows(metric):
    with pytest.raises(ValueError, match="at least one row"):
        metric(np.zeros(0, int), np.zeros(0, int))
    with pytest.raises(ValueError, match="one shape"):
        metric(np.zeros(3, int), np.zeros(2, int))


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_ranking_metrics_hold_together(seed):
    generator = np.random.default_rng(seed)
    queries, k = 5, int(generator.integers(1, 8))
    top = np.stack([generator.permutation(12)[:8] for _ in range(queries)])
    offsets = np.concatenate([[0], np.cumsum(generator.integers(1, 6, queries))])
    relevant = generator.integers(2, 12, offsets[-1])
    values = {metric.__name__: metric(top, relevant, offsets, k) for metric in RANKING}
    for value in values.values():
        assert ((value >= 0) & (value <= 1)).all()
        assert ((value > 0) == (values["hit_rate"] == 1)).all()  # all four see the same hits
    assert (values["recall"] <= metrics.recall(top, relevant, offsets, k + 1)).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=30))
def test_auroc_equals_the_share_of_won_pairs(rows):
    labels, scores = (np.array(column) for column in zip(*rows, strict=True))
    positive, negative = scores[labels], scores[~labels]
    if len(positive) and len(negative):
        won = positive[:, None] > negative
        tied = positive[:, None] == negative
        assert metrics.auroc(labels, scores) == pytest.approx((won + tied / 2).mean())
