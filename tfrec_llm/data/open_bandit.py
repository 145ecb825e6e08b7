"""The Open Bandit Dataset, small: 10,000 logged rounds of each policy in three campaigns of a fashion shop.

A round shows one item in one of three positions; the log has the probability with which its policy, `random` or `bts`
(Bernoulli Thompson sampling), chose that item there, and whether it was clicked (Saito et al., 2020). It feeds the
off-policy estimators, not the stages.
"""

import io
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from tfrec_llm.data.sources import read_members
from tfrec_llm.types import SlateFeedback

CAMPAIGNS, POLICIES = ("all", "men", "women"), ("random", "bts")
POSITIONS = 3
_USER = [f"user_feature_{number}" for number in range(4)]
_ITEM = [f"item_feature_{number}" for number in range(1, 4)]


class OpenBandit(NamedTuple):
    """One policy's log in one campaign."""

    feedback: SlateFeedback  # R rounds, n = 1, K items of the campaign
    position: np.ndarray  # [R] 0 to 2: where on the page
    alpha: np.ndarray  # [K] priors with which Thompson sampling began
    beta: np.ndarray  # [K]


def load_open_bandit(campaign: str, policy: str) -> OpenBandit:
    """Reads one log.

    Args:
      campaign: "all", "men" or "women".
      policy: the one that chose, "random" or "bts".

    Raises:
      ValueError: no such campaign or policy.
    """
    if campaign not in CAMPAIGNS or policy not in POLICIES:
        raise ValueError(
            f"expected a campaign among {', '.join(CAMPAIGNS)} and a policy among {', '.join(POLICIES)}, got "
            f"{campaign!r} and {policy!r}."
        )
    folder, prior = f"obp/dataset/obd/{policy}/{campaign}", "obp/policy/conf/prior_bts.yaml"
    files = read_members("obp", [f"{folder}/{campaign}.csv", f"{folder}/item_context.csv", prior])
    rounds, items, priors = files.values()
    own = yaml.safe_load(priors)[campaign]
    feedback, position = feedback_of(_read(rounds), _read(items))
    return OpenBandit(feedback, position, np.asarray(own["alpha"]), np.asarray(own["beta"]))


def feedback_of(rounds: pd.DataFrame, items: pd.DataFrame) -> tuple[SlateFeedback, np.ndarray]:
    """Rounds as slates of one item.

    Args:
      rounds: item_id, position 1 to 3, click, propensity_score, user_feature_0 to _3, user-item_affinity_<item_id>.
      items: item_id, item_feature_0 (a number) to _3 (words).

    Returns:
      Feedback whose context is the position and the user's features, one-hot; a candidate's features are what is known
      of the item, and the user's affinity to it. And the positions [R], from 0.
    """
    items = items.sort_values("item_id")
    position = rounds["position"].to_numpy() - 1
    context = np.concatenate([np.eye(POSITIONS)[position], pd.get_dummies(rounds[_USER])], axis=1)
    known = np.concatenate([items[["item_feature_0"]], pd.get_dummies(items[_ITEM])], axis=1)  # [K, F - 1]
    affinity = rounds[[f"user-item_affinity_{item}" for item in items["item_id"]]].to_numpy(np.float32)  # [R, K]
    everywhere = np.broadcast_to(known.astype(np.float32), (len(rounds), *known.shape))
    candidates = np.concatenate([affinity[..., None], everywhere], axis=2)
    columns = (rounds[name].to_numpy()[:, None] for name in ("item_id", "click", "propensity_score"))
    slate, rewards, propensities = columns
    slate = np.searchsorted(items["item_id"].to_numpy(), slate)
    return SlateFeedback(context.astype(np.float32), candidates, slate, rewards.astype(float), propensities), position


def thompson_probabilities(alpha: np.ndarray, beta: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """How probable each item is in each position under Bernoulli Thompson sampling: [positions, K], by simulation.

    Args:
      alpha: [K] of each item's beta distribution.
      beta: [K].
      draws: how many; the error of a probability p is sqrt(p (1 - p) / draws).
      seed: of the draws.
    """
    generator, count = np.random.default_rng(seed), np.zeros((POSITIONS, len(alpha)))
    for first in range(0, draws, 10_000):
        values = generator.beta(alpha, beta, size=(min(10_000, draws - first), len(alpha)))
        best = np.argsort(-values, axis=1)[:, :POSITIONS]
        for place in range(POSITIONS):
            count[place] += np.bincount(best[:, place], minlength=len(alpha))
    return count / draws


def _read(data: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(data), index_col=0)
