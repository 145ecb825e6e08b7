"""Vowpal Wabbit as a peer: a server that the interpreter of `.venv-bench` runs; imports nothing of ours.

`load` starts a contextual bandit with action-dependent features; `play` meets users from a file: their examples are
built first, outside the clock, then it predicts, draws and learns one user after the other.
"""

import json
import os
import sys
import time

import numpy as np
import vowpalwabbit


class Bandit:
    """A learner that meets users one by one.

    Args:
      asked: arguments of Vowpal Wabbit, seed.
    """

    def __init__(self, asked: dict):
        self._learner = vowpalwabbit.Workspace(asked["arguments"] + " --quiet")
        self._draw = np.random.default_rng(asked["seed"])

    def play(self, users: str) -> dict:
        """Meets the users of an .npz: context [N, C], features [N, K, F], expected [N, K], noise [N].

        Returns:
          Interactions, seconds of learning, seconds of predicting before it, and the sum of the regrets.
        """
        seconds, regret = {"learn": 0.0, "predict": 0.0}, 0.0
        with np.load(users) as parts:
            context, features, expected, noise = (parts[name] for name in ("context", "features", "expected", "noise"))
        for row in range(len(context)):
            examples = self._learner.parse(lines(context[row], features[row]))
            began = time.perf_counter()
            chances = np.array(self._learner.predict(examples))
            seconds["predict"] += time.perf_counter() - began
            shown = int(self._draw.choice(len(chances), p=chances / chances.sum()))
            cost = -(expected[row, shown] + noise[row])
            self._learner.finish_example(examples)
            labelled = self._learner.parse(lines(context[row], features[row], (shown, cost, chances[shown])))
            began = time.perf_counter()
            self._learner.learn(labelled)
            seconds["learn"] += time.perf_counter() - began
            self._learner.finish_example(labelled)
            regret += float(expected[row].max() - expected[row, shown])
        return {"interactions": len(context), **seconds, "regret": regret}


def lines(context: np.ndarray, features: np.ndarray, label: tuple[int, float, float] | None = None) -> list[str]:
    """One user as examples in text.

    Args:
      context: [C].
      features: [K, F].
      label: position, cost and probability of what was shown.

    Returns:
      The shared line, and one for each item.
    """
    written = [f"shared |u {_written(context)}", *(f"|f {_written(item)}" for item in features)]
    if label is not None:
        shown, cost, chance = label
        written[shown + 1] = f"0:{cost:.6f}:{chance:.6f} {written[shown + 1]}"
    return written


def _written(values: np.ndarray) -> str:
    return " ".join(f"{place}:{value:.5f}" for place, value in enumerate(values.tolist()))


def main() -> None:
    """Answers until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the library prints is no answer
    bandit = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "load":
            bandit = Bandit(asked)
            answer = {"vowpalwabbit": vowpalwabbit.__version__}
        else:
            answer = bandit.play(asked["users"])
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
