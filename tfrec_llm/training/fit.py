"""Training of any Keras model of the flow, with everything that a long run needs around `model.fit`.

One call of `model.fit` per pass, so that the order of the data can depend on the pass alone: a run that was killed in
pass 7 sees in its second pass 7 what the first one saw. Random operations inside the model are as before the kill only
if they are `tf.random.stateless_*` keyed by `model.optimizer.iterations`; Keras' own dropout goes on with other masks.
"""

import contextlib
import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from tfrec_llm.training import checkpoints
from tfrec_llm.training.averages import WeightAverage
from tfrec_llm.training.callbacks import Bar, LossWatch
from tfrec_llm.training.checkpoints import Limits, State
from tfrec_llm.training.passes import untuned
from tfrec_llm.training.resume import Stage
from tfrec_llm.training.weights import load_weights, save_weights

Batches = tf.data.Dataset | Callable[[int], tf.data.Dataset]
_log = logging.getLogger(__name__)


def fit(
    model: tf.keras.Model,
    batches: Batches,
    *,
    stage: Stage,
    epochs: int,
    validate: Callable[[], Mapping[str, float]] | None = None,
    monitor: str = "ndcg@10",
    slack: float | None = None,
    patience: int = 3,
    unhurried: int = 0,
    max_minutes: float = 0.0,
    weight_average: float = 0.0,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Trains a compiled model, pass by pass, and leaves the best weights in it.

    After every pass the model is judged and a checkpoint is kept in `stage.work`; called again after a kill with the
    same arguments and a freshly built model, it goes on at the next pass with weights, optimizer, averages, best
    weights and patience restored, and ends with the same weights if `batches` is a function.

    Args:
      model: compiled, and built under the strategy that it is to be trained with; `train_step` returns "loss".
      batches: one pass, finite; or a function from the pass's number (0, 1, ...) to one, for an order that is a
        function of seed and pass, as an exact resume needs. Shared parts (`cache()`) belong outside of the function.
      stage: where checkpoints (`work`) and TensorBoard scalars (`logs`) go.
      epochs: passes at most.
      validate: figures of the model as it stands, called after every pass with the averaged weights in it.
      monitor: the figure that decides, higher is better; without `validate` the training loss decides.
      slack: of passes whose figures are so much below the best one, or less, the last is taken; None = the best one is.
      patience: passes without a better figure before it stops.
      unhurried: first passes that patience does not count: on a long schedule a model may stay at the level of
        popularity for many passes, however steeply its loss falls, before it learns more.
      max_minutes: stop after the pass that goes beyond it; 0 = no limit.
      weight_average: decay of the moving average of the weights per step; 0 = off.
      seed: of dropout and other random operations in the model.

    Returns:
      One entry per pass: pass, loss, seconds, examples_per_second and the figures of `validate`.

    Raises:
      ValueError: the loss or the monitored figure is not finite, or the figure is missing.
    """
    passes = (lambda _: batches) if isinstance(batches, tf.data.Dataset) else batches
    average, limits = WeightAverage(weight_average), Limits(epochs, patience, max_minutes, unhurried)
    state = _resume(model, passes, average, stage, seed)
    if not state.finished(limits):
        judge = functools.partial(_judge, validate, monitor, stage.name)
        state = _train(model, passes, average, judge, state, limits, stage, slack)
    load_weights(model, checkpoints.best_path(stage.work, state.best_pass))
    return state.history


def latest_is_best(monitor: str, stage: Stage) -> Callable[[], dict[str, float]]:
    """What `validate` is where so many passes are to be made, whatever they bring: every pass is the best so far.

    Args:
      monitor: the figure that decides.
      stage: whose passes were made before.
    """
    numbers = itertools.count(checkpoints.latest(stage.work).done + 1)
    return lambda: {monitor: float(next(numbers))}


def _train(
    model: tf.keras.Model,
    passes: Callable[[int], tf.data.Dataset],
    average: WeightAverage,
    judge: Callable[[float], tuple[float, dict[str, float]]],
    state: State,
    limits: Limits,
    stage: Stage,
    slack: float | None,
) -> State:
    """Pass after pass: train, judge the averaged weights, keep them if they are the best, checkpoint, report."""
    steps, examples = _size(passes(state.done))
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(contextlib.closing(tf.summary.create_file_writer(str(stage.logs))))
        bar = stack.enter_context(contextlib.closing(Bar(stage.name, limits.epochs, steps, state.done)))
        watch = LossWatch(stage.name, writer, steps * state.done)
        while not state.finished(limits):
            begin = time.monotonic()
            _one_pass(model, passes(state.done), [watch, average, bar], state.done)
            seconds, loss = time.monotonic() - begin, watch.mean_loss()
            entry = {
                "pass": state.done + 1,
                "loss": loss,
                "seconds": seconds,
                "examples_per_second": examples / seconds,
            }
            with average.applied():
                figure, figures = judge(loss)
                state = state.after(figure, {**entry, **figures}, time.monotonic() - begin, slack)
                if state.best_pass == state.done:
                    save_weights(model, checkpoints.best_path(stage.work, state.done))
            checkpoints.save(stage.work, state, _checkpoint(model, average))
            _report(stage, state, limits, writer)
    return state


def _resume(model: tf.keras.Model, passes: Callable, average: WeightAverage, stage: Stage, seed: int) -> State:
    """The state of an earlier, killed call, put back into model and averages; a fresh one where there is none.

    Variables of model, optimizer and averages exist only after a first step, so one is made and then overwritten.
    """
    state = checkpoints.latest(stage.work)
    tf.random.set_seed(seed + state.done)
    if state.done:
        model.fit(passes(0).take(1), verbose=0, callbacks=[average])
        checkpoints.restore(stage.work, state, _checkpoint(model, average))
        _log.info("%s: going on after pass %d", stage.name, state.done)
    return state


def _checkpoint(model: tf.keras.Model, average: WeightAverage) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer, average=average.state)


def _one_pass(model: tf.keras.Model, batches: tf.data.Dataset, callbacks: list, index: int) -> None:
    model.fit(untuned(batches), initial_epoch=index, epochs=index + 1, verbose=0, callbacks=callbacks)


def _size(batches: tf.data.Dataset) -> tuple[int, int]:
    """Steps and examples of a pass; read from the pipeline where its shapes do not tell."""
    steps = int(batches.cardinality())
    size = tf.nest.flatten(batches.element_spec)[0].shape[0]
    if steps >= 0 and size is not None:
        return steps, steps * size
    counts = batches.map(lambda *batch: tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0])
    pair = counts.reduce(tf.zeros([2], tf.int64), lambda total, n: total + tf.stack([1, n]))
    return int(pair[0]), int(pair[1])


def _judge(validate: Callable | None, monitor: str, stage: str, loss: float) -> tuple[float, dict[str, float]]:
    """What a pass is judged by, higher is better, and every figure of the validation."""
    if validate is None:
        return -loss, {}
    figures = {name: float(value) for name, value in validate().items()}
    if not math.isfinite(figures.get(monitor, math.nan)):
        raise ValueError(f"{stage}: expected validate() to return a finite {monitor!r}, got {figures}.")
    return figures[monitor], figures


def _report(stage: Stage, state: State, limits: Limits, writer: tf.summary.SummaryWriter) -> None:
    entry = state.history[-1]
    with writer.as_default(step=state.done):
        for name in entry.keys() - {"pass"}:
            tf.summary.scalar(f"pass/{name}", entry[name])
    writer.flush()
    shown = "  ".join(f"{name} {entry[name]:.4g}" for name in entry if name != "pass")
    mark = "" if state.best_pass < state.done else "  (best)"
    _log.info("%s: pass %d/%d  %s%s", stage.name, state.done, limits.epochs, shown, mark)
