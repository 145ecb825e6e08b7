"""OBP's estimators as the reference: run by the interpreter of `.venv-bench`; imports nothing of ours.

`peer_obp.py ARCHIVE INPUT.npz...` prints one JSON object: input -> estimator -> value. OBP's own `__init__` files draw
in plotting and simulators, which nothing here needs: its estimator modules are loaded without them.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np

SWITCH, SHRINKAGE = 10.0, 100.0


def load(archive: str):
    """OBP's estimators of single actions and of slates."""
    sys.path.insert(0, archive)
    for name in ("obp", "obp.ope"):
        package = types.ModuleType(name)
        package.__path__ = [f"{archive}/{name.replace('.', '/')}"]
        sys.modules[name] = package
    import obp.ope.estimators as single
    import obp.ope.estimators_slate as slate

    return single, slate


def singles(obp, given) -> dict[str, float]:
    """Values of one log with one item in a round."""
    rounds = len(given["reward"])
    weighted = {
        "reward": given["reward"],
        "action": given["action"],
        "pscore": given["pscore"],
        "action_dist": given["action_dist"][:, :, None],
        "position": np.zeros(rounds, int),
    }
    predicted = {"estimated_rewards_by_reg_model": given["predicted"][:, :, None]}
    robust = {**weighted, **predicted}
    direct = {name: robust[name] for name in ("action_dist", "position", "estimated_rewards_by_reg_model")}
    return {
        "ipw": obp.InverseProbabilityWeighting().estimate_policy_value(**weighted),
        "snipw": obp.SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**weighted),
        "dm": obp.DirectMethod().estimate_policy_value(**direct),
        "dr": obp.DoublyRobust().estimate_policy_value(**robust),
        "sndr": obp.SelfNormalizedDoublyRobust().estimate_policy_value(**robust),
        "switch_dr": obp.SwitchDoublyRobust(tau=SWITCH).estimate_policy_value(**robust),
        "shrinkage_dr": obp.DoublyRobustWithShrinkage(lambda_=SHRINKAGE).estimate_policy_value(**robust),
    }


def slates(obp, given) -> dict[str, float]:
    """Values of one log of slates: rewards, and probabilities of both policies, [R, n]."""
    rounds, slots = given["reward"].shape
    flat = {
        "slate_id": np.repeat(np.arange(rounds), slots),
        "reward": given["reward"].ravel(),
        "position": np.tile(np.arange(slots), rounds),
    }
    through = {"pscore_cascade": given["pscore"], "evaluation_policy_pscore_cascade": given["policy"]}
    through = {name: np.cumprod(values, axis=1).ravel() for name, values in through.items()}
    own = {
        "pscore_item_position": given["pscore"].ravel(),
        "evaluation_policy_pscore_item_position": given["policy"].ravel(),
    }
    return {
        "independent": obp.SlateIndependentIPS(len_list=slots).estimate_policy_value(**flat, **own),
        "interaction": obp.SlateRewardInteractionIPS(len_list=slots).estimate_policy_value(**flat, **through),
    }


def main(archive: str, *inputs: str) -> None:
    """Prints what OBP says of each input."""
    single, slate = load(archive)
    found = {}
    for name in inputs:
        with np.load(name) as opened:
            given = dict(opened)
        found[Path(name).stem] = slates(slate, given) if given["reward"].ndim == 2 else singles(single, given)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
