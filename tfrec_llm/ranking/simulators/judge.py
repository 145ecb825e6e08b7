"""The judge: matrix factorisation with biases of users and items and a calibrated logistic output.

Agents never learn with it. It is of another class than the trainer: it knows users and items by who responded to what
alone, nothing of histories or contents.
"""

import numpy as np
import tensorflow as tf

from tfrec_llm.ranking.simulators.fitting import fit_logits
from tfrec_llm.ranking.simulators.responses import Divided, Responses
from tfrec_llm.ranking.simulators.tables import ResponseTables, calibrate

FACTORS, L2, RATE = 12, 0.02, 5e-3


def fit_judge(parts: Divided, num_users: int, num_rows: int, seed: int) -> ResponseTables:
    """Logistic matrix factorisation (Koren, Bell and Volinsky, 2009; Johnson, 2014), Platt-scaled.

    Args:
      parts: responses, of `divide`.
      num_users: U.
      num_rows: N+2.
      seed: of start and order.

    Returns:
      Calibrated tables; users and items without a response have no vector.
    """
    generator = np.random.default_rng([seed, 7])
    user, item = (
        tf.Variable(generator.normal(0, 0.05, (count, FACTORS)).astype(np.float32)) for count in (num_users, num_rows)
    )
    user_bias, item_bias = tf.Variable(tf.zeros([num_users])), tf.Variable(tf.zeros([num_rows]))
    mean = tf.Variable(_log_odds(parts.fit.positive.mean()))
    tables = (user, user_bias, item, item_bias)

    def logits(rows: Responses) -> tuple[tf.Tensor, tf.Tensor]:
        places = (rows.user, rows.user, rows.item, rows.item)
        u, bu, v, bv = (tf.gather(table, place) for table, place in zip(tables, places, strict=True))
        squares = tf.reduce_sum(tf.square(u) + tf.square(v), axis=1) + 0.1 * (tf.square(bu) + tf.square(bv))
        return mean + bu + bv + tf.reduce_sum(u * v, axis=1), L2 * tf.reduce_mean(squares)

    fit_logits(logits, [*tables, mean], parts, RATE, seed)
    known = (np.isin(np.arange(num_users), parts.fit.user), np.isin(np.arange(num_rows), parts.fit.item))
    found = ResponseTables(
        user.numpy() * known[0][:, None], user_bias.numpy() + mean.numpy(), item.numpy() * known[1][:, None],
        item_bias.numpy(),
    )  # fmt: skip
    return calibrate(found, parts.calibrate)


def _log_odds(share: float) -> np.float32:
    share = np.clip(share, 1e-3, 1 - 1e-3)
    return np.float32(np.log(share / (1 - share)))
