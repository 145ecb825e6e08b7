"""The gate: what it ships, what it refuses and why."""

import numpy as np
import pytest

from pipelines.off_policy import planted
from pipelines.off_policy.world import true_value
from tfrec_llm.config import Component, ConfigError, Gate
from tfrec_llm.evaluation import policies


@pytest.fixture(scope="module")
def case() -> planted.Case:
    return planted.draw_case(4000, seed=5)


def decide(case: planted.Case, policy: np.ndarray, **settings) -> policies.Verdict:
    kind, harms = settings.pop("kind", "routine"), settings.pop("harms", None)
    both = case.incumbent[:, None], policy[:, None]
    return policies.decide(case.feedback, *both, Gate(**settings), kind, harms)


def test_the_same_policy_is_routine_but_no_change(case):
    verdict = decide(case, case.incumbent)
    assert verdict.ships
    assert verdict.difference == 0
    assert verdict.incumbent == pytest.approx(verdict.candidate)
    assert verdict.effective_sample == pytest.approx(4000)
    changed = decide(case, case.incumbent, kind="change")
    assert not changed.ships
    assert "expected the lower bound of the gain above 0 for a change" in changed.reasons[0]


def test_a_better_policy_ships_either_way_and_the_gain_is_about_right(case):
    policy = planted.better(case, 0.25)
    gain = true_value(case.shop, case.context, policy) - true_value(case.shop, case.context, case.incumbent)
    for kind in ("routine", "change"):
        verdict = decide(case, policy, kind=kind)
        assert verdict.ships, verdict
        assert verdict.ci95[0] <= gain <= verdict.ci95[1]
        assert verdict.reasons[0].startswith(f"{kind}: gain")


def test_few_effective_decisions_are_not_enough_evidence(case):
    verdict = decide(case, planted.better(case, 0.25), min_effective_sample=3900.0)
    assert not verdict.ships
    assert verdict.reasons[0].startswith("not enough evidence: expected 3900 effective decisions, got")


def test_a_growing_harm_refuses_and_is_named():
    case, policy = planted.regretted(planted.draw_case(4000, seed=3))
    assert true_value(case.shop, case.context, policy) > true_value(case.shop, case.context, case.incumbent)
    assert decide(case, policy).ships
    verdict = decide(case, policy, harms={"reports": case.reports})
    assert not verdict.ships
    assert verdict.reasons[0].startswith("reports worsens")


def test_what_is_wrong_with_the_new_policy_is_a_reason(case):
    broken = case.incumbent.copy()
    broken[7, 2] = np.nan
    verdict = decide(case, broken)
    assert not verdict.ships
    assert "can't be judged" in verdict.reasons[0]
    assert "decision 7" in verdict.reasons[0]
    assert verdict.difference is None


def test_what_is_wrong_with_the_log_is_an_error(case):
    bad = case._replace(feedback=case.feedback._replace(propensities=np.zeros((4000, 1))))
    with pytest.raises(ValueError, match="propensities above 0"):
        decide(bad, case.incumbent)
    with pytest.raises(ValueError, match="routine or change"):
        decide(case, case.incumbent, kind="hotfix")


def test_a_log_without_overlap_refuses(case):
    shown = np.eye(10)[case.feedback.slate[:, 0]]
    certain = case._replace(
        incumbent=shown, feedback=case.feedback._replace(propensities=np.ones_like(case.feedback.propensities))
    )
    verdict = decide(certain, case.incumbent)
    assert not verdict.ships
    assert "never tried" in verdict.reasons[0]


def test_judged_decisions_are_a_share_that_stays():
    names = [f"d{number}" for number in range(20_000)]
    judged = policies.judged_decisions(names, 0.3)
    assert judged.mean() == pytest.approx(0.3, abs=0.015)
    np.testing.assert_array_equal(policies.judged_decisions(names[::-1], 0.3), judged[::-1])
    assert not (policies.judged_decisions(names, 0.1) & ~judged).any()


def test_names_are_looked_up():
    with pytest.raises(ConfigError, match=r"gate.estimator"):
        policies.check_gate(Gate(estimator=Component("best")))
    with pytest.raises(ConfigError, match=r"gate.reward_model"):
        policies.check_gate(Gate(reward_model=Component("best")))


def test_planted_policies():
    """Twenty bad ones are refused, sixteen of twenty better ones ship; the suite `gate` asks more seeds."""
    metrics = planted.study(planted.PlantedConfig(seed=4))["metrics"]
    for kind in planted.BAD:
        assert metrics[f"gate.{kind}.shipped"]["value"] == 0, kind
        assert metrics[f"gate.{kind}.shipped"]["n"] == 4
    assert metrics["gate.better.shipped"]["value"] >= 16 / 20


@pytest.mark.parametrize("kind", planted.BAD)
@pytest.mark.parametrize("number", range(4))
def test_bad_policies_are_bad(kind, number):
    """Worse in truth on the decisions that are judged, or broken, or harmful."""
    before = planted.draw_case(3000, seed=number)
    case, policy = planted.BAD[kind](before, number)
    if kind == "corrupted" and number < 3:
        assert (np.abs(np.nansum(policy, axis=1) - 1) > 1e-3).any() or np.isnan(policy).any() or (policy < 0).any()
        return
    if kind == "reward_hacking" and number % 2:
        harm = [(part * case.shop.harm).sum(1).mean() for part in (case.incumbent, policy)]
        assert harm[1] > 1.5 * harm[0]
        return
    judged = policies.judged_decisions([str(row) for row in range(3000)], Gate().share)
    values = [true_value(case.shop, case.context[judged], part[judged]) for part in (case.incumbent, policy)]
    assert values[1] < 0.98 * values[0]
