"""What happens at every step of `fit`: the loss is watched, the bar moves, TensorBoard hears of it."""

import sys
import time

import tensorflow as tf
from tqdm import tqdm

CHECK_EVERY = 100  # steps between two looks at the device


class LossWatch(tf.keras.callbacks.Callback):
    """Finds the first step whose loss is not finite, and the mean loss of a pass, without fetching every loss."""

    _supports_tf_logs = True

    def __init__(self, stage: str, writer: tf.summary.SummaryWriter, steps_before: int):
        super().__init__()
        self._stage, self._writer, self._pass, self._steps_before = stage, writer, 0, steps_before
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._bad = tf.Variable(-1, dtype=tf.int64, trainable=False)
        self._total = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._last = tf.Variable(0.0, trainable=False)
        self._bad_loss = tf.Variable(0.0, trainable=False)
        self._look = tf.function(self._note).get_concrete_function(tf.TensorSpec([], tf.float32))

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the count of a pass."""
        self._pass = epoch + 1
        self._step.assign(0)
        self._total.assign(0.0)

    def on_train_batch_end(self, batch, logs=None):
        """Notes the loss on the device, and looks at it now and then."""
        if "loss" not in (logs or {}):
            raise ValueError(f"{self._stage}: expected train_step to return 'loss', got {sorted(logs or {})}.")
        self._look(tf.reduce_mean(tf.cast(logs["loss"], tf.float32)))
        if batch % CHECK_EVERY == CHECK_EVERY - 1:
            self._check()
            with self._writer.as_default(step=self._steps_before + batch + 1):
                tf.summary.scalar("step/loss", self._last)

    def on_epoch_end(self, epoch, logs=None):
        """The last look of a pass."""
        self._check()
        self._steps_before += int(self._step)
        bad = [w.name for w in self.model.trainable_weights if not bool(tf.reduce_all(tf.math.is_finite(w)))]
        if bad:
            raise ValueError(self._advice(f"finite weights, got others in {', '.join(bad)} after the last step"))

    def mean_loss(self) -> float:
        """Mean loss of the pass that has just ended.

        Keras' own loss is already the running mean over the pass; a `train_step` that returns each step's own loss
        has no metric of that name, and its losses are averaged here.
        """
        if any(metric.name == "loss" for metric in self.model.metrics):
            return float(self._last)
        return float(self._total) / max(1, int(self._step))

    def _note(self, loss: tf.Tensor) -> None:
        self._step.assign_add(1)
        first = tf.logical_and(self._bad < 0, tf.logical_not(tf.math.is_finite(loss)))
        self._bad.assign(tf.where(first, self._step, self._bad))
        self._bad_loss.assign(tf.where(first, loss, self._bad_loss))
        self._total.assign_add(tf.cast(loss, tf.float64))
        self._last.assign(loss)

    def _check(self) -> None:
        bad = int(self._bad)
        if bad >= 0:
            raise ValueError(self._advice(f"a finite loss, got {float(self._bad_loss)} at step {bad}"))

    def _advice(self, what: str) -> str:
        return (
            f"{self._stage}: expected {what} of pass {self._pass}; lower the learning rate or set "
            "train.precision=float32. The checkpoint of the last whole pass is kept."
        )


class Bar(tf.keras.callbacks.Callback):
    """One progress bar over all passes, with the time left; nothing where nobody watches."""

    _supports_tf_logs = True

    def __init__(self, stage: str, epochs: int, steps: int, done: int):
        super().__init__()
        self._stage, self._epochs, self._shown = stage, epochs, 0.0
        self._bar = tqdm(
            total=epochs * steps,
            initial=done * steps,
            desc=stage,
            unit="step",
            disable=None,
            file=sys.stderr,
            dynamic_ncols=True,
            leave=False,
        )

    def on_epoch_begin(self, epoch, logs=None):
        """Says which pass this is."""
        self._bar.set_description(f"{self._stage} {epoch + 1}/{self._epochs}", refresh=False)

    def on_train_batch_end(self, batch, logs=None):
        """Moves the bar; fetches the loss twice a second at most."""
        self._bar.update(1)
        if not self._bar.disable and time.monotonic() - self._shown > 0.5:
            self._shown = time.monotonic()
            self._bar.set_postfix(loss=f"{float(tf.reduce_mean(logs['loss'])):.4f}", refresh=False)

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.close()
