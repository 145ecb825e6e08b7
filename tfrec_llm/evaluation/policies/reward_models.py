"""Predicted rewards of all candidates, each decision by a model that did not see it.

Trees are scikit-learn's; cross-fitting keeps a decision's own reward out of its prediction, so that estimators
that correct the model stay unbiased (Chernozhukov et al., 2018).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import KFold
from threadpoolctl import threadpool_limits

from tfrec_llm.config import Component, choose, setting
from tfrec_llm.evaluation.policies.weights import check_log
from tfrec_llm.types import SlateFeedback

_ROWS = 200_000  # pairs of decision and candidate that are predicted at a time
_TINY = 1e-9
PENALTIES = np.logspace(-1, 5, 13)
RIDGE = Component("ridge")


class RewardModel(Protocol):
    """What every line of REWARD_MODELS builds."""

    def fit(self, context: np.ndarray, features: np.ndarray, reward: np.ndarray) -> None:
        """Learns from context [M, C], features [M, F] of what was shown, and rewards [M]."""

    def predict(self, context: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """Context [R, C] and candidates [R, K, F] -> predicted rewards [R, K]."""


@dataclass(frozen=True)
class RidgeSettings:
    """Settings of `Ridge`."""

    pairs: int = setting(1_000, "context times feature columns that are used at most; more, and none are", low=0)


class Ridge:
    """Linear in context, features and their products; the penalty is chosen by leaving one out."""

    def __init__(self, settings: RidgeSettings, seed: int):
        del seed
        self._pairs = settings.pairs

    def fit(self, context: np.ndarray, features: np.ndarray, reward: np.ndarray) -> None:
        """See `RewardModel`."""
        self._scales = [(part.mean(0), part.std(0) + _TINY) for part in (context, features)]
        c, f = self._scaled(context, features)
        columns = [c, f]
        if c.shape[1] * f.shape[1] <= self._pairs:
            columns.append((c[:, :, None] * f[:, None, :]).reshape(len(c), -1))
        weights, self._intercept = ridge(np.concatenate(columns, axis=1), reward)
        parts = np.split(weights, np.cumsum([c.shape[1], f.shape[1]]))
        self._of_context, self._of_features, pairs = parts
        self._of_pairs = pairs.reshape(c.shape[1], -1) if len(pairs) else np.zeros((c.shape[1], f.shape[1]))

    def predict(self, context: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """See `RewardModel`."""
        c, f = self._scaled(context, candidates)
        of_features = self._of_features + c @ self._of_pairs  # [R, F]
        return self._intercept + (c @ self._of_context)[:, None] + np.einsum("rkf,rf->rk", f, of_features)

    def _scaled(self, context: np.ndarray, features: np.ndarray) -> list[np.ndarray]:
        return [(part - mean) / std for part, (mean, std) in zip((context, features), self._scales, strict=True)]


def ridge(columns: np.ndarray, target: np.ndarray, penalties: np.ndarray = PENALTIES) -> tuple[np.ndarray, float]:
    """Ridge regression whose penalty has the least squared error of leaving one row out, in closed form.

    The same as scikit-learn's `RidgeCV`, which decomposes all rows: the columns' products are enough, and with ten
    thousand rows of some hundred columns a tenth of the time.

    Args:
      columns: [M, P].
      target: [M].
      penalties: to choose from.

    Returns:
      [P] weights and the intercept.
    """
    centre, level = columns.mean(0), target.mean()
    centred, rest = columns - centre, target - level
    values, vectors = np.linalg.eigh(centred.T @ centred)
    turned = centred @ vectors  # [M, P] rows in the basis of the products
    shrunk = 1 / (np.maximum(values, 0.0)[:, None] + penalties)  # [P, penalties]
    solved = (turned.T @ rest)[:, None] * shrunk
    own = turned**2 @ shrunk + 1 / len(target)  # [M, penalties] what a row has to say in its own prediction
    errors = (rest[:, None] - turned @ solved) / np.maximum(1 - own, _TINY)
    weights = vectors @ solved[:, int(np.square(errors).mean(0).argmin())]
    return weights, float(level - centre @ weights)


@dataclass(frozen=True)
class BoostingSettings:
    """Settings of `Boosting`."""

    trees: int = setting(100, "at most; a tenth of the decisions stops earlier", low=1)
    leaves: int = setting(15, "of a tree", low=2)
    learning_rate: float = setting(0.1, "of each tree", low=1e-6, high=1)


class Boosting:
    """Gradient-boosted trees over context and features."""

    def __init__(self, settings: BoostingSettings, seed: int):
        self._model = HistGradientBoostingRegressor(
            max_iter=settings.trees,
            max_leaf_nodes=settings.leaves,
            learning_rate=settings.learning_rate,
            early_stopping=True,
            random_state=seed,
        )

    def fit(self, context: np.ndarray, features: np.ndarray, reward: np.ndarray) -> None:
        """See `RewardModel`."""
        self._model.fit(np.concatenate([context, features], axis=1), reward)

    def predict(self, context: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """See `RewardModel`."""
        count, depth, _ = candidates.shape
        size = max(_ROWS // depth, 1)
        parts = []
        for first in range(0, count, size):
            part = candidates[first : first + size]
            repeated = np.repeat(context[first : first + size], depth, axis=0)
            rows = np.concatenate([repeated, part.reshape(-1, part.shape[2])], axis=1)
            parts.append(self._model.predict(rows).reshape(len(part), depth))
        return np.concatenate(parts)


REWARD_MODELS: Mapping[str, tuple[type, Any]] = {
    "ridge": (RidgeSettings, Ridge),
    "boosting": (BoostingSettings, Boosting),
}


def check_reward_model(component: Component, where: str = "reward_model") -> None:
    """Looks a reward model up.

    Raises:
      ConfigError: no such model, or settings that do not fit it.
    """
    choose(REWARD_MODELS, component, where)


def cross_fitted(feedback: SlateFeedback, component: Component = RIDGE, folds: int = 3, seed: int = 0) -> np.ndarray:
    """Predicted rewards, each decision by a model fitted on the other folds.

    What a slot brings on average is taken off before, and added again: candidates are told apart by one model.

    Args:
      feedback: [R] decisions, R at least 2.
      component: a name in REWARD_MODELS.
      folds: parts of the log, at most R.
      seed: of the folds and of the model.

    Returns:
      [R, n, K].

    Raises:
      ConfigError: no such model, or settings that do not fit it.
      ValueError: fewer than two decisions or folds; see `check_log`.
    """
    settings, builder = choose(REWARD_MODELS, component, "reward model")
    context, candidates = np.asarray(feedback.context, float), np.asarray(feedback.candidates, float)
    slate, rewards = np.asarray(feedback.slate), np.asarray(feedback.rewards, float)
    if min(len(slate), folds) < 2:
        raise ValueError(f"expected two decisions and two folds at least, got {len(slate)} and {folds}: collect more.")
    predicted = np.empty((*slate.shape, candidates.shape[1]))
    check_log(feedback, np.full(predicted.shape, 1 / candidates.shape[1]))
    for train, held in KFold(min(folds, len(slate)), shuffle=True, random_state=seed).split(slate):
        filled = slate[train] >= 0
        count = np.maximum(filled.sum(0), 1)
        usual = np.where(filled, rewards[train], 0.0).sum(0) / count  # [n]
        row, slot = np.nonzero(filled)
        shown = candidates[train][row, slate[train][row, slot]]
        model = builder(settings, seed)
        with threadpool_limits(1):  # too small to share: where others work, threads wait for each other
            model.fit(context[train][row], shown, rewards[train][row, slot] - usual[slot])
        predicted[held] = usual[:, None] + model.predict(context[held], candidates[held])[:, None, :]
    return predicted
