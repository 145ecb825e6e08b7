"""The estimators: by hand, contracts over the dict, and whether their intervals cover a known truth."""

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from pipelines.off_policy.coverage import CoverageConfig, study
from tfrec_llm.config import Component, ConfigError
from tfrec_llm.evaluation import policies
from tfrec_llm.evaluation.policies.reward_models import PENALTIES, ridge
from tfrec_llm.types import SlateFeedback


def uniform_log(rounds=4000, items=4, slots=2, seed=0) -> tuple[SlateFeedback, np.ndarray]:
    """A uniform policy's slates; item i is taken with probability i / 10 in every slot. The new one likes the last."""
    generator = np.random.default_rng(seed)
    slate = generator.permuted(np.tile(np.arange(items), (rounds, 1)), axis=1)[:, :slots]
    rewards = (generator.random((rounds, slots)) < slate / 10).astype(float)
    propensities = np.tile(1 / (items - np.arange(slots)), (rounds, 1))
    policy = np.empty((rounds, slots, items))
    left = np.ones((rounds, items), bool)
    for slot in range(slots):
        weights = left * np.arange(1, items + 1)
        policy[:, slot] = weights / weights.sum(1, keepdims=True)
        left[np.arange(rounds), slate[:, slot]] = False
    features = np.tile(np.eye(items), (rounds, 1, 1))
    return SlateFeedback(np.ones((rounds, 1)), features, slate, rewards, propensities), policy


def value_of(items=4, slots=2) -> float:
    """What the new policy is worth in truth, over every slate that it can show."""

    def worth(left: tuple[int, ...], slots: int) -> float:
        weights = np.array(left) + 1
        chances = weights / weights.sum()
        rest = [tuple(other for other in left if other != item) for item in left]
        return sum(
            chance * (item / 10 + (worth(others, slots - 1) if slots > 1 else 0))
            for chance, item, others in zip(chances, left, rest, strict=True)
        )

    return worth(tuple(range(items)), slots)


def test_by_hand():
    one = np.array([[1.0], [0.0]])
    given = policies.Weighted(np.array([[2.0], [0.5]]), one, np.array([[0.6], [0.2]]), np.array([[0.4], [0.3]]))
    expected = {
        "ipw": (2 * 1 + 0.5 * 0) / 2,
        "snipw": 2 / 2.5,
        "dm": 0.35,
        "dr": 0.35 + (2 * 0.4 + 0.5 * -0.2) / 2,
        "sndr": 0.35 + (2 * 0.4 + 0.5 * -0.2) / 2.5,
    }
    for name, value in expected.items():
        estimator = policies.build_estimator(Component(name))
        assert estimator.value(estimator.terms(given).mean(0)) == pytest.approx(value), name
    switch = policies.build_estimator(Component("switch_dr", {"threshold": 1.0}))  # the first weight is above it
    assert switch.value(switch.terms(given).mean(0)) == pytest.approx(0.35 + 0.5 * -0.2 / 2)
    shrinkage = policies.build_estimator(Component("shrinkage_dr", {"shrinkage": 2.0}))
    # 2 x 2 / (4 + 2) = 2/3 and 2 x 0.5 / (0.25 + 2) = 4/9
    expected = 0.35 + (2 / 3 * 0.4 + 4 / 9 * -0.2) / 2
    assert shrinkage.value(shrinkage.terms(given).mean(0)) == pytest.approx(expected)


@pytest.mark.parametrize("name", policies.ESTIMATORS)
@pytest.mark.parametrize("slots", ["independent", "interaction"])
def test_every_estimator_keeps_the_contract(name, slots):
    feedback, _ = uniform_log(rounds=500)
    same = np.zeros((500, 2, 4))
    same[:, 0] = 1 / 4
    rows = np.arange(500)
    same[:, 1] = 1 / 3
    same[rows, 1, feedback.slate[:, 0]] = 0
    predicted = policies.cross_fitted(feedback)
    found = policies.estimate_all(feedback, same, predicted, [Component(name, {"slots": slots})], seed=3)[name]
    logged = feedback.rewards.sum(1).mean()
    assert found.value == pytest.approx(logged, abs=0.02)  # the log's own policy is worth what it brought
    assert found.ci95[0] < found.value < found.ci95[1]
    assert found.effective_sample == pytest.approx(500)
    again = policies.estimate_all(feedback, same, predicted, [Component(name, {"slots": slots})], seed=3)[name]
    assert again == found


@pytest.mark.parametrize("slots", ["independent", "interaction"])
def test_slates_of_another_policy_are_worth_what_they_are_worth(slots):
    feedback, policy = uniform_log(rounds=20_000)
    predicted = policies.cross_fitted(feedback)
    names = ["ipw", "snipw", "dr", "sndr"]
    components = [Component(name, {"slots": slots}) for name in names]
    truth = value_of()
    for name, found in policies.estimate_all(feedback, policy, predicted, components).items():
        # seen apart, the second slot keeps the logged first items: 3 % too much at most here
        slack = 0.03 * truth if slots == "independent" else 0
        low, high = found.ci95
        assert low - slack <= truth <= high + slack, name


def test_heavy_weights_are_cut_and_harmless_ones_kept():
    """Ten decisions in a thousand have a weight of 100: without a bias to show for it, they only make noise."""
    generator = np.random.default_rng(0)
    weight, reward = np.ones((1000, 1)), (generator.random((1000, 1)) < 0.3).astype(float)
    predicted = np.full((1000, 1), 0.3)
    light = policies.Weighted(weight, reward, predicted, predicted)
    heavy_weight, heavy_reward = weight.copy(), reward.copy()
    heavy_weight[:10], heavy_reward[:10] = 100.0, [[1.0]] * 3 + [[0.0]] * 7
    heavy = policies.Weighted(heavy_weight, heavy_reward, predicted, predicted)
    robust = policies.build_estimator(Component("dr"))
    for name in ("switch_dr", "shrinkage_dr"):
        estimator = policies.build_estimator(Component(name))
        assert estimator.terms(heavy).var() < 0.2 * robust.terms(heavy).var(), name
        assert estimator.terms(heavy).mean() == pytest.approx(0.3, abs=0.03), name
        assert estimator.terms(light).mean() == pytest.approx(robust.terms(light).mean(), abs=0.015), name


def test_without_predictions_only_weighting_is_asked():
    feedback, policy = uniform_log(rounds=200)
    assert set(policies.estimate_all(feedback, policy)) == {"ipw", "snipw"}


def test_one_decision_gives_no_interval():
    feedback, policy = uniform_log(rounds=1)
    assert policies.estimate_all(feedback, policy)["ipw"].ci95 is None


def test_unknown_names_and_settings_are_refused():
    with pytest.raises(ConfigError, match=r"expected one of .*ipw"):
        policies.build_estimator(Component("ips"))
    with pytest.raises(ConfigError, match="threshold"):
        policies.build_estimator(Component("switch_dr", {"threshold": -1.0}))
    with pytest.raises(ConfigError, match="slots"):
        policies.build_estimator(Component("dr", {"slots": "cascade"}))


def test_intervals_cover_the_truth():
    """Two hundred logs: a share of .95 is uncertain by .03; the suite ope_coverage asks two thousand."""
    metrics = study(CoverageConfig(logs=200, bootstrap=500))["metrics"]
    for name in ("ipw", "snipw", "dr", "sndr"):
        assert 0.9 <= metrics[f"ope.synthetic.{name}.coverage"]["value"] <= 0.99, name
    assert metrics["ope.synthetic.log.least_effective_sample"]["value"] > 200
    assert abs(metrics["ope.synthetic.dr.bias"]["value"]) < abs(metrics["ope.synthetic.dm.bias"]["value"])


@pytest.mark.parametrize("name", policies.REWARD_MODELS)
def test_reward_models_learn_what_items_are_worth_and_not_the_decisions_own_reward(name):
    feedback, _ = uniform_log(rounds=3000)
    with threadpool_limits(1):
        predicted = policies.cross_fitted(feedback, Component(name))
    assert predicted.shape == (3000, 2, 4)
    np.testing.assert_allclose(predicted.mean((0, 1)), np.arange(4) / 10, atol=0.03)
    flipped = feedback._replace(rewards=feedback.rewards.copy())
    flipped.rewards[0] = 1 - flipped.rewards[0]
    with threadpool_limits(1):
        again = policies.cross_fitted(flipped, Component(name))
    np.testing.assert_allclose(again[0], predicted[0])


@pytest.mark.parametrize(("rows", "columns"), [(40, 5), (30, 60)])
def test_the_ridge_is_that_of_scikit_learn(rows, columns):
    generator = np.random.default_rng(rows)
    x = generator.normal(1, 2, (rows, columns))
    y = x[:, :3] @ [1, 0.5, -0.2] + generator.normal(0.7, 2, rows)
    weights, intercept = ridge(x, y)
    theirs = RidgeCV(PENALTIES).fit(x, y)
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-10)
    assert intercept == pytest.approx(theirs.intercept_, abs=1e-10)


def test_a_reward_model_needs_two_decisions():
    feedback, _ = uniform_log(rounds=1)
    with pytest.raises(ValueError, match="two decisions"):
        policies.cross_fitted(feedback)
