"""Exponential moving average of weights: judged and kept instead of the raw ones, which go on being trained."""

import contextlib
from collections.abc import Callable, Iterator

import tensorflow as tf

LARGE = 10_000_000  # values of a variable; a larger one is averaged every tenth step and rarer, with their decay
RAREST = 100  # steps


class WeightAverage(tf.keras.callbacks.Callback):
    """Averages the trainable weights, one small graph call per step; large tables more seldom.

    After step t the average moves to the weights by 1 - min(decay, (1 + t) / (10 + t)), so that early weights, which
    are worth little, are forgotten early (as `tf.train.ExponentialMovingAverage` does).
    """

    _supports_tf_logs = True  # nothing is fetched from the device

    def __init__(self, decay: float):
        super().__init__()
        self.decay = decay
        self.state = tf.Module()  # what a checkpoint holds
        self.state.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="average_step")
        self.state.values = []
        self.state.averaged = {}  # steps between two averages -> step of the last one
        self._weights: list[tf.Variable] = []
        self._updates: dict[int, Callable[[], None]] = {}

    def on_train_batch_end(self, batch, logs=None):
        """Moves the averages; makes them first, where this is the first step of an unbuilt model."""
        if self.decay <= 0:
            return
        if not self._updates:
            self._start()
        self.state.step.assign_add(1)
        for every, update in self._updates.items():
            if batch % every == every - 1:
                update()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside the block and its own afterwards."""
        for every, update in self._updates.items():
            if every > 1:
                update()
        raw = [tf.identity(weight) for weight in self._weights]
        for weight, value in zip(self._weights, self.state.values, strict=True):
            weight.assign(value)
        try:
            yield
        finally:
            for weight, value in zip(self._weights, raw, strict=True):
                weight.assign(value)

    def _start(self) -> None:
        self._weights = list(self.model.trainable_weights)
        with self.model.distribute_strategy.scope():
            self.state.values = [tf.Variable(w, dtype=w.dtype, trainable=False) for w in self._weights]
        every = [_steps_between(weight) for weight in self._weights]
        for steps in sorted(set(every)):
            self.state.averaged[str(steps)] = tf.Variable(0, dtype=tf.int64, trainable=False)
            chosen = [place for place, mine in enumerate(every) if mine == steps]
            pairs = [(self.state.values[place], self._weights[place]) for place in chosen]
            self._updates[steps] = self._update(pairs, self.state.averaged[str(steps)])

    def _update(self, pairs: list[tuple[tf.Variable, tf.Variable]], averaged: tf.Variable) -> Callable[[], None]:
        """A graph that moves some averages to their weights by as many steps as they have waited for."""

        @tf.function
        def update() -> None:
            before, waited = tf.cast(averaged, tf.float32), tf.cast(self.state.step - averaged, tf.float32)
            keep = tf.minimum(tf.constant(self.decay, tf.float32) ** waited, (1.0 + before) / (10.0 + before))
            share = tf.where(waited > 0, 1.0 - keep, 0.0)
            for value, weight in pairs:
                value.assign_add(tf.cast(share, value.dtype) * (weight - value))
            averaged.assign(self.state.step)

        return update.get_concrete_function()


def _steps_between(weight: tf.Variable) -> int:
    """Steps after which a variable is averaged again, so that averaging a large table costs little of a step."""
    values = weight.shape.num_elements()
    return 1 if values < LARGE else min(RAREST, 10 * -(-values // max(LARGE, 1)))
