"""How many passes over the data a training gets, and that none of them ends with a wait.

A small data set needs more passes than a large one.
"""

import math

import tensorflow as tf

UNHURRIED = 3  # patience counts after this part of the passes: 3 = a third
MOST = 5  # times the passes asked for: each of them is judged and kept, which tiny data would do for hours


def planned_passes(epochs: int, patience: int, min_steps: int, steps: int) -> tuple[int, int]:
    """Passes and patience, both stretched alike where the passes would make too few steps.

    Args:
      epochs: passes at most, on data that is large enough.
      patience: passes without a better figure before it stops.
      min_steps: steps that the passes make at least, unless it stops before or they are `MOST` times as many.
      steps: of a pass.

    Returns:
      (passes, patience).
    """
    passes = max(epochs, min(MOST * epochs, math.ceil(min_steps / max(steps, 1))))
    return passes, math.ceil(patience * passes / epochs)


def untuned(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The batches of a pass without tf.data's autotuning.

    Its thread sleeps between its rounds, each time twice as long, and the end of an iterator waits for it about every
    second time: a pass of 28 s took 41 s, one of 1.5 s took 2.6 s (TensorFlow 2.20). Our pipelines say themselves how
    much they do at once.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)
