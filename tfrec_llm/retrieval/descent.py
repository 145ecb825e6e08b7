"""Newton's method for the blend's weights: halved steps, and other rows that say when to stop. Used by `blend`.

Few rows are too dear for that: they are crossed, so that each is learnt from and each is judged by weights that have
not seen it.
"""

import logging
from collections.abc import Callable

import numpy as np

from tfrec_llm.retrieval.moments import Moments, Pass

STEPS = 12  # Newton steps at most
PATIENCE = 2  # steps without a better stopping loss
TOLERANCE = 1e-5  # of the mean loss: smaller gains end the fit
RIDGE = 1e-3  # curvature of the pull towards the start, in units of the mean loss
RIDGE_LENGTH = 2e-2  # the same for weights of a history's length: they should say only what the common ones cannot
FOLDS = 5  # of rows that are crossed
LENGTHS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)  # of the way to the lowest loss, until NDCG@10 does not suffer
STRENGTHS = (100.0, 10.0, 1.0)  # times the pull: how strong it is, crossed rows choose
_log = logging.getLogger(__name__)


def descend(
    moments: Moments, start: np.ndarray, learn: np.ndarray, stop: np.ndarray, only: np.ndarray | None = None
) -> np.ndarray:
    """Newton's method with halved steps, stopped by other rows.

    Args:
      moments: evaluates weights on rows.
      start: [P] weights.
      learn: rows that are learnt from.
      stop: rows that choose among the steps.
      only: [P] bool, the weights that may move; None = all.

    Returns:
      [P] the weights of the lowest loss on the stopping rows among those whose NDCG@10 on all rows is not below the
      start's.
    """
    free, ridge = np.flatnonzero(np.ones(len(start), bool) if only is None else only), _ridge(moments, start)
    theta, here, first = start, moments(start, learn), moments(start, stop)
    best, lowest, waited = start, first.loss, 0
    share = len(learn) / (len(learn) + len(stop))

    def gain(learnt: Pass, judged: Pass) -> float:
        return share * learnt.gain + (1 - share) * judged.gain

    least = gain(here, first)
    for _ in range(STEPS):
        theta, there = _step(moments, learn, theta, here, start, ridge, free)
        judged = moments(theta, stop)
        if judged.loss < lowest and gain(there, judged) >= least:
            best, lowest, waited = theta, judged.loss, 0
        else:
            waited += 1
        if here.loss - there.loss < TOLERANCE or waited > PATIENCE:
            break
        here = there
    return best


def descend_crossed(
    moments: Moments, start: np.ndarray, rows: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """The same of few rows: how strongly the weights are held at the start is chosen by cross-validation.

    Args:
      moments: evaluates weights on rows.
      start: [P] weights.
      rows: all that are learnt from.
      generator: deals them into folds.

    Returns:
      [P] weights learnt from all rows, with the pull whose weights had the lowest loss on the rows that they had not
      seen, or as far on the way there as NDCG@10 on all rows is not below the start's; the start where no pull has a
      lower loss.
    """
    free, ridge = np.arange(len(start)), _ridge(moments, start)
    folds = [fold for fold in np.array_split(generator.permutation(rows), FOLDS) if len(fold)]
    if len(folds) < FOLDS:
        return start
    shares, rests = np.array([len(fold) for fold in folds]) / len(rows), [np.setdiff1d(rows, fold) for fold in folds]

    def judged(thetas: list[np.ndarray]) -> float:
        return float(shares @ [moments(theta, fold).loss for theta, fold in zip(thetas, folds, strict=True)])

    thetas, best = [start] * FOLDS, None
    losses = [lowest := judged(thetas)]
    for strength in STRENGTHS:  # from the strongest on, each from where the one before it ended
        held = strength * ridge
        thetas = [_lowest(moments, rest, at, start, held, free) for rest, at in zip(rests, thetas, strict=True)]
        losses.append(judged(thetas))
        if losses[-1] < lowest:
            best, lowest = held, losses[-1]
    told = ", ".join(f"{loss:.4f}" for loss in losses)
    _log.info("blend: %d rows, crossed: loss of the start and with pulls of %s: %s", len(rows), STRENGTHS, told)
    if best is None:
        return start
    moved, least = _lowest(moments, rows, start, start, best, free) - start, moments(start, rows).gain
    there = (start + length * moved for length in LENGTHS)  # the loss is convex: each is better than the start
    return next((theta for theta in there if moments(theta, rows).gain >= least), start)


def _lowest(
    moments: Moments, learn: np.ndarray, theta: np.ndarray, start: np.ndarray, ridge: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """[P] the weights of the lowest penalised loss, from theta on."""
    here = moments(theta, learn)
    for _ in range(STEPS):
        before = here.loss + _penalty(theta - start, ridge)
        theta, here = _step(moments, learn, theta, here, start, ridge, free)
        if before - here.loss - _penalty(theta - start, ridge) < TOLERANCE:
            break
    return theta


def _step(
    moments: Moments,
    learn: np.ndarray,
    theta: np.ndarray,
    here: Pass,
    start: np.ndarray,
    ridge: np.ndarray,
    free: np.ndarray,
) -> tuple[np.ndarray, Pass]:
    """One of Newton's steps of the loss and a pull towards the start; none where no length of it helps."""
    curvature = here.curvature[np.ix_(free, free)] + np.diag(ridge[free])
    direction = np.zeros(len(theta))
    direction[free] = np.linalg.solve(curvature, (here.gradient + ridge * (theta - start))[free])
    return _shorter_until_better(moments, learn, theta, direction, here, lambda t: _penalty(t - start, ridge))


def _ridge(moments: Moments, start: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(start)) < moments.common, RIDGE, RIDGE_LENGTH)


def _shorter_until_better(
    moments: Moments,
    learn: np.ndarray,
    theta: np.ndarray,
    direction: np.ndarray,
    here: Pass,
    penalty: Callable[[np.ndarray], float],
) -> tuple[np.ndarray, Pass]:
    """A step along -direction that lowers the penalised loss; no step where none of five lengths does."""
    for length in 0.5 ** np.arange(5):
        moved = theta - length * direction
        there = moments(moved, learn)
        if there.loss + penalty(moved) <= here.loss + penalty(theta):
            return moved, there
    return theta, here


def _penalty(moved: np.ndarray, ridge: np.ndarray) -> float:
    return 0.5 * float(np.sum(ridge * moved**2))
