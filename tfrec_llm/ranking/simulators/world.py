"""A world of sessions over a fitted simulator: interest drifts with what is shown, users get bored, and leave.

On-graph and batched. Users are shown slates; they look at the first item, and at each further one with the probability
`attention` where they looked at the one above. The state moves by what is drawn; what a slate is worth is its expected
reward in the state, so that judgements carry no more noise than they must.
"""

from typing import NamedTuple

import tensorflow as tf

from tfrec_llm.ranking.objectives import ItemTables, Parts, slate_parts, slot_credits, weigh
from tfrec_llm.ranking.simulators.tables import ResponseTables, as_tensors
from tfrec_llm.types import PADDING, Domain


class SessionState(NamedTuple):
    """Where users are in their sessions."""

    user: tf.Tensor  # [B] int32
    interest: tf.Tensor  # [B, E]
    bored: tf.Tensor  # [B, G] how much of each category was looked at lately
    stays: tf.Tensor  # [B] float32: 0 after the user left


class Outcome(NamedTuple):
    """What showing slates led to; users who had left before bring nothing."""

    reward: tf.Tensor  # [B] expected weighted reward
    parts: Parts  # [B] each
    credits: tf.Tensor  # [B, n] what each slot added
    taken: tf.Tensor  # [B, n] item indices that were responded to positively, 0 elsewhere
    state: SessionState


class Sessions:
    """See the module.

    Args:
      tables: of the trainer or of the judge.
      items: what the objectives ask about items.
      domain: its `session` and `objectives`.
      factor: what drift, boredom and leaving are multiplied by; at 0 nothing changes but what users have.
    """

    def __init__(self, tables: ResponseTables, items: ItemTables, domain: Domain, factor: float = 1.0):
        self._tables, self._items = as_tensors(tables), items
        self._habits, self.objectives, self._factor = domain.session, domain.objectives, factor
        self.requests = domain.session.requests
        self.in_graph = tf.function(self.respond, reduce_retracing=True)

    def begin(self, user: tf.Tensor) -> SessionState:
        """States of users [B] at their first request."""
        categories = tf.zeros([tf.shape(user)[0], self._items.categories.shape[1]])
        return SessionState(user, tf.gather(self._tables.user, user), categories, tf.ones_like(categories[:, 0]))

    def probabilities(self, state: SessionState, slate: tf.Tensor) -> tf.Tensor:
        """[B, n] how probable a positive response to each item is for who looks at it."""
        tables, boredom = self._tables, self._factor * self._habits.boredom
        product = tf.einsum("bne,be->bn", tf.gather(tables.item, slate), state.interest)
        bored = tf.einsum("bng,bg->bn", tf.gather(self._items.categories, slate), state.bored)
        bias = tf.gather(tables.user_bias, state.user)[:, None] + tf.gather(tables.item_bias, slate)
        return tf.sigmoid(product + bias - boredom * bored) * tf.cast(slate != PADDING, tf.float32)

    def respond(self, state: SessionState, slate: tf.Tensor, numbers: tf.Tensor) -> Outcome:
        """What showing slates leads to.

        Args:
          state: of B users.
          slate: [B, n] item indices, 0 = empty.
          numbers: [B, 2n] in [0, 1) that decide looks, responses and leaving.
        """
        n = tf.shape(slate)[1]
        likely = self.probabilities(state, slate)
        attention = tf.ones_like(likely) * tf.pow(self._habits.attention, tf.cast(tf.range(n), tf.float32))
        parts = slate_parts(likely, attention, slate, self._items)
        parts = Parts(*(part * state.stays for part in parts))
        credits = slot_credits(likely, attention, slate, self._items, self.objectives)
        goes_on = tf.cast(numbers[:, : n - 1] < self._habits.attention, tf.float32)
        looked = tf.math.cumprod(tf.concat([tf.ones_like(likely[:, :1]), goes_on], axis=1), axis=1)
        looked *= tf.cast(slate != PADDING, tf.float32) * state.stays[:, None]
        liked = looked * tf.cast(numbers[:, n - 1 : 2 * n - 1] < likely, tf.float32)
        taken = tf.where(liked > 0, slate, PADDING)
        after = self._after(state, slate, looked, parts.engagement, numbers[:, 2 * n - 1])
        return Outcome(weigh(parts, self.objectives), parts, credits * state.stays[:, None], taken, after)

    def _after(
        self, state: SessionState, slate: tf.Tensor, looked: tf.Tensor, engagement: tf.Tensor, number: tf.Tensor
    ) -> SessionState:
        """The state that looking at items leads to."""
        habits = self._habits
        share = tf.math.divide_no_nan(looked, tf.reduce_sum(looked, axis=1, keepdims=True))  # [B, n]
        towards = tf.einsum("bn,bne->be", share, tf.gather(self._tables.item, slate))
        length = tf.norm(state.interest, axis=1, keepdims=True)
        towards = tf.math.l2_normalize(towards, axis=1) * length
        some = tf.cast(tf.reduce_any(towards != 0, axis=1, keepdims=True), tf.float32)
        drift = min(self._factor * habits.drift, 1.0) * some
        interest = (1 - drift) * state.interest + drift * towards
        seen = tf.einsum("bn,bng->bg", share, tf.gather(self._items.categories, slate))
        leaves = self._factor * (habits.leaving + habits.disappointment * (1 - engagement))
        stays = state.stays * tf.cast(number >= leaves, tf.float32)
        return SessionState(state.user, interest, habits.memory * state.bored + seen, stays)
