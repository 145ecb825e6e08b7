"""What OBP says of its own logs, and what we say: `python -m pipelines.off_policy.reference`.

It makes `.venv-bench`, runs OBP's estimators there on six logs of the Open Bandit Dataset and on one log of slates, and
prints both values. The test `tests/evaluation/policies/test_obp.py` keeps OBP's.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipelines.benches import environment
from pipelines.off_policy import open_bandit, peer_obp
from tfrec_llm.config import Component
from tfrec_llm.data.open_bandit import CAMPAIGNS, POLICIES, load_open_bandit
from tfrec_llm.data.sources import fetch
from tfrec_llm.evaluation import policies
from tfrec_llm.types import SlateFeedback

DRAWS, SEED = 100_000, 1
SINGLES = (
    *(Component(name) for name in ("ipw", "snipw", "dm", "dr", "sndr")),
    Component("switch_dr", {"threshold": peer_obp.SWITCH}),
    Component("shrinkage_dr", {"shrinkage": peer_obp.SHRINKAGE}),
)


def single(campaign: str, logged: str) -> tuple[SlateFeedback, np.ndarray, np.ndarray]:
    """One log, the other policy's probabilities [R, 1, K], and as predictions [R, K] smoothed click rates of items."""
    log = load_open_bandit(campaign, logged)
    shown, clicks = log.feedback.slate[:, 0], log.feedback.rewards[:, 0]
    items = len(log.alpha)
    rates = (np.bincount(shown, clicks, items) + 1) / (np.bincount(shown, minlength=items) + 100)
    predicted = np.tile(rates, (len(shown), 1))
    return log.feedback, open_bandit.other_policy(log, logged, DRAWS, SEED), predicted


def slates(rounds: int = 1000, slots: int = 3, items: int = 6) -> tuple[SlateFeedback, np.ndarray]:
    """A log of slates by one softmax, and the probabilities [R, n, K] of another, each slot given those above."""
    generator = np.random.default_rng(SEED)
    scores = generator.normal(size=(2, rounds, items))
    left = np.ones((rounds, items), bool)
    shown, both = [], []
    for _ in range(slots):
        weights = np.where(left, np.exp(scores), 0.0)
        chances = weights / weights.sum(2, keepdims=True)
        shown.append((np.cumsum(chances[0], axis=1) > generator.random((rounds, 1))).argmax(1))
        left[np.arange(rounds), shown[-1]] = False
        both.append(chances)
    slate = np.stack(shown, axis=1)
    logged, policy = (np.stack([chances[which] for chances in both], axis=1) for which in (0, 1))
    propensities = np.take_along_axis(logged, slate[..., None], 2)[..., 0]
    rewards = (generator.random((rounds, slots)) < 0.2).astype(float)
    nothing = np.zeros((rounds, 1)), np.zeros((rounds, items, 1))
    return SlateFeedback(*nothing, slate, rewards, propensities), policy


def ours() -> dict[str, dict[str, float]]:
    """Log -> estimator -> value, by our estimators."""
    found = {}
    for campaign in CAMPAIGNS:
        for logged in POLICIES:
            estimates = policies.estimate_all(*single(campaign, logged), SINGLES, bootstrap=10)
            found[f"{campaign}_{logged}"] = {name: estimate.value for name, estimate in estimates.items()}
    feedback, policy = slates()
    found["slates"] = {
        slots: policies.estimate_all(feedback, policy, None, [Component("ipw", {"slots": slots})], 10)["ipw"].value
        for slots in ("independent", "interaction")
    }
    return found


def reference() -> dict[str, dict[str, float]]:
    """Log -> estimator -> value, by OBP in `.venv-bench`."""
    with tempfile.TemporaryDirectory() as folder:
        names = [(campaign, logged) for campaign in CAMPAIGNS for logged in POLICIES]
        inputs = {"_".join(name): _columns(*single(*name)) for name in names} | {"slates": _slate_columns(*slates())}
        paths = [Path(folder) / f"{name}.npz" for name in inputs]
        for path, columns in zip(paths, inputs.values(), strict=True):
            np.savez(path, **columns)
        command = [environment.python("peers"), peer_obp.__file__, fetch("obp"), *paths]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _columns(feedback: SlateFeedback, policy: np.ndarray, predicted: np.ndarray) -> Mapping[str, np.ndarray]:
    return {
        "reward": feedback.rewards[:, 0],
        "action": feedback.slate[:, 0],
        "pscore": feedback.propensities[:, 0],
        "action_dist": policy[:, 0],
        "predicted": predicted,
    }


def _slate_columns(feedback: SlateFeedback, policy: np.ndarray) -> Mapping[str, np.ndarray]:
    chosen = np.take_along_axis(policy, feedback.slate[..., None], 2)[..., 0]
    return {"reward": feedback.rewards, "pscore": feedback.propensities, "policy": chosen}


def main() -> None:
    """Prints both, and the largest difference."""
    argparse.ArgumentParser(prog="python -m pipelines.off_policy.reference", description=__doc__).parse_args()
    theirs, own = reference(), ours()
    worst = max(abs(own[log][name] - value) for log, values in theirs.items() for name, value in values.items())
    print(json.dumps(theirs, indent=1))
    print(f"largest difference to ours: {worst:.2g}")


if __name__ == "__main__":
    main()
