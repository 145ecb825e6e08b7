"""The studies of estimators and gate as cells of their suites, small."""

import numpy as np
import pytest

from pipelines import suite
from pipelines.off_policy import coverage, open_bandit, planted, world
from pipelines.studies import STUDIES
from tfrec_llm.config import Component, ConfigError
from tfrec_llm.evaluation.report import check_report


def test_open_bandit_prints_estimates_beside_the_truth():
    report = open_bandit.study(open_bandit.OpenBanditConfig(campaign="men", logged="bts", draws=1000, bootstrap=20))
    check_report(report)
    metrics = report["metrics"]
    truth = metrics["ope.open_bandit_men_bts.true.value"]
    assert truth["value"] == pytest.approx(46 / 10_000)  # clicks of the random policy's own log
    found = metrics["ope.open_bandit_men_bts.snipw.value"]["value"]
    error = metrics["ope.open_bandit_men_bts.snipw.relative_error"]["value"]
    assert error == pytest.approx(abs(found - truth["value"]) / truth["value"])


@pytest.mark.parametrize(
    ("study", "config"),
    [
        (coverage.study, coverage.CoverageConfig(logs=2, rounds=50, bootstrap=20)),
        (planted.study, planted.PlantedConfig(rounds=300, better=1, each=1)),
    ],
)
def test_reports_have_the_fixed_form(study, config):
    check_report(study(config))


@pytest.mark.parametrize("name", ["open_bandit", "ope_coverage", "gate"])
def test_columns_of_the_suites_are_keys_that_the_studies_write(name):
    cell = suite.all_cells(name)[0]
    small = {
        open_bandit.OpenBanditConfig: open_bandit.OpenBanditConfig(campaign="all", draws=100, bootstrap=10),
        coverage.CoverageConfig: coverage.CoverageConfig(logs=2, rounds=50, bootstrap=10),
        planted.PlantedConfig: planted.PlantedConfig(rounds=300, better=1, each=1),
    }[type(cell.config)]
    metrics = STUDIES[suite.load_suite(name).upto].report(small)["metrics"]
    for column in suite.load_suite(name).columns:
        begin, _, end = column.replace("{cell}", "all_random").partition("*")
        assert [key for key in metrics if key.startswith(begin) and key.endswith(end)], column


def test_unknown_names_are_refused_before_anything_is_made():
    with pytest.raises(ConfigError, match="reward_model"):
        STUDIES["coverage"].check(coverage.CoverageConfig(reward_model=Component("oracle")))


def test_a_shop_is_what_it_says():
    shop = world.draw_shop(1)
    context = world.customers(shop, 50_000, 1)
    policy = world.softmax(shop.expected(context), 2.0)
    np.testing.assert_allclose(policy.sum(1), 1)
    feedback, reports = world.log_rounds(shop, context, policy, 1)
    assert feedback.rewards.mean() == pytest.approx(world.true_value(shop, context, policy), abs=0.01)
    assert reports.mean() == pytest.approx((policy * shop.harm).sum(1).mean(), abs=0.005)
    shown = np.bincount(feedback.slate[:, 0], minlength=10) / len(context)
    np.testing.assert_allclose(shown, policy.mean(0), atol=0.01)
