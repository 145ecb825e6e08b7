"""A small shop whose truth is known: what customers like, what they would report, and who logs what happens."""

from typing import NamedTuple

import numpy as np

from tfrec_llm.types import SlateFeedback


class Shop(NamedTuple):
    """K items and what is true of them."""

    items: np.ndarray  # [K, F]
    tastes: np.ndarray  # [C, F] how a customer's context meets an item's features
    appeal: np.ndarray  # [K] what attracts everybody
    harm: np.ndarray  # [K] how often an item is reported where it is shown

    def expected(self, context: np.ndarray) -> np.ndarray:
        """Contexts [R, C] -> probabilities [R, K] that an item is taken."""
        return 1 / (1 + np.exp(1.0 - 2.0 * context @ self.tastes @ self.items.T - self.appeal))


def draw_shop(seed: int, items: int = 10, dim: int = 5) -> Shop:
    """A shop by its seed."""
    generator = np.random.default_rng([seed, 1])
    return Shop(
        generator.normal(size=(items, dim)),
        generator.normal(size=(dim, dim)) / dim,
        generator.normal(scale=0.3, size=items),
        generator.uniform(0.02, 0.08, size=items),
    )


def softmax(scores: np.ndarray, sharpness: float, floor: float = 0.1) -> np.ndarray:
    """Scores [R, K] -> probabilities [R, K], of which `floor` is uniform."""
    logits = sharpness * scores
    weights = np.exp(logits - logits.max(1, keepdims=True))
    return (1 - floor) * weights / weights.sum(1, keepdims=True) + floor / scores.shape[1]


def customers(shop: Shop, rounds: int, seed: int) -> np.ndarray:
    """Contexts [R, C] of so many customers."""
    return np.random.default_rng([seed, 2]).normal(size=(rounds, shop.tastes.shape[0]))


def log_rounds(shop: Shop, context: np.ndarray, policy: np.ndarray, seed: int) -> tuple[SlateFeedback, np.ndarray]:
    """What happens where a policy [R, K] serves these customers [R, C]: its log, and the reports [R, 1]."""
    generator = np.random.default_rng([seed, 3])
    rows = np.arange(len(context))
    drawn = generator.random((len(context), 1)) * policy.sum(1, keepdims=True)
    shown = (np.cumsum(policy, axis=1) > drawn).argmax(1)
    taken = generator.random(len(context)) < shop.expected(context)[rows, shown]
    reports = generator.random(len(context)) < shop.harm[shown]
    features = np.broadcast_to(shop.items, (len(context), *shop.items.shape))
    columns = (shown, taken.astype(float), policy[rows, shown])
    feedback = SlateFeedback(context, features, *(column[:, None] for column in columns))
    return feedback, reports.astype(float)[:, None]


def true_value(shop: Shop, context: np.ndarray, policy: np.ndarray) -> float:
    """What a policy [R, K] is worth on average with these customers."""
    return float((shop.expected(context) * policy).sum(1).mean())
