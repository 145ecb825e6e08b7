"""Exponential moving average of weights: judged and kept instead of the raw ones, which go on being trained."""

import contextlib
from collections.abc import Iterator

import tensorflow as tf

LARGE = 10_000_000  # values; above, the average is updated every tenth step, with the decay of ten steps


class WeightAverage(tf.keras.callbacks.Callback):
    """Averages the trainable weights, one small graph call per step.

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
        self._weights: list[tf.Variable] = []
        self._update = None
        self._every = 1

    def on_train_batch_end(self, batch, logs=None):
        """Moves the average; makes it first, where this is the first step of an unbuilt model."""
        if self.decay <= 0:
            return
        if self._update is None:
            self._start()
        if batch % self._every == self._every - 1:
            self._update()

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights inside the block and its own afterwards."""
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
        self._every = 1 if sum(w.shape.num_elements() for w in self._weights) < LARGE else 10
        with self.model.distribute_strategy.scope():
            self.state.values = [tf.Variable(w, dtype=w.dtype, trainable=False) for w in self._weights]
        values = list(self.state.values)

        @tf.function
        def update() -> None:
            step = tf.cast(self.state.step, tf.float32)
            keep = tf.minimum(tf.constant(self.decay, tf.float32) ** self._every, (1.0 + step) / (10.0 + step))
            for value, weight in zip(values, self._weights, strict=True):
                value.assign_add(tf.cast(1.0 - keep, value.dtype) * (weight - value))
            self.state.step.assign_add(self._every)

        self._update = update.get_concrete_function()
