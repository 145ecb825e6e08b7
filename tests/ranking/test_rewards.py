import dataclasses

import numpy as np
import pytest

from tfrec_llm.ranking.rewards import check_rewards, event_values, satisfaction


def test_event_values_by_event_index(domain):
    np.testing.assert_allclose(event_values(domain), [0, 0, 0.1, 1.0, 0.0])  # padding, unknown, view, buy, return


def test_satisfaction_by_hand(domain):
    view, buy, back = 2, 3, 4
    sessions = np.array([[view, buy, 0], [back, back, 0], [buy, buy, buy], [0, 0, 0], [buy, 1, 0]])
    # means .6, -1, 1, none, 1 (the unknown event is left out); (1 + mean) / 2
    np.testing.assert_allclose(satisfaction(domain, sessions), [0.8, 0.0, 1.0, 0.5, 1.0], atol=1e-6)


def test_satisfaction_stays_within_zero_and_one(domain):
    rng = np.random.default_rng(0)
    values = satisfaction(domain, rng.integers(0, 5, (200, 7)))
    assert (values >= 0).all()
    assert (values <= 1).all()
    assert satisfaction(domain, np.zeros((0, 3), int)).shape == (0,)


def test_events_of_another_domain_are_refused(domain):
    with pytest.raises(ValueError, match="indices from 0 to 4"):
        satisfaction(domain, np.array([[7]]))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.1, 1.5])
def test_bad_rewards_are_refused(domain, value):
    rewards = np.array([[0.5, 0.1], [value, value]])
    with pytest.raises(ValueError, match=r"finite rewards in \[0, 1\], got .* at \(1, 0\) and 1 more"):
        check_rewards(rewards, "rows")
    with pytest.raises(ValueError, match=r"domain shop: rewards: expected buy in \[0, 1\]"):
        event_values(dataclasses.replace(domain, rewards={"buy": value}))


def test_weights_and_names_of_the_domain_are_checked(domain):
    with pytest.raises(ValueError, match=r"expected buy in \[-1, 1\], got -2"):
        satisfaction(dataclasses.replace(domain, satisfaction={"buy": -2.0}), np.array([[3]]))
    with pytest.raises(ValueError, match="expected events out of view, buy, return; got 'steal'"):
        event_values(dataclasses.replace(domain, rewards={"steal": 0.5}))


def test_good_rewards_pass():
    assert check_rewards(np.array([0, 0.25, 1]), "rows").dtype == np.float32
