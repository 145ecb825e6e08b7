"""Checkpoints between passes: a killed training goes on where its last whole pass ended.

```
work/pass-0003/       model, optimizer and averages after three passes, with state.json
work/best-0002.npz    the best weights so far, made in pass 2
```
A pass's folder is written under another name, flushed, and renamed; the ones before are removed only then.
"""

import dataclasses
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from tfrec_llm.training import files


@dataclass(frozen=True)
class Limits:
    """When a training is over."""

    epochs: int
    patience: int
    max_minutes: float  # 0 = no limit
    unhurried: int = 0  # first passes that patience does not count


@dataclass(frozen=True)
class State:
    """Where a training stands between two passes."""

    done: int = 0  # whole passes
    best: float | None = None  # best figure so far, higher is better
    best_pass: int = 0
    seconds: float = 0.0  # spent so far, killed passes not counted
    history: list[dict[str, float]] = field(default_factory=list)  # one entry per pass

    def after(self, figure: float, entry: dict[str, float], seconds: float, slack: float | None = None) -> "State":
        """The state after one more pass.

        Args:
          figure: what the pass is judged by, higher is better.
          entry: its line in the history.
          seconds: it took, validation included.
          slack: a pass that is so much worse than the best figure, or less, is taken for the best; None = none is.
        """
        best = figure if self.best is None else max(figure, self.best)
        better = self.best is None or figure > self.best or (slack is not None and figure >= best - slack)
        return State(
            done=self.done + 1,
            best=best,
            best_pass=self.done + 1 if better else self.best_pass,
            seconds=self.seconds + seconds,
            history=[*self.history, entry],
        )

    def finished(self, limits: Limits) -> bool:
        """Whether passes, patience or time are used up; there is always a first pass."""
        tired = self.done - max(self.best_pass, limits.unhurried) >= limits.patience
        late = 0 < limits.max_minutes <= self.seconds / 60
        return self.done >= limits.epochs or (self.done > 0 and (tired or late))


def save(work: Path, state: State, checkpoint: tf.train.Checkpoint) -> None:
    """Keeps what the next pass needs; earlier checkpoints go once this one is whole."""
    final, partial = work / f"pass-{state.done:04d}", work / "pass.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    checkpoint.write(str(partial / "checkpoint"))
    files.write_json(partial / "state.json", dataclasses.asdict(state))
    files.sync_tree(partial)
    shutil.rmtree(final, ignore_errors=True)
    os.rename(partial, final)
    files.sync(work)
    for old in work.glob("pass-*"):
        if old != final:
            shutil.rmtree(old)
    for old in work.glob("best-*.npz"):
        if old != best_path(work, state.best_pass):
            old.unlink()


def latest(work: Path) -> State:
    """The state after the last whole pass; a fresh one where there is none."""
    folders = sorted(work.glob("pass-*"))
    return State(**files.read_json(folders[-1] / "state.json")) if folders else State()


def restore(work: Path, state: State, checkpoint: tf.train.Checkpoint) -> None:
    """Puts model, optimizer and averages back to where `state` left them.

    Args:
      checkpoint: over objects whose variables exist already.

    Raises:
      ValueError: the checkpoint is of another model.
    """
    prefix = work / f"pass-{state.done:04d}" / "checkpoint"
    try:
        checkpoint.read(str(prefix)).assert_existing_objects_matched()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        raise ValueError(
            f"{prefix}: expected a checkpoint of this model, got {error}; delete {work} to train from the beginning."
        ) from error


def best_path(work: Path, best_pass: int) -> Path:
    """Where the weights of the best pass lie."""
    return work / f"best-{best_pass:04d}.npz"
