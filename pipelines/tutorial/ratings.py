"""MovieLens-100K in the split of TFRS' retrieval tutorial: 80,000 shuffled ratings to learn from, 20,000 to judge.

A rating counts as watched, whatever its stars; the shuffle knows nothing of time. A choice is made on the last tenth of
the 80,000, which is then not learnt from.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Data
from tfrec_llm.data import DATASETS

TRAIN, TEST = 80_000, 20_000
SHUFFLE_SEED = 42  # the tutorial's, of TensorFlow's global seed and of the shuffle
CUT = 0.1  # share of the training ratings that a choice is made on


@dataclass(frozen=True)
class Ratings:
    """Who watched what."""

    user: np.ndarray  # [M] int32, 0 to U-1
    film: np.ndarray  # [M] int32, 0 to N-1
    train: np.ndarray  # rows that may be learnt from
    judged: np.ndarray  # rows that are judged
    user_ids: np.ndarray  # [U] str
    titles: np.ndarray  # [N] str; a few films share theirs

    def watched(self) -> np.ndarray:
        """[U, N] float32, 1 where a user watched a film in training."""
        found = np.zeros((len(self.user_ids), len(self.titles)), np.float32)
        found[self.user[self.train], self.film[self.train]] = 1
        return found

    def sha256(self) -> str:
        """Of who watched what, and which of it is learnt from and judged."""
        columns = (self.user, self.film, np.asarray(self.train, np.int64), np.asarray(self.judged, np.int64))
        return hashlib.sha256(b"".join(np.ascontiguousarray(column).tobytes() for column in columns)).hexdigest()


def load_ratings(split: str) -> Ratings:
    """Reads and splits.

    Args:
      split: "test" learns from 80,000 and judges 20,000; "validation" learns from 72,000 and judges the 8,000 left.
    """
    raw = DATASETS["movielens_100k"](Data(source="movielens_100k"), 0)
    events, items = raw.interactions, raw.items
    user_ids, user = np.unique(events["user_id"].to_numpy(str), return_inverse=True)
    place = {film: number for number, film in enumerate(items["item_id"])}
    film = events["item_id"].map(place).to_numpy()
    train, judged = rows_of(len(events), split)
    return Ratings(
        user.astype(np.int32), film.astype(np.int32), train, judged, user_ids, items["title"].to_numpy(str)
    )  # fmt: skip


def rows_of(count: int, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to judge, shuffled as the tutorial shuffles.

    Raises:
      ValueError: fewer rows than the split wants, or no such split.
    """
    if count < TRAIN + TEST or split not in ("validation", "test"):
        raise ValueError(f"expected {TRAIN + TEST} ratings or more and validation or test, got {count} and {split!r}.")
    tf.random.set_seed(SHUFFLE_SEED)
    shuffled = tf.data.Dataset.range(count).shuffle(100_000, seed=SHUFFLE_SEED, reshuffle_each_iteration=False)
    rows = next(iter(shuffled.batch(count))).numpy()
    train, test = rows[:TRAIN], rows[TRAIN : TRAIN + TEST]
    kept = int(TRAIN * (1 - CUT))
    return (train, test) if split == "test" else (train[:kept], train[kept:])


def top_share(scores: np.ndarray, ratings: Ratings, depth: int) -> float:
    """Share of the judged ratings whose film is among the user's `depth` best of all films; seen films stay in.

    Args:
      scores: [U, N].
      ratings: the judged rows.
      depth: places; a film is inside if fewer films than that have a higher score, as TFRS' FactorizedTopK counts.
    """
    rows = scores[ratings.user[ratings.judged]]  # [R, N]
    own = rows[np.arange(len(rows)), ratings.film[ratings.judged]]
    return float(((rows > own[:, None]).sum(axis=1) < depth).mean())
