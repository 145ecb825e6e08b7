"""Weights of a new policy on a log: by hand, and what is refused."""

import numpy as np
import pytest

from tfrec_llm.evaluation import policies
from tfrec_llm.types import SlateFeedback


def log_of(slate, rewards, propensities, items=3) -> SlateFeedback:
    rounds = len(slate)
    parts = (np.asarray(part) for part in (slate, rewards, propensities))
    return SlateFeedback(np.zeros((rounds, 1)), np.zeros((rounds, items, 1)), *parts)


def two_slots() -> tuple[SlateFeedback, np.ndarray]:
    """Items 0 then 1 were shown by a uniform policy; the new one likes item 0, then 1, then 2."""
    feedback = log_of([[0, 1]] * 4, [[1.0, 0.0]] * 4, [[1 / 3, 1 / 2]] * 4)
    return feedback, np.tile([[0.6, 0.3, 0.1], [0.0, 0.75, 0.25]], (4, 1, 1))


def test_independent_slots_by_hand():
    feedback, policy = two_slots()
    given = policies.weigh(feedback, policy, np.tile([0.5, 0.2, 0.0], (4, 1)))
    # 0.6 / (1/3) = 1.8 and 0.75 / (1/2) = 1.5
    np.testing.assert_allclose(given.weight[0], [1.8, 1.5])
    np.testing.assert_allclose(given.predicted[0], [0.5, 0.2])
    # 0.6 x 0.5 + 0.3 x 0.2 = 0.36 and 0.75 x 0.2 = 0.15
    np.testing.assert_allclose(given.direct[0], [0.36, 0.15])


def test_interaction_multiplies_the_slots_above():
    feedback, policy = two_slots()
    given = policies.weigh(feedback, policy, np.tile([0.5, 0.2, 0.0], (4, 1)), slots="interaction")
    np.testing.assert_allclose(given.weight[0], [1.8, 2.7])
    np.testing.assert_allclose(given.direct[0], [0.36, 1.8 * 0.15])


def test_an_empty_slot_adds_nothing_and_is_not_checked():
    feedback, policy = two_slots()
    feedback = feedback._replace(
        slate=np.array([[0, -1]] * 4), propensities=np.array([[1 / 3, 0.0]] * 4), rewards=np.array([[1.0, np.nan]] * 4)
    )
    policy[:, 1] = 0
    given = policies.weigh(feedback, policy, np.ones((4, 3)))
    np.testing.assert_allclose(given.weight[:, 1], 1)
    assert not given.reward[:, 1].any()
    assert not given.direct[:, 1].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": [[1.0], [np.nan], [0.0]]}, "finite rewards.*got nan in decision 1.*1 such"),
        ({"rewards": [[np.inf], [0.0], [0.0]]}, "finite rewards.*got inf in decision 0"),
        ({"propensities": [[0.5], [0.0], [0.5]]}, "propensities above 0.*got 0.0 in decision 1"),
        ({"propensities": [[0.5], [0.5], [1.5]]}, "propensities.*at most 1, got 1.5 in decision 2"),
        ({"propensities": [[0.5], [np.nan], [0.5]]}, "propensities.*got nan in decision 1"),
        ({"slate": [[0], [1], [3]]}, "positions from 0 to 2.*got 3 in decision 2"),
        ({"slate": [[0], [-2], [1]]}, "positions.*got -2 in decision 1"),
    ],
)
def test_bad_logs_are_refused_by_name(change, message):
    feedback = log_of([[0], [1], [2]], [[1.0], [0.0], [0.0]], [[0.5], [0.5], [0.5]])
    feedback = feedback._replace(**{name: np.array(value) for name, value in change.items()})
    with pytest.raises(ValueError, match=message):
        policies.weigh(feedback, np.full((3, 1, 3), 1 / 3))


def test_rewards_outside_a_declared_range_are_refused():
    feedback = log_of([[0]], [[2.0]], [[0.5]])
    with pytest.raises(ValueError, match=r"finite rewards from 0 to 1, got 2.0 in decision 0"):
        policies.check_log(feedback, np.full((1, 1, 3), 1 / 3), 0, 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([0.5, 0.4, 0.3], "sum to one, got 1.2"),
        ([1.2, -0.2, 0.0], "without negative probabilities, got -0.2"),
        ([np.nan, 0.5, 0.5], "sum to one, got nan"),
    ],
)
def test_a_policy_that_is_no_distribution_is_refused(row, message):
    feedback = log_of([[0]] * 2, [[1.0]] * 2, [[0.5]] * 2)
    with pytest.raises(ValueError, match=message):
        policies.weigh(feedback, np.array([[[0.2, 0.3, 0.5]], [row]]))


def test_an_item_twice_in_a_slate_and_shapes_that_do_not_fit_are_refused():
    feedback, policy = two_slots()
    with pytest.raises(ValueError, match="an item once in a slate, got 0 in decision 0"):
        policies.weigh(feedback._replace(slate=np.zeros((4, 2), int)), policy)
    with pytest.raises(ValueError, match=r"policy \[R, n, K\]"):
        policies.weigh(feedback, policy[:3])
    with pytest.raises(ValueError, match=r"policy \[R, n, K\], none empty"):
        policies.weigh(feedback, policy[..., :0])
    with pytest.raises(ValueError, match=r"predictions \[R, K\]"):
        policies.weigh(feedback, policy, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="finite predicted"):
        policies.weigh(feedback, policy, np.full((4, 3), np.inf))
    with pytest.raises(ValueError, match="independent or interaction"):
        policies.weigh(feedback, policy, slots="cascade")


def test_a_log_that_always_showed_one_item_says_nothing_of_another():
    feedback = log_of([[0]] * 1000, [[1.0]] * 1000, [[1.0]] * 1000)
    with pytest.raises(policies.NoOverlapError, match="80% of what the policy shows there was never tried"):
        policies.weigh(feedback, np.tile([0.2, 0.5, 0.3], (1000, 1, 1)))
    same = np.tile([1.0, 0.0, 0.0], (1000, 1, 1))
    assert policies.weigh(feedback, same).weight.mean() == 1


def test_effective_sample_and_warnings_by_hand():
    assert policies.effective_sample(np.ones((50, 1))) == 50
    assert policies.effective_sample(np.array([[2.0], [0.0], [0.0], [0.0]])) == 1
    # (3 + 97 x 1)^2 / (9 + 97): the slot with less counts
    weight = np.ones((98, 2))
    weight[0, 1] = 3
    assert policies.effective_sample(weight) == pytest.approx(100**2 / 106)
    heavy = np.ones((1000, 1))
    heavy[0] = 200
    assert [warning.split()[0] for warning in policies.warnings_of(heavy)] == ["only", "one"]
    assert policies.warnings_of(np.ones((1000, 1))) == ()


def test_a_policy_over_other_candidates_is_refused():
    feedback, _ = two_slots()
    with pytest.raises(ValueError, match="over the log's 3 candidates, got one over 4"):
        policies.weigh(feedback, np.full((4, 2, 4), 0.25))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.full((4, 2), np.nan)}, "expected finite rewards"),
        ({"slate": np.tile([[0, 3]], (4, 1))}, "expected positions from 0 to 2"),
        ({"propensities": np.zeros((4, 2))}, "expected propensities above 0"),
    ],
)
def test_a_reward_model_is_not_fitted_on_a_bad_log(change, message):
    feedback, _ = two_slots()
    with pytest.raises(ValueError, match=message):
        policies.cross_fitted(feedback._replace(**change))
