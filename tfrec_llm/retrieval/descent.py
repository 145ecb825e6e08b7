"""Newton's method for the blend's weights: halved steps, and other rows that say when to stop. Used by `blend`."""

from collections.abc import Callable

import numpy as np

from tfrec_llm.retrieval.moments import Moments, Pass

STEPS = 12  # Newton steps at most
PATIENCE = 2  # steps without a better stopping loss
TOLERANCE = 1e-5  # of the mean loss: smaller gains end the fit
RIDGE = 1e-3  # curvature of the pull towards the start, in units of the mean loss
RIDGE_LENGTH = 2e-2  # the same for weights of a history's length: they should say only what the common ones cannot


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
    free = np.flatnonzero(np.ones(len(start), bool) if only is None else only)
    ridge = np.where(np.arange(len(start)) < moments.common, RIDGE, RIDGE_LENGTH)
    theta, here, first = start, moments(start, learn), moments(start, stop)
    best, lowest, waited = start, first.loss, 0
    share = len(learn) / (len(learn) + len(stop))

    def gain(learnt: Pass, judged: Pass) -> float:
        return share * learnt.gain + (1 - share) * judged.gain

    least = gain(here, first)
    for _ in range(STEPS):
        pull = ridge * (theta - start)
        curvature = here.curvature[np.ix_(free, free)] + np.diag(ridge[free])
        direction = np.zeros(len(theta))
        direction[free] = np.linalg.solve(curvature, (here.gradient + pull)[free])
        theta, there = _shorter_until_better(
            moments, learn, theta, direction, here, lambda t: _penalty(t - start, ridge)
        )
        judged = moments(theta, stop)
        if judged.loss < lowest and gain(there, judged) >= least:
            best, lowest, waited = theta, judged.loss, 0
        else:
            waited += 1
        if here.loss - there.loss < TOLERANCE or waited > PATIENCE:
            break
        here = there
    return best


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
