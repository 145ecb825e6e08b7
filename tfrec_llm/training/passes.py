"""How many passes over the data a training gets: a small data set needs more of them than a large one."""

import math


def planned_passes(epochs: int, patience: int, min_steps: int, steps: int) -> tuple[int, int]:
    """Passes and patience, both stretched alike where the passes would make too few steps.

    Args:
      epochs: passes at most, on data that is large enough.
      patience: passes without a better figure before it stops.
      min_steps: steps that the passes make at least, unless it stops before.
      steps: of a pass.

    Returns:
      (passes, patience).
    """
    passes = max(epochs, math.ceil(min_steps / max(steps, 1)))
    return passes, math.ceil(patience * passes / epochs)
