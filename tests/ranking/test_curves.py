"""What TensorBoard shows of decisions, by hand; and read back from the event files that simulation and stage write."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, Config, Ranking, Simulate, Train
from tfrec_llm.ranking import curves, simulate, train

SCORES = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
ALLOWED = np.ones((2, 3), bool)


def read_back(folder):
    """Name -> step -> value (of a histogram: how many values it holds)."""
    found = collections.defaultdict(dict)
    for path in sorted(folder.glob("events.out.tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                array = tf.make_ndarray(value.tensor)
                found[value.tag][event.step] = array[:, 2].sum() if array.ndim == 2 else float(array)
    return found


def test_exploration_is_what_is_worse_than_the_best_of_what_is_left():
    assert curves.exploration_share(np.array([[0, 1], [0, 1]]), SCORES, ALLOWED) == 0
    assert curves.exploration_share(np.array([[0, 2], [0, 1]]), SCORES, ALLOWED) == 0.25
    assert curves.exploration_share(np.array([[1, 0], [0, 1]]), SCORES, ALLOWED) == 0.25  # 0 is then the best left
    forbidden = np.array([[False, True, True], [True, True, True]])
    assert curves.exploration_share(np.array([[1, 2], [0, -1]]), SCORES, forbidden) == 0


def test_equal_scores_are_no_exploration_and_empty_slates_are_none():
    assert curves.exploration_share(np.array([[1], [2]]), np.ones((2, 3)), ALLOWED) == 0
    assert np.isnan(curves.exploration_share(np.full((2, 2), -1), SCORES, ALLOWED))


def test_diversity_by_hand():
    features = np.array([[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]])
    assert curves.slate_diversity(np.array([[0, 1]]), features) == pytest.approx(1)
    assert curves.slate_diversity(np.array([[0, 2]]), features) == pytest.approx(0)
    assert curves.slate_diversity(np.array([[0, 1, 2]]), features) == pytest.approx(2 / 3)
    assert np.isnan(curves.slate_diversity(np.array([[0, -1]]), features))


def test_shares_of_a_reward_count_what_is_lost_too():
    shares = curves.reward_shares({"engagement": np.array([0.2, 0.4]), "safety": np.array([-0.2, 0.0])})
    assert shares == {"engagement": pytest.approx(0.75), "safety": pytest.approx(0.25)}
    assert curves.reward_shares({"engagement": np.zeros(3)}) == {"engagement": 0.0}
    assert curves.reward_shares({}) == {}


@pytest.mark.parametrize("world", ["linear", "interest"])
def test_the_simulation_writes_its_curves(world, tmp_path):
    agent = Component("neural_epsilon_greedy", {"epsilon": 0.5})
    config = Config(ranking=Ranking(agent=agent), simulate=Simulate(users=64, rounds=60))
    simulate(config, world, tmp_path)
    found = read_back(tmp_path / world / agent.name)
    assert set(found) == {"reward", "regret", "exploration", "propensity", "reward_share/reward"}
    assert len(found["reward"]) == len(found["regret"]) == 60
    assert list(found["exploration"]) == [49, 59]  # after each chunk of rounds
    assert 0.2 < found["exploration"][59] < 0.7  # half of the decisions are for any item
    assert found["propensity"][59] == 64
    assert found["reward_share/reward"][59] == 1


def test_the_stage_writes_its_curves(logged, domain, stage):
    rows, context = logged
    ranking = Ranking(agent=Component("neural_epsilon_greedy"), epochs=2, batch_size=64, slate=3, explore_top=6)
    parts = {"engagement": 0.75 * rows.reward, "safety": -0.25 * rows.reward}
    train(Config(train=Train(xla="off"), ranking=ranking), domain, rows, context, 2, stage, parts=parts)
    found = read_back(stage.logs)
    names = {"reward", "exploration", "propensity", "slate_diversity", "reward_share/engagement", "reward_share/safety"}
    assert set(found) >= {f"explored/{name}" for name in names} | {"stopping/regret", "stopping/reward", "replay/loss"}
    assert list(found["explored/exploration"]) == [1, 2]
    assert 0 < found["explored/exploration"][2] < 1
    assert 0 <= found["explored/slate_diversity"][2] <= 2
    assert found["explored/propensity"][2] == 300  # three slots of a hundred rows
    assert found["explored/reward_share/safety"][2] == pytest.approx(0.25)
    assert found["stopping/regret"][2] >= 0
