"""OBP 0.4.1 and we say the same of its own logs: figures of `python -m pipelines.off_policy.reference`, 2026-11-25."""

import numpy as np
import pytest

from pipelines.off_policy import reference
from tfrec_llm.config import Component
from tfrec_llm.data.open_bandit import POSITIONS, load_open_bandit, thompson_probabilities
from tfrec_llm.evaluation import policies

OBP = {
    ("all", "random"): {
        "ipw": 0.00451456,
        "snipw": 0.004736381413664484,
        "dm": 0.007012845523229718,
        "dr": 0.0049098644226233034,
        "sndr": 0.0048065351412213035,
        "switch_dr": 0.004735398540270362,
        "shrinkage_dr": 0.005034097585292953,
    },
    ("all", "bts"): {
        "ipw": 0.0023596395168460037,
        "snipw": 0.002333713893161806,
        "dm": 0.00788680641756527,
        "dr": 0.00226770945480107,
        "sndr": 0.0023294471025483675,
        "switch_dr": 0.005946950719229917,
        "shrinkage_dr": 0.005662187258598975,
    },
    ("men", "random"): {
        "ipw": 0.004534104,
        "snipw": 0.004604695286475125,
        "dm": 0.006391800962048873,
        "dr": 0.004652636017829407,
        "sndr": 0.0046255590273578855,
        "switch_dr": 0.005133577229625655,
        "shrinkage_dr": 0.0051053432382922505,
    },
    ("men", "bts"): {
        "ipw": 0.003008626327256482,
        "snipw": 0.0031894231622774027,
        "dm": 0.007341734229491482,
        "dr": 0.0033549380958788483,
        "sndr": 0.0031153602804815817,
        "switch_dr": 0.005552254562733034,
        "shrinkage_dr": 0.005449502442729819,
    },
    ("women", "random"): {
        "ipw": 0.0068230420000000005,
        "snipw": 0.006818617698994301,
        "dm": 0.007825920161000349,
        "dr": 0.00681062519696743,
        "sndr": 0.006811283550020287,
        "switch_dr": 0.007735000039072694,
        "shrinkage_dr": 0.007269194700702156,
    },
    ("women", "bts"): {
        "ipw": 0.00743757754192316,
        "snipw": 0.0023730461434477677,
        "dm": 0.007133286727778321,
        "dr": -0.007443966629896909,
        "sndr": 0.0024822434724299483,
        "switch_dr": 0.005523115807242708,
        "shrinkage_dr": 0.00604634150234773,
    },
}
SLATES = {"independent": 0.605623272538111, "interaction": 0.647988346212601}


@pytest.mark.parametrize("log", OBP, ids="-".join)
def test_single_items(log):
    found = policies.estimate_all(*reference.single(*log), reference.SINGLES, bootstrap=10)
    assert {name: estimate.value for name, estimate in found.items()} == pytest.approx(OBP[log], abs=1e-6)


@pytest.mark.parametrize("slots", SLATES)
def test_slates(slots):
    feedback, policy = reference.slates()
    found = policies.estimate_all(feedback, policy, None, [Component("ipw", {"slots": slots})], bootstrap=10)
    assert found["ipw"].value == pytest.approx(SLATES[slots], abs=1e-6)


def test_the_log_as_it_is_shipped():
    log = load_open_bandit("men", "random")
    assert log.feedback.slate.shape == (10_000, 1)
    assert log.feedback.candidates.shape[:2] == (10_000, 34)
    assert log.feedback.rewards.sum() == 46
    assert set(log.position) == set(range(POSITIONS))
    np.testing.assert_allclose(log.feedback.propensities, 1 / 34)


def test_thompson_probabilities_of_items_that_are_alike_are_alike():
    chances = thompson_probabilities(np.ones(4), np.ones(4), draws=20_000, seed=1)
    np.testing.assert_allclose(chances, 0.25, atol=0.02)
    np.testing.assert_allclose(chances.sum(1), 1)
    sure = thompson_probabilities(np.array([900.0, 500.0, 100.0, 1.0]), np.full(4, 1000.0), draws=1000, seed=1)
    np.testing.assert_array_equal(sure.argmax(1), [0, 1, 2])


def test_no_such_log():
    with pytest.raises(ValueError, match="campaign among all, men, women"):
        load_open_bandit("children", "random")
