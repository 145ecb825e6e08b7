"""What happens at every step of `fit`: the loss is watched, the bar moves, TensorBoard hears of it."""

import math
import sys
import time

import numpy as np
import tensorflow as tf
from tqdm import tqdm

CHECK_EVERY = 100  # steps between two looks at the device


class LossWatch(tf.keras.callbacks.Callback):
    """Finds the first step whose loss is not finite, and a pass's mean loss; fetches a hundred losses at a time."""

    _supports_tf_logs = True

    def __init__(self, stage: str, writer: tf.summary.SummaryWriter, steps_before: int):
        super().__init__()
        self._stage, self._writer, self._steps_before, self._pass = stage, writer, steps_before, 0
        self._waiting: list[tf.Tensor] = []
        self._losses: list[float] = []

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the count of a pass."""
        self._pass, self._losses = epoch + 1, []

    def on_train_batch_end(self, batch, logs=None):
        """Keeps the loss where it is, and looks at it now and then."""
        if "loss" not in (logs or {}):
            raise ValueError(f"{self._stage}: expected train_step to return 'loss', got {sorted(logs or {})}.")
        self._waiting.append(logs["loss"])
        if len(self._waiting) == CHECK_EVERY:
            self._look()
            with self._writer.as_default(step=self._steps_before + len(self._losses)):
                tf.summary.scalar("step/loss", self._losses[-1])

    def on_epoch_end(self, epoch, logs=None):
        """The last look of a pass."""
        self._look()
        self._steps_before += len(self._losses)
        bad = [w.name for w in self.model.trainable_weights if not bool(tf.reduce_all(tf.math.is_finite(w)))]
        if bad:
            raise ValueError(self._advice(f"finite weights, got others in {', '.join(bad)} after the last step"))

    def mean_loss(self) -> float:
        """Mean loss of the pass that has just ended.

        Keras' own loss is already the running mean over the pass; a `train_step` that returns each step's own loss
        has no metric of that name, and its losses are averaged here.
        """
        if any(metric.name == "loss" for metric in self.model.metrics):
            return self._losses[-1]
        return float(np.mean(self._losses))

    def _look(self) -> None:
        for loss in self._waiting:
            self._losses.append(float(np.mean(np.asarray(loss, np.float64))))
            if not math.isfinite(self._losses[-1]):
                raise ValueError(self._advice(f"a finite loss, got {self._losses[-1]} at step {len(self._losses)}"))
        self._waiting = []

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
