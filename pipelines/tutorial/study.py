"""One cell of the comparison: a model, trained and judged on the tutorial's split."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.tutorial import ratings as split
from pipelines.tutorial.ratings import Ratings
from pipelines.tutorial.stock import StockSettings, train_stock
from tfrec_llm import evaluation
from tfrec_llm.config import Component, choose, setting
from tfrec_llm.retrieval.set_towers import SetTowersSettings, train_sets

DEPTHS = (1, 5, 10, 50, 100)  # the tutorial's


@dataclass(frozen=True)
class TutorialConfig:
    """What a cell of a suite with `upto = "tutorial"` holds in place of a run's config."""

    seed: int = setting(1, "of weights and order; the split's is the tutorial's own", low=0)
    split: str = setting("test", "what is judged; choices are made on validation", choices=("validation", "test"))
    model: Component = setting(Component("stock"), "a name in pipelines.tutorial.study.MODELS")


def score_sets(settings: SetTowersSettings, ratings: Ratings, seed: int) -> np.ndarray:
    """Our towers over each user's training films as a set: [U, N]."""
    watched = ratings.watched()
    model = train_sets(settings, watched, seed)
    return tf.matmul(model(tf.constant(watched)), model.item_table(), transpose_b=True).numpy()


MODELS = {"stock": (StockSettings, train_stock), "set_towers": (SetTowersSettings, score_sets)}


def check(config: TutorialConfig) -> None:
    """Looks the model up.

    Raises:
      ConfigError: an unknown name or setting.
    """
    choose(MODELS, config.model, "model")


def study(config: TutorialConfig) -> dict[str, Any]:
    """Trains and judges.

    Args:
      config: model, seed and split.

    Returns:
      A report in the form of metrics.json: top-k shares over all films, seen ones among them, and how many of a user's
      best hundred the user had already.
    """
    own, train = choose(MODELS, config.model, "model")
    with evaluation.measure() as used:
        ratings = split.load_ratings(config.split)
        scores = train(own, ratings, config.seed)
    judged = len(ratings.judged)
    metrics = {
        f"tutorial.top_{depth}": evaluation.entry(split.top_share(scores, ratings, depth), judged, config.split)
        for depth in DEPTHS
    }
    seen = np.take_along_axis(ratings.watched(), np.argsort(-scores, axis=1)[:, :100], axis=1).mean()
    metrics["tutorial.seen_in_top_100"] = evaluation.entry(seen, len(scores), config.split)
    return {
        "metrics": metrics | evaluation.usage_entries("tutorial", used),
        "protocol": {
            "dataset": "movielens_100k",
            "users": len(ratings.user_ids),
            "items": len(ratings.titles),
            "interactions": len(ratings.user),
            "split": f"random {split.TRAIN}/{split.TEST}, shuffled by seed {split.SHUFFLE_SEED} as TFRS' tutorial does",
            "trained_on": f"{len(ratings.train)} ratings",
            "candidates": "all films, seen ones among them",
            "ties": "for the film that is asked for",
            "seeds": [config.seed],
            "sha256": ratings.sha256(),
        },
        "run": {},
    }
