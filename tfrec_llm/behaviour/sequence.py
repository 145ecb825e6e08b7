"""What all behaviour models share: inputs, query, item table, side heads, losses; the body between them differs.

Reads a History, gives BehaviourSignals. The query times the item table is the next-item logit, in training as in
serving: an item's popularity is a column of the table, met by a constant one in the query.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfrec_llm.behaviour.inputs import EventInputs
from tfrec_llm.config import setting
from tfrec_llm.layers import softmax, steps
from tfrec_llm.layers.item_table import ItemTable
from tfrec_llm.layers.left_out import LeftOut
from tfrec_llm.layers.lstm import LSTM
from tfrec_llm.layers.lstm_left_out import last_states
from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.layers.norm import normalised
from tfrec_llm.layers.request_time import RequestTime
from tfrec_llm.layers.unseen import seen_items
from tfrec_llm.types import BehaviourSignals, History, Pieces, SignalsWithout

_NEVER = -3e4  # bias in training of an item that training never saw; half precision holds it


@dataclass(frozen=True)
class SequenceSettings:
    """Settings of every sequence model."""

    units: int = setting(256, "H, width of the state", low=1)
    dim: int = setting(128, "width of an item vector", low=1)
    side_dim: int = setting(16, "width of the event-type and of the gap embedding", low=1)
    dropout: float = setting(0.3, "share of the state left out before the query in training", low=0, high=0.99)
    item_dropout: float = setting(0.4, "share of an item vector left out at the input in training", low=0, high=0.99)
    embedding_dropout: float = setting(
        0.0,
        "share of a sequence's items that are left out of its input in training, wherever they stand",
        low=0,
        high=0.99,
    )
    side_dropout: float = setting(
        0.1, "share of events whose type, and of events whose gap, is left out in training", low=0, high=0.99
    )
    time_dropout: float = setting(
        0.25, "share of states whose time of asking is left out in training", low=0, high=0.99
    )
    id_dropout: float = setting(0.0, "share of items whose id part is left out of a training step", low=0, high=0.99)
    event_weight: float = setting(0.05, "weight of the next event type in the loss", low=0)
    gap_weight: float = setting(0.01, "weight of the time to the next event in the loss", low=0)
    clip_norm: float = setting(1.0, "longest gradient over all weights; a longer one is shortened; 0 = off", low=0)
    rate_share: float = setting(1.0, "the peak step size as a share of behaviour.learning_rate", low=1e-3, high=10)
    steps_share: float = setting(1.0, "steps on small data as a share of behaviour.min_steps", low=0, high=100)


class SequenceModel(tf.keras.Model):
    """A body over the steps of a history, and everything around it.

    Args:
      settings: widths, dropouts and loss weights.
      body: a layer from step vectors [B, S, I] and `noise` to states [B, S+1, H] float32, where state t has read the
        first t steps and nothing else, so state 0 is learned.
      table: the item vectors.
      num_events: V, event types of the domain.
      basket: events of one second are one step.
      popularity: [N+2] training events of each item.
      num_sampled: negatives of the sampled softmax; 0 = softmax over all items.
      seed: of dropout and negatives.
      fixed_steps: keeps T steps even where a batch has fewer, as XLA needs.
      longest_wait: bucket that longer waits before a question count as.
    """

    def __init__(
        self,
        settings: SequenceSettings,
        body: tf.keras.layers.Layer,
        table: ItemTable,
        num_events: int,
        basket: bool,
        popularity: np.ndarray,
        num_sampled: int = 0,
        seed: int = 0,
        fixed_steps: bool = False,
        longest_wait: int = steps.GAP_BUCKETS - 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings, self.body, self.table, self.basket = settings, body, table, basket
        self.num_sampled, self.seed, self.fixed_steps = num_sampled, seed, fixed_steps
        share = (popularity + 1.0) / np.sum(popularity + 1.0)
        self._log_share = np.log(share).astype(np.float32)
        self._served = None
        self._seen = seen_items(popularity)
        self._sampler = softmax.Sampler((popularity + 1.0) * self._seen)
        self.inputs_layer = EventInputs(
            num_events + 2,
            settings.side_dim,
            settings.item_dropout,
            settings.side_dropout,
            settings.embedding_dropout,
            table.num_rows,
            name="inputs",
        )
        self.norm = tf.keras.layers.LayerNormalization(name="norm")
        self.request = RequestTime(longest_wait, name="request")
        self.to_query = tf.keras.layers.Dense(settings.dim, name="to_query")
        self.to_event = tf.keras.layers.Dense(num_events, dtype=tf.float32, name="to_event")
        self.to_gap = tf.keras.layers.Dense(1, dtype=tf.float32, name="to_gap")

    def build(self, input_shape=None):
        """Makes every weight, so that a model can be loaded before it is called."""
        start = tf.constant_initializer(self._log_share - self._log_share.max())
        self.bias = self.add_weight("bias", (self.table.num_rows,), initializer=start, dtype=tf.float32)
        self.signals(History(*(tf.zeros((1, 2), kind) for kind in (tf.int32, tf.int32, tf.int64))))
        self.built = True

    def freeze(self) -> None:
        """Keeps all item vectors as they are now: a served history looks them up and projects no text vectors."""
        self._served = tf.Variable(self.table.table(), trainable=False, name="served")

    def call(self, history: History, training: bool = False) -> BehaviourSignals:
        """As `signals`."""
        return self.signals(history)

    def signals(self, history: History, request_time: tf.Tensor | None = None) -> BehaviourSignals:
        """What each user will do next.

        Args:
          history: [B, T] each; an empty one is answered by the learned start state.
          request_time: [B] int64 seconds, 0 unknown; None = unknown for all. It changes the query alone.

        Returns:
          query [B, dim+1], state [B, H], event [B, V] logits, time_gap [B] log2 seconds; float32. A row's answer
          depends neither on its padding nor on the other rows.
        """
        index = steps.step_index(history, self.basket)
        states = self.body(self._inputs(history, index, None, QUIET))
        state = tf.gather(states, steps.step_count(history, index), batch_dims=1)  # [B, H]
        return self._signals(state, steps.waits_of(history, request_time, basket=self.basket))

    @property
    def one_pass(self) -> bool:
        """Whether there is `signals_without`: only of bodies and domains where a history is one step after another."""
        return isinstance(self.body, LSTM) and not self.basket

    def signals_without(self, history: History, left: LeftOut) -> SignalsWithout:
        """As `signals`, and the queries of histories that lack one of their newest events, in one pass.

        Args:
          history: [B, T] each.
          left: which events are missing.
        """
        inputs, gone = self._inputs(history, None, None, QUIET), left.gone[:, :-1]  # [B, T, I], [B, L]
        next_place = tf.clip_by_value(gone + 1, 0, tf.shape(inputs)[1] - 1)
        after = self.inputs_layer.with_gap(tf.gather(inputs, next_place, batch_dims=1), left.gap[:, :-1])
        states = last_states(self.body, inputs, gone[:, 0] + 1, after)
        signals = self._signals(states.whole, left.request[:, -1])
        normed = normalised(self.norm, tf.reshape(states.without, (-1, self.settings.units)))
        queries = self._query(self.request(normed, tf.reshape(left.request[:, :-1], (-1,))))
        queries = tf.reshape(queries, (-1, gone.shape[1], self.settings.dim + 1))
        return SignalsWithout(signals, tf.concat([queries, signals.query[:, None]], axis=1), states.begun)

    def item_table(self):
        """[N+2, dim+1] float32: times the query = next-item logit; rows 0 and 1 are no items."""
        return self._with_bias(self.table.table(), tf.convert_to_tensor(self.bias))

    def loss_of(self, batch: Pieces | History, noise=QUIET) -> dict[str, tf.Tensor]:
        """The training losses of a batch.

        Args:
          batch: [B, T] each; every step but the first is a target. The first trains the start state where it is the
            user's first one, as it is in whole histories.
          noise: draws dropout and negatives.

        Returns:
          "loss", which is minimised, and its parts "item", "event", "gap"; scalars, means over steps.
        """
        history, first = (batch.history, batch.first) if isinstance(batch, Pieces) else (batch, None)
        index = steps.step_index(history, self.basket)  # [B, T]
        item_table = None if self.num_sampled else self.table.table(noise.training, noise)
        states = self.body(self._inputs(history, index, item_table, noise), noise)  # [B, S+1, H]
        targets = _targets(history, index, tf.shape(states)[1], first)
        flat = self.norm(tf.reshape(states, (-1, self.settings.units)))  # [B*(S+1), H]
        flat = noise.drop(flat, self.settings.dropout, 301)
        asked = self.request(flat, self._waits(history, index, tf.shape(states)[1], noise))
        losses = {"item": self._item_loss(asked, item_table, targets, noise)}
        losses |= self._side_losses(tf.gather(flat, targets.row), history, index, targets)
        weights = {"item": 1.0, "event": self.settings.event_weight, "gap": self.settings.gap_weight}
        return {"loss": sum(weights[name] * value for name, value in losses.items()), **losses}

    def train_step(self, data):
        """One step of gradient descent; Keras calls it."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        scaled = isinstance(self.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
        with tf.GradientTape() as tape:
            losses = self.loss_of(data, Noise(self.seed, self.optimizer.iterations))
            loss = losses["loss"] / replicas  # the optimizer adds the gradients of the replicas up
            loss = self.optimizer.get_scaled_loss(loss) if scaled else loss
        gradients = tape.gradient(loss, self.trainable_variables)
        gradients = self.optimizer.get_unscaled_gradients(gradients) if scaled else gradients
        if self.settings.clip_norm:  # a large step size now and then meets a gradient that would undo hours
            gradients, _ = tf.clip_by_global_norm(gradients, self.settings.clip_norm / replicas)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        return losses

    def _signals(self, state, waits):
        """The signals of states [B, H], asked after waits [B]."""
        normed = normalised(self.norm, state)
        query = self._query(self.request(normed, waits))
        return BehaviourSignals(query, state, self.to_event(normed), self.to_gap(normed)[:, 0])

    def _query(self, normed):
        """[B, dim+1] float32 queries of normed states."""
        query = tf.cast(self.to_query(normed), tf.float32)
        return self._with_bias(query, tf.ones(tf.shape(query)[:1]))

    def _inputs(self, history, index, item_table, noise):
        """[B, S, I] what the body reads at each step."""
        if item_table is None and not noise.training:
            item_table = self._served
        if item_table is None:
            items = self.table(history.item, noise.training, noise)
        else:
            items = tf.gather(item_table, history.item)
        inputs = self.inputs_layer(items, history, noise)  # [B, T, I]
        if self.basket:
            length = tf.shape(index)[1]
            num_steps = length if self.fixed_steps else tf.maximum(1, tf.reduce_max(steps.step_count(history, index)))
            inputs = steps.mean_by_step(inputs, history, index, num_steps)
        return inputs

    def _waits(self, history, index, num_states, noise):
        """[B * num_states] int32 wait before the step that each state is asked for, 0 where it is left out."""
        waits = tf.reshape(steps.waits_by_step(history, index, num_states), (-1,))
        return tf.where(noise.keep(tf.shape(waits), self.settings.time_dropout, 303), waits, 0)

    def _item_loss(self, flat, item_table, targets, noise):
        queries = self.to_query(flat)
        queries = self._with_bias(queries, tf.ones(tf.shape(queries)[:1], queries.dtype))
        if item_table is not None:
            bias = tf.where(self._seen, self.bias, _NEVER)  # what nobody had yet is no wrong answer
            table = self._with_bias(tf.cast(item_table, queries.dtype), tf.cast(bias, queries.dtype))
            return softmax.full_softmax(queries, table, targets, packed=not self.fixed_steps)
        uniform = noise.uniform((self.num_sampled,), 302)
        sample, log_expected = self._sampler(uniform)

        def vectors(items):
            looked_up = tf.cast(self.table(items, noise.training, noise), queries.dtype)
            return self._with_bias(looked_up, tf.cast(tf.gather(self.bias, items), queries.dtype))

        return softmax.sampled_softmax(queries, vectors(targets.item), vectors(sample), sample, log_expected, targets)

    def _side_losses(self, states, history, index, targets):
        """Losses of the next event type and of the time to the next event; states [P, H]."""
        event = tf.reshape(history.event, (-1,)) - 2
        known = targets.weight * tf.cast(event >= 0, tf.float32)
        logits = self.to_event(states)  # [P, V]
        event_loss = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(event, 0), logits)
        # Only the event that opens a step waited for it; at the piece's opening the time before is not known.
        timed = tf.cast(tf.reshape(steps.opens(history, index) & (steps.gaps(history) >= 0), (-1,)), tf.float32)
        gap_error = self.to_gap(states)[:, 0] - tf.reshape(steps.log_gaps(history), (-1,))
        return {"event": _mean(event_loss, known), "gap": _mean(tf.square(gap_error), timed)}

    @staticmethod
    def _with_bias(vectors, column):
        return tf.concat([vectors, column[:, None]], axis=1)


def _targets(history: History, index, num_states, first=None) -> softmax.Targets:
    """Each event as the target of the state before its step; all events of a step share its weight of 1.

    Step 0 of a row counts only where it is its user's first one: [B] bool `first`, None = in all rows.
    """
    valid = history.item > 1
    if first is not None:
        valid &= first[:, None] | (index > 0)
    valid = tf.cast(valid, tf.float32)
    batch = tf.shape(index)[0]
    row = tf.range(batch)[:, None] * num_states + tf.minimum(index, num_states - 1)  # [B, T]
    row = tf.reshape(row, (-1,))
    flat = tf.reshape(valid, (-1,))
    count = tf.math.unsorted_segment_sum(flat, row, batch * num_states)
    weight = tf.math.divide_no_nan(flat, tf.gather(count, row))
    return softmax.Targets(row, tf.reshape(history.item, (-1,)), weight)


def _mean(values, weights):
    return tf.math.divide_no_nan(tf.reduce_sum(values * weights), tf.reduce_sum(weights))
