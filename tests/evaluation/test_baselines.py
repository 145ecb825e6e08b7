import logging

import numpy as np
import pytest
from scipy import sparse

from tfrec_llm.config import Evaluate
from tfrec_llm.data.incidence import ease_weights
from tfrec_llm.evaluation import BASELINES, judge, top_items
from tfrec_llm.evaluation.baselines.item_knn import item_similarity

SETTINGS = Evaluate(ease_l2=1.0, knn_shrink=0.0)
COLOURS = np.array([[0, 0], [0, 0], [1, 0.1], [1, 0], [0.1, 1], [0, 1], [0.5, 0.6]], np.float32)  # 2 like 3, 4 like 5


def build(name, dataset, seed, settings=SETTINGS):
    text = np.resize(COLOURS, (len(dataset.catalogue.item_ids), 2))
    return BASELINES[name](dataset, settings, dataset.split.test, seed, text)


def scores_of(name, dataset, settings=SETTINGS, seed=1):
    return build(name, dataset, seed, settings)(np.arange(len(dataset.split.test.user)))


@pytest.fixture(name="pairs")
def _pairs(make_dataset):
    """Items 2 and 3 go together, and so do 4 and 5; the last two users are asked for the other half of a pair."""
    histories = [[2, 3], [3, 2], [4, 5], [5, 4], [2], [4]]
    return make_dataset(histories, [[], [], [], [], [3], [5]], num_items=5)


@pytest.mark.parametrize("name", [name for name in BASELINES if name != "own_frequent"])
class TestEveryBaseline:
    def test_scores_fit_and_do_not_depend_on_the_batch(self, name, pairs):
        queries = pairs.split.test
        scorer = build(name, pairs, 3)
        together = scorer(np.arange(6))
        assert together.shape == (6, 7)
        np.testing.assert_allclose(scorer(np.array([5]))[0], together[5], rtol=1e-6)
        np.testing.assert_array_equal(top_items(scorer, pairs, queries, 3, 2), top_items(scorer, pairs, queries, 3, 6))

    def test_later_events_change_nothing(self, name, make_dataset):
        histories = [[2, 3], [3, 2, 4], [5, 4]]
        one = make_dataset(histories, [[4], [5], [2]], num_items=4)
        other = make_dataset(histories, [[5], [5], [5]], num_items=4)
        np.testing.assert_array_equal(scores_of(name, one), scores_of(name, other))

    def test_unknown_items_and_empty_histories_get_an_answer(self, name, make_dataset):
        dataset = make_dataset([[1, 2, 3], [], [1]], [[3], [2], [2]], num_items=3)
        queries = dataset.split.test
        top = top_items(build(name, dataset, 1), dataset, queries, 5)
        assert sorted(top[1]) == [0, 0, 2, 3, 4]


@pytest.mark.parametrize(
    "name", ["item_knn", "matrix_factorisation", "ease", "ease_recency", "text_knn", "text_knn_recency"]
)
def test_finds_the_other_half(name, pairs):
    queries = pairs.split.test
    top = top_items(build(name, pairs, 1), pairs, queries, 3)
    assert top[4:, 0].tolist() == [3, 5]
    assert judge(top, queries, 1, 3)["hr@1"][4:].tolist() == [1.0, 1.0]


def test_random_is_seeded_by_query(pairs):
    first, again, other = (scores_of("random", pairs, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    assert len(np.unique(first)) == first.size  # no two queries share their draws


def test_random_finds_its_share(make_dataset):
    dataset = make_dataset([[2]] * 2000, [[3]] * 2000, num_items=21)
    queries = dataset.split.test
    top = top_items(BASELINES["random"](dataset, SETTINGS, queries, 1), dataset, queries, 5)
    # 5 of 20 items that are left; standard error sqrt(.25 * .75 / 2000) = .0097
    assert judge(top, queries, 5, 5)["hr@5"].mean() == pytest.approx(0.25, abs=0.04)


def test_popularity_counts_training_events(make_dataset):
    dataset = make_dataset([[2, 3, 1], [3]], [[4], [4]], num_items=3)
    assert scores_of("popularity", dataset).tolist() == [[0, 0, 1, 2, 0]] * 2


def test_item_similarity_by_hand():
    # users own {2, 3}, {2, 3}, {2, 4}: 2 and 3 share two users, 2 / sqrt(3 * 2); 2 and 4 share one, 1 / sqrt(3 * 1)
    owned = sparse.csr_matrix(np.array([[0, 0, 1, 1, 0], [0, 0, 1, 1, 0], [0, 0, 1, 0, 1]], np.float32))
    expected = np.zeros((5, 5))
    expected[2, 3] = expected[3, 2] = 2 / 6**0.5
    expected[2, 4] = expected[4, 2] = 1 / 3**0.5
    np.testing.assert_allclose(item_similarity(owned, 10, 0.0).toarray(), expected, rtol=1e-6)
    # with shrinkage 1: 2 / (sqrt(6) + 1)
    assert item_similarity(owned, 10, 1.0)[2, 3] == pytest.approx(2 / (6**0.5 + 1))


def test_item_similarity_keeps_the_largest_neighbours_lower_index_first():
    owned = sparse.csr_matrix(np.array([[0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0]], np.float32))
    kept = item_similarity(owned, 2, 0.0).toarray()
    assert np.flatnonzero(kept[2]).tolist() == [3, 4]  # 3 is nearest, 4 and 5 are level
    assert np.flatnonzero(kept[4]).tolist() == [2, 5]  # 5 is nearest (1), 2 and 3 are level


def test_item_similarity_in_blocks_is_the_same(monkeypatch):
    owned = sparse.csr_matrix(np.random.default_rng(0).random((40, 30)) < 0.3, dtype=np.float32)
    whole = item_similarity(owned, 5, 1.0)
    monkeypatch.setattr("tfrec_llm.evaluation.baselines.item_knn.BLOCK_PRODUCTS", 50)
    np.testing.assert_array_equal(item_similarity(owned, 5, 1.0).toarray(), whole.toarray())


def test_ease_two_items_by_hand():
    # X = [[1, 1], [1, 0]], l2 = 1: X'X + I = [[3, 1], [1, 2]], P = [[2, -1], [-1, 3]] / 5
    # B_12 = -P_12 / P_22 = 1/3, B_21 = -P_21 / P_11 = 1/2
    weights = ease_weights(sparse.csr_matrix(np.array([[1, 1], [1, 0]], np.float32)), 1.0)
    np.testing.assert_allclose(weights, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)


def test_ease_equals_the_formula_in_float64(monkeypatch):
    monkeypatch.setattr("tfrec_llm.data.incidence.BLOCK_ROWS", 7)
    owned = (np.random.default_rng(0).random((60, 23)) < 0.3).astype(np.float32)
    inverse = np.linalg.inv(owned.T.astype(float) @ owned + 5 * np.eye(23))
    expected = np.eye(23) - inverse / inverse.diagonal()
    np.testing.assert_allclose(ease_weights(sparse.csr_matrix(owned), 5.0), expected, atol=1e-5)


def test_ease_without_penalty_says_what_to_do(pairs):
    with pytest.raises(ValueError, match=r"raise evaluate\.ease_l2"):
        BASELINES["ease"](pairs, Evaluate(ease_l2=0.0), pairs.split.test, 1)


def test_ease_weights_are_shared_while_in_use_and_then_dropped(pairs, monkeypatch):
    computed = []
    monkeypatch.setattr(
        "tfrec_llm.evaluation.baselines.ease.ease_weights",
        lambda owned, l2: computed.append(l2) or ease_weights(owned, l2),
    )
    scorer = BASELINES["ease"](pairs, SETTINGS, pairs.split.test, 1)
    scorer = BASELINES["ease_recency"](pairs, SETTINGS, pairs.split.test, 1)
    assert computed == [1.0]
    BASELINES["ease"](pairs, Evaluate(ease_l2=2.0), pairs.split.test, 1)
    assert computed == [1.0, 2.0]
    del scorer
    BASELINES["ease"](pairs, SETTINGS, pairs.split.test, 1)
    assert computed == [1.0, 2.0, 1.0]


def test_ease_recency_forgets(make_dataset):
    # 3 goes with 2, and 5 with 4; who saw 2 long ago and 4 just now gets 5 first, and plain EASE can't tell
    filler = [6, 7, 8, 9]
    dataset = make_dataset([[2, 3], [4, 5], [2, *filler, 4], [4, *filler, 2]], [[], [], [5], [3]], num_items=8)
    plain, recent = scores_of("ease", dataset), scores_of("ease_recency", dataset)
    assert plain[2, 5] == pytest.approx(plain[2, 3], rel=1e-5)
    assert recent[2, 5] > 2 * recent[2, 3]
    assert recent[3, 3] > 2 * recent[3, 5]


@pytest.mark.parametrize("name", ["ease", "ease_recency"])
def test_ease_is_absent_above_its_limit(name, pairs, caplog):
    with caplog.at_level(logging.INFO):
        assert BASELINES[name](pairs, Evaluate(ease_max_items=4), pairs.split.test, 1) is None
    assert "5 items, evaluate.ease_max_items = 4" in caplog.text


def test_matrix_factorisation_keeps_few_directions(make_dataset):
    # 4 users and 8 rows of items: a quarter of them is one, and at least two are kept
    dataset = make_dataset([[2, 3], [4, 5], [6, 7], [2, 4, 6]], [[], [], [], [5]], num_items=6)
    rank = np.linalg.matrix_rank(scores_of("matrix_factorisation", dataset), tol=1e-4)
    assert rank == 2
    seeds = [scores_of("matrix_factorisation", dataset, seed=seed) for seed in (1, 1)]
    np.testing.assert_array_equal(*seeds)


@pytest.mark.parametrize("histories", [[[2, 3]] * 5, [[]] * 5, [[2, 3, 4]]], ids=["all alike", "no events", "one user"])
@pytest.mark.filterwarnings("error")
def test_matrix_factorisation_of_next_to_nothing(make_dataset, histories):
    dataset = make_dataset(histories, [[4]] * len(histories), num_items=3, repeat=True)
    assert np.isfinite(scores_of("matrix_factorisation", dataset)).all()


def test_text_knn_recency_forgets(make_dataset):
    dataset = make_dataset([[2, 2, 3, 4]], [[5]], num_items=5)
    plain = scores_of("text_knn", dataset)[0]
    recent = scores_of("text_knn_recency", dataset, Evaluate(text_knn_decay=0.5))[0]
    assert plain[3] > plain[5]
    assert recent[5] > recent[3]


def test_text_knn_looks_past_what_all_texts_have_in_common(make_dataset):
    # all vectors are nearly alike; 2 and 3 differ from the others in the same way, and 4 lies in the middle of all
    text = np.array([[0, 0], [0, 0], [1, 0.1], [1, 0.2], [1, 0], [1, -0.3]], np.float32)
    dataset = make_dataset([[2]], [[3]], num_items=4)
    scores = {
        centre: BASELINES["text_knn"](dataset, Evaluate(text_knn_centre=centre), dataset.split.test, 1, text)([0])[0]
        for centre in (False, True)
    }
    assert scores[False][[4, 5]].min() > 0.9
    np.testing.assert_allclose(scores[True], [0, 0, 1, 1, 0, -1], atol=1e-5)


def test_text_knn_is_absent_without_text_and_refuses_vectors_of_another_catalogue(pairs, caplog):
    with caplog.at_level(logging.INFO):
        assert BASELINES["text_knn"](pairs, SETTINGS, pairs.split.test, 1, None) is None
    assert "run the text stage first" in caplog.text
    with pytest.raises(ValueError, match="each of 7 item indices, got 3"):
        BASELINES["text_knn"](pairs, SETTINGS, pairs.split.test, 1, np.ones((3, 2), np.float32))


def test_own_frequent_orders_by_count_then_time_then_popularity(make_dataset):
    times = [np.array([1, 1, 2, 3, 3, 9]), np.array([1, 1, 1, 1, 1])]
    # first user: 2 twice; 3 and 4 once at time 3, 4 more popular; 5 once at time 1; 6 and 7 never, 7 more popular
    dataset = make_dataset([[2, 5, 2, 3, 4], [4, 4, 7, 4]], [[6], [4]], num_items=6, repeat=True, times=times)
    queries = dataset.split.test
    top = top_items(BASELINES["own_frequent"](dataset, SETTINGS, queries, 1), dataset, queries, 6)
    assert top[0].tolist() == [2, 4, 3, 5, 7, 6]
    assert top[1].tolist() == [4, 7, 2, 3, 5, 6]


def test_own_frequent_is_absent_without_repeats(pairs, caplog):
    with caplog.at_level(logging.INFO):
        assert BASELINES["own_frequent"](pairs, SETTINGS, pairs.split.test, 1) is None
    assert "own_frequent is absent" in caplog.text
