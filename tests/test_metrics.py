import numpy as np
import pytest

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
