"""The bench of bandits with few users and peers of our own; TF-Agents' loop runs as it is."""

import importlib
import sys
import types

import numpy as np
import pytest

from pipelines.benches import agents, driver, server
from pipelines.benches.rounds import Settings
from tfrec_llm.config import Config
from tfrec_llm.ranking.worlds.environments import LinearSettings, LinearWorld

FORM = {"ours", "peer", "ratio", "ratio_min", "ratio_max", "unit", "rounds", "setup"}
SETTINGS = Settings(Config(), 2, (), 4)
SMALL = LinearSettings(context_dim=2, feature_dim=3, num_actions=4)


class Vowpal:
    """A peer in this process that learns nothing."""

    def __init__(self):
        self.met = []

    def ask(self, question):
        if question["do"] == "load":
            return {"vowpalwabbit": "0"}
        with np.load(question["users"]) as users:
            self.met.append(users["context"])
        return {"interactions": 8, "learn": 0.5, "predict": 0.25, "regret": 2.0}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def few(monkeypatch):
    for name, value in {"WORLD": SMALL, "BATCH": 64, "SMALL": 32, "INTERACTIONS": 640, "PEER_USERS": 8}.items():
        monkeypatch.setattr(agents, name, value)
    monkeypatch.setattr(agents, "NEURAL", agents.LIN_UCB)  # is traced in a third of the time
    peer = Vowpal()
    monkeypatch.setattr(server, "start", lambda *_: peer)
    monkeypatch.setattr(agents, "driver_loop", lambda *_: lambda: 5.0)
    return peer


def test_both_entries_tell_rates_and_regrets(few):
    entries = dict(agents.beside_bandits(SETTINGS))
    assert list(entries) == ["agents.lin_ucb_vs_vowpal_wabbit", "agents.neural_vs_tf_agents_driver"]
    for entry in entries.values():
        assert set(entry) == FORM
        assert entry["unit"] == "interactions/s"
        assert entry["ours"] > 0
        assert entry["setup"]["regret_batch_64"] > entry["setup"]["regret_of_last_tenth_batch_64"] > 0
        assert entry["setup"]["interactions"] == 640
    vowpal, loop = entries.values()
    assert vowpal["peer"] == 16  # eight users in half a second
    assert (vowpal["setup"]["peer_interactions"], vowpal["setup"]["peer_regret"]) == (24, 6.0)  # one round to warm up
    assert vowpal["setup"]["peer_predictions_per_second"] == 32
    assert not np.array_equal(few.met[0], few.met[1])  # new users in every round
    assert loop["setup"]["peer_per_second_batch_16"] == loop["peer"] == 5


def test_users_are_those_of_the_world():
    world = LinearWorld(SMALL, 3)
    users = agents.some_users(world, 50, 1, 0)
    assert users["context"].shape == (50, 2)
    assert users["features"].shape == (50, 4, 3)
    assert np.abs(users["noise"]).max() <= SMALL.noise
    joint = np.concatenate([users["features"].reshape(200, 3), np.repeat(users["context"], 4, axis=0)], axis=1)
    joint = np.insert(joint, 0, 1.0, axis=1)
    _, error, *_ = np.linalg.lstsq(joint, users["expected"].reshape(-1), rcond=None)
    assert error < 1e-8


class Workspace:
    """Knows that the first item is the one to show, and remembers what it was told."""

    learnt = ()

    def __init__(self, arguments):
        assert arguments == "--cb_explore_adf --quiet"

    def parse(self, written):
        return written

    def predict(self, examples):
        return [1.0] + [0.0] * (len(examples) - 2)

    def learn(self, examples):
        Workspace.learnt = examples

    def finish_example(self, examples):
        pass


def test_vowpal_s_users_in_text_and_its_regret_by_hand(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vowpalwabbit", types.SimpleNamespace(Workspace=Workspace, __version__="0"))
    peer = importlib.import_module("pipelines.benches.peer_vowpal")
    np.savez(
        tmp_path / "users.npz",
        context=np.array([[0.5, -1.0]]),
        features=np.array([[[1.0], [2.0]]]),
        expected=np.array([[0.25, 0.75]]),
        noise=np.array([0.125]),
    )
    answer = peer.Bandit({"arguments": "--cb_explore_adf", "seed": 1}).play(str(tmp_path / "users.npz"))
    assert answer["regret"] == 0.5
    assert answer["interactions"] == 1
    user = "shared |u 0:0.50000 1:-1.00000"
    assert Workspace.learnt == [user, "0:-0.375000:1.000000 |f 0:1.00000", "|f 0:2.00000"]


def test_tf_agents_loop_acts_and_learns():
    run = driver.driver_loop(SMALL, batch=3, seed=1, steps=2)
    assert run() > 0
    environment = driver.per_arm_environment(SMALL, batch=3, seed=1)
    step = environment.reset()
    assert step.observation["per_arm"].shape == (3, 4, 3)
    reward = environment.step(np.zeros(3, np.int32)).reward
    assert ((reward >= 0) & (reward <= 1)).all()
