"""Means with intervals: the bootstrap over users, seeded, for one figure and for the difference of two."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

CHUNK = 4_000_000  # resampled values held at a time


class Figure(NamedTuple):
    """A mean over users."""

    value: float
    ci95: tuple[float, float] | None  # None where one value gives no interval
    n: int  # queries


class Comparison(NamedTuple):
    """The mean difference of two systems on the same users."""

    difference: float
    ci95: tuple[float, float] | None
    p: float  # two-sided: how easily the resamples cross zero
    n: int


def summarise(values: np.ndarray, bootstrap: int = 1000, seed: int = 0) -> Figure:
    """Mean and 95 % percentile interval of the bootstrap over users (Efron, 1979).

    Args:
      values: [R] one value per query, one query per user.
      bootstrap: number of resamples.
      seed: equal seeds give equal intervals.

    Raises:
      ValueError: no values, or one that is not finite.
    """
    return summarise_all({"": values}, bootstrap, seed)[""]


def summarise_all(values: Mapping[str, np.ndarray], bootstrap: int = 1000, seed: int = 0) -> dict[str, Figure]:
    """`summarise` for several metrics of the same queries, which share their resamples; faster than one by one.

    Args:
      values: name -> [R] values, R the same for all.
      bootstrap: number of resamples.
      seed: equal seeds give equal intervals.

    Raises:
      ValueError: different lengths, no values, or one that is not finite.
    """
    checked = [_checked(column) for column in values.values()]
    if len({len(column) for column in checked}) > 1:
        raise ValueError(f"expected metrics of the same queries, got {[len(column) for column in checked]} values.")
    means = resampled_means(np.stack(checked, axis=1), bootstrap, seed)  # [bootstrap, metrics]
    return {
        name: Figure(float(column.mean()), interval(resampled, len(column)), len(column))
        for name, column, resampled in zip(values, checked, means.T, strict=True)
    }


def paired_bootstrap(a: np.ndarray, b: np.ndarray, bootstrap: int = 1000, seed: int = 0) -> Comparison:
    """How much better `a` is than `b`, resampling users and keeping each user's two values together.

    Args:
      a: [R] values of one system.
      b: [R] values of the other on the same queries.
      bootstrap: number of resamples.
      seed: equal seeds give equal answers.

    Raises:
      ValueError: different lengths, no values, or one that is not finite.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"expected two systems judged on the same queries, got {a.shape} and {b.shape} values.")
    difference = _checked(a - b)
    means = resampled_means(difference[:, None], bootstrap, seed)[:, 0]
    # the observed sample counts as one resample (Davison and Hinkley, 1997), so that p is never 0
    tail = min((means <= 0).sum(), (means >= 0).sum())
    p = min(1.0, 2 * (1 + int(tail)) / (1 + bootstrap))
    return Comparison(float(difference.mean()), interval(means, len(difference)), p, len(difference))


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"expected at least one value, all finite, in an array [R], got shape {values.shape} with "
            f"{int((~np.isfinite(values)).sum())} that are not finite; a figure without queries is left out."
        )
    return values


def resampled_means(values: np.ndarray, bootstrap: int, seed: int) -> np.ndarray:
    """[bootstrap, metrics] means of resamples with replacement of the rows of values [R, metrics]; seeded."""
    generator, length = np.random.default_rng(seed), len(values)
    size = max(1, CHUNK // length)
    parts = []
    for start in range(0, bootstrap, size):
        count = min(size, bootstrap - start)
        drawn = generator.integers(length, size=(count, length)) + length * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * length).reshape(count, length)  # how often each is drawn
        parts.append(times.astype(np.float64) @ values / length)
    return np.concatenate(parts)


def interval(means: np.ndarray, n: int) -> tuple[float, float] | None:
    """The middle 95 % of resampled means of n values, None where one value gives no interval."""
    if n < 2:
        return None
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
