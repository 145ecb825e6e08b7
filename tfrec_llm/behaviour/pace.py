"""Learning rate: a warm-up, then half a cosine down to zero, fitted into the time there is."""

import math
import time

import tensorflow as tf


class Pace(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Warm-up, then a cosine to zero at the last planned step.

    On a slow machine the planned passes may not fit into the time allowed. `replan` then brings the end of the cosine
    forward: a training that is cut off at a high learning rate is worth far less than a shorter one that was finished.

    Args:
      peak: highest learning rate.
      steps_per_pass: steps of a pass.
      passes: planned passes.
      warm_up: steps until the peak; at most a tenth of the plan.
    """

    def __init__(self, peak: float, steps_per_pass: int, passes: int, warm_up: int = 100):
        super().__init__()
        self.peak, self.steps_per_pass, self.passes, self.warm_up = peak, steps_per_pass, passes, warm_up
        self.planned = tf.Variable(float(steps_per_pass * passes), trainable=False, name="planned_steps")
        self._begin = time.monotonic()
        self._done = 0

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        warm = tf.minimum(float(self.warm_up), self.planned / 10)
        progress = tf.clip_by_value((step - warm) / tf.maximum(self.planned - warm, 1), 0, 1)
        return self.peak * tf.minimum((step + 1) / (warm + 1), 0.5 * (1 + tf.cos(math.pi * progress)))

    def go_on(self, passes: int, seconds: float, minutes: float) -> None:
        """Plans the rest of a training that was killed.

        Args:
          passes: whole passes made before.
          seconds: they took.
          minutes: as of `replan`.
        """
        if passes:
            self._done, self._begin = passes - 1, time.monotonic() - seconds
            self.replan(passes * self.steps_per_pass, minutes)

    def replan(self, step: int, minutes: float) -> None:
        """Plans the rest of the training; called after every pass.

        Args:
          step: steps made so far.
          minutes: time allowed for all passes; 0 = no limit.
        """
        self._done += 1
        if minutes <= 0:
            return
        spent = time.monotonic() - self._begin
        left = max(0.0, 60 * minutes - spent) / (spent / self._done)  # passes
        whole = max(1, math.ceil(left)) * self.steps_per_pass  # `fit` ends with the pass that goes beyond the time
        self.planned.assign(min(float(self.steps_per_pass * self.passes), float(step + whole)))

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {
            "peak": self.peak,
            "steps_per_pass": self.steps_per_pass,
            "passes": self.passes,
            "warm_up": self.warm_up,
        }
