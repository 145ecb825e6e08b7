"""What a fitted simulator is: vectors and biases whose sum is the log-odds of a positive response.

A response is only ever observed for items that users chose themselves. Items without an observed response are drawn
from the model all the same: it says how an item would be liked, not whether it would be chosen, and it is wrong where
those who would not choose an item would like it less than those who did.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize
from scipy.special import expit

from tfrec_llm import metrics
from tfrec_llm.evaluation import entry
from tfrec_llm.ranking.simulators.responses import Responses


class ResponseTables(NamedTuple):
    """log-odds = user_bias + item_bias + user · item."""

    user: np.ndarray  # [U, E]
    user_bias: np.ndarray  # [U]
    item: np.ndarray  # [N+2, E]
    item_bias: np.ndarray  # [N+2]

    def logits(self, responses: Responses) -> np.ndarray:
        """[M] log-odds of positive responses."""
        users, items = responses.user, responses.item
        product = np.einsum("me,me->m", self.user[users], self.item[items])
        return self.user_bias[users] + self.item_bias[items] + product


def calibrate(tables: ResponseTables, responses: Responses) -> ResponseTables:
    """Platt scaling (Platt, 1999) on responses that were not fitted on, folded into the tables.

    Args:
      tables: log-odds up to scale and shift.
      responses: what the two numbers are fitted on.
    """
    logits, positive = tables.logits(responses), responses.positive

    def loss(line: np.ndarray) -> float:
        z = line[0] * logits + line[1]
        return float(np.mean(np.logaddexp(0, z) - positive * z))

    scale, shift = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=[(1e-3, 1e3), (-20, 20)]).x
    user, user_bias, item, item_bias = tables
    scaled = (scale * user, scale * user_bias + shift, item, scale * item_bias)
    return ResponseTables(*(column.astype(np.float32) for column in scaled))


def quality(tables: ResponseTables, responses: Responses, name: str) -> dict[str, dict]:
    """How well a simulator foretells responses that it never saw.

    Args:
      tables: calibrated.
      responses: held out.
      name: what the keys call it.

    Returns:
      `ranking.simulator.<name>.auc`, absent where all responses are alike, and `.ece`, the calibration error.
    """
    probability, count = expit(tables.logits(responses)), len(responses.user)
    positive = responses.positive > 0.5
    found = {"ece": metrics.expected_calibration_error(positive, probability)}
    if positive.any() and not positive.all():
        found["auc"] = metrics.auroc(positive, probability)
    return {f"ranking.simulator.{name}.{key}": entry(value, count, "train") for key, value in found.items()}


def as_tensors(tables: ResponseTables) -> ResponseTables:
    """The same as constants of a graph."""
    return ResponseTables(*(tf.constant(column, tf.float32) for column in tables))
