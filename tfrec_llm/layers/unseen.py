"""Items that training never saw: what their vectors would have been, told from what is known about them.

A ridge regression from content to the trained vectors of the other items (Gantner et al., 2010, "Learning
attribute-to-feature mappings for cold-start recommendations"). It is fitted after the training and changes nothing of
items that were seen; the penalty is the one whose leave-one-out error is least. Behaviour and towers use it.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfrec_llm.types import FIRST_ITEM

PENALTIES = 10.0 ** np.arange(-3, 5)
TRUST = 20.0  # events after which an item's vector counts half of what it can
MOST = 50_000  # seen items that the regression is fitted on, the commonest


def seen_items(counts: np.ndarray) -> np.ndarray:
    """[N+2] bool: items with a training event; all of them where there is none at all."""
    seen = np.asarray(counts) > 0
    seen[:FIRST_ITEM] = False
    return seen if seen.any() else np.arange(len(seen)) >= FIRST_ITEM


def foresee(values: np.ndarray, content: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Values of items without a training event, from those of the others.

    Args:
      values: [N+2, q] trained, such as id vectors and popularities.
      content: [N+2, F] what is known of each item; zeros where nothing is.
      counts: [N+2] training events.

    Returns:
      [N+2, q] the same values for items that were seen; for the others what their content foretells, which is near the
      mean of the seen ones where content says little.
    """
    unseen = ~seen_items(counts)
    unseen[:FIRST_ITEM] = False
    if not unseen.any():
        return values
    found = values.copy()
    found[unseen] = foreteller(values, content, counts)(content[unseen])
    return found


def foreteller(values: np.ndarray, content: np.ndarray, counts: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """What `foresee` goes by, arguments as there: content [M, F] of any items -> the values [M, q] that it tells."""
    rows = np.flatnonzero(seen_items(counts))
    rows = rows[np.argsort(-counts[rows], kind="stable")[:MOST]]
    weight = counts[rows] / (counts[rows] + TRUST) if counts[rows].any() else np.ones(len(rows))
    slope, from_point, to_point = _ridge(content[rows].astype(np.float64), values[rows].astype(np.float64), weight)
    return lambda others: (others - from_point) @ slope + to_point


def start_at_zero(ids: tf.Variable, counts: np.ndarray) -> None:
    """Takes the random start out of the id vectors of items that training never sees, which nothing would correct.

    Args:
      ids: [N+2, dim].
      counts: [N+2] training events.
    """
    ids.assign(ids * seen_items(counts)[:, np.newaxis])


def fill_in(ids: tf.Variable, popularity: tf.Variable, content: np.ndarray, counts: np.ndarray) -> None:
    """`foresee` for id vectors and popularities, in place, after a training.

    Args:
      ids: [N+2, dim].
      popularity: [N+2].
      content: [N+2, F].
      counts: [N+2] training events.
    """
    if seen_items(counts)[FIRST_ITEM:].all():
        return
    found = foresee(np.column_stack([ids.numpy(), popularity.numpy()]), content, counts)
    ids.assign(found[:, :-1])
    popularity.assign(found[:, -1])


def later_rows(
    ids: np.ndarray, popularity: np.ndarray, content: np.ndarray, counts: np.ndarray, later: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Id vectors [M, dim] and popularities [M] of items that came after the training.

    Args:
      ids: [N+2, dim] trained.
      popularity: [N+2] trained.
      content: [N+2, F] of the trained items.
      counts: [N+2] training events.
      later: [M, F] content of the items that came later.
    """
    found = foreteller(np.column_stack([ids, popularity]), content, counts)(later).astype(np.float32)
    return found[:, :-1], found[:, -1]


def _ridge(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope [F, q] and the two weighted means, with the penalty of the least leave-one-out error."""
    x_mean, y_mean = (np.average(part, axis=0, weights=weight) for part in (x, y))
    root = np.sqrt(weight)[:, np.newaxis]
    x, y = (x - x_mean) * root, (y - y_mean) * root
    values, directions = np.linalg.eigh(x.T @ x)
    along = x @ directions  # [n, F]
    told = along.T @ y  # [F, q]
    best = (np.inf, 0.0)
    for penalty in PENALTIES:
        shrunk = 1 / (np.maximum(values, 0) + penalty)
        left = y - along @ (told * shrunk[:, np.newaxis])
        own = np.minimum((along**2) @ shrunk, 1 - 1e-6)  # [n] how much each item foretells itself
        best = min(best, (float(np.sum((left / (1 - own)[:, np.newaxis]) ** 2)), penalty))
    shrunk = 1 / (np.maximum(values, 0) + best[1])
    return directions @ (told * shrunk[:, np.newaxis]), x_mean, y_mean
