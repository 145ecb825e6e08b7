"""Trains the behaviour model on the training events, stops on half A, and loads it again."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm.behaviour.ensemble import FIRST, Ensemble, members
from tfrec_llm.behaviour.judging import MAX_ROWS, make_judge
from tfrec_llm.behaviour.models import MODELS
from tfrec_llm.behaviour.pace import Pace
from tfrec_llm.behaviour.sequence import SequenceModel
from tfrec_llm.config import Config, choose
from tfrec_llm.data.content import content_features
from tfrec_llm.data.incidence import training_counts
from tfrec_llm.data.pipeline import sequence_passes
from tfrec_llm.layers import unseen
from tfrec_llm.layers.lazy_adam import for_rows, make_adam
from tfrec_llm.training import (
    UNHURRIED,
    Compute,
    Origin,
    Stage,
    checkpoints,
    choose_compute,
    commonest,
    files,
    find_origin,
    fit,
    latest_is_best,
    load_weights,
    make_strategy,
    planned_passes,
    precision,
    save_weights,
    write_projector,
)
from tfrec_llm.types import FIRST_ITEM, Dataset, ItemVectors

WEIGHTS = "weights.npz"
PASSES = "behaviour.passes"  # metric: how many were best
OF_ITEMS, OF_TEXT = ("table/ids", "table/text", "bias"), "table/projection"  # variables that belong to one catalogue
LATER = ("table/ids", "bias", "table/text")  # variables with a row for each item
OF_EVENTS = ("inputs_layer/event", "to_event")


def train(
    config: Config, dataset: Dataset, items: ItemVectors | None, stage: Stage, passes: int = 0
) -> dict[str, dict[str, Any]]:
    """Trains a behaviour model; the pass with the best NDCG@10 on half A of the validation users is kept.

    Args:
      config: `behaviour`, `train` and the seed are read.
      dataset: what `prepare` left.
      items: text vectors of the items, or None for ids alone.
      stage: where the weights, the checkpoints and the TensorBoard files go.
      passes: made where half A is not asked; 0 = it is.

    Returns:
      metrics.json entries: the best pass on half A (which chose it, so they flatter a little), and its number.
    """
    settings, counts = config.behaviour, training_counts(dataset)
    own, builder = choose(MODELS, settings.model, "behaviour.model")
    supply = sequence_passes(dataset, settings.max_history, settings.batch_size, config.seed)
    strategy, steps = make_strategy(config.train), int(supply(0).cardinality())
    least, minutes = round(own.steps_share * settings.min_steps), 0.0 if passes else settings.max_minutes
    planned, patience = planned_passes(settings.epochs, settings.patience, least, steps)
    with strategy.scope():
        pace = _paced(own.rate_share * settings.learning_rate, stage, steps, passes or planned, minutes)

    def build(compute: Compute) -> tf.keras.Model:
        tf.keras.utils.set_random_seed(config.seed)
        model = builder(own, config, dataset, items, fixed_steps=compute.jit_compile)
        unseen.start_at_zero(model.table.ids, counts)
        model.compile(optimizer=make_adam(pace, len(counts), config.train), jit_compile=compute.jit_compile)
        return model

    label = f"behaviour {settings.model.name} {len(dataset.catalogue.item_ids)} {own}"
    compute = choose_compute(build, commonest(supply(0)), for_rows(len(counts), config.train), stage=label)
    with precision(compute), strategy.scope():
        model = build(compute)
        _start_from(find_origin(config.train), model, config, dataset)
    history = fit(
        model,
        supply,
        stage=stage,
        epochs=passes or planned,
        validate=latest_is_best("ndcg@10", stage) if passes else _validator(model, dataset, config, pace),
        patience=patience,
        unhurried=planned // UNHURRIED,
        max_minutes=minutes,
        weight_average=settings.weight_average,
        seed=config.seed,
    )
    unseen.fill_in(model.table.ids, model.bias, content_features(dataset.catalogue, _text(items)), counts)
    save_weights(model, stage.folder / WEIGHTS)
    _project(model, dataset, stage)
    return {} if passes else _best_pass(history, min(MAX_ROWS, int((~dataset.split.half_b).sum())))


def load(
    config: Config,
    dataset: Dataset,
    items: ItemVectors | None,
    folder: Path,
    later: Mapping[str, np.ndarray] | None = None,
) -> SequenceModel | Ensemble:
    """The model that `train` left in a folder; with `behaviour.ensemble`, it and the others as one.

    Args:
      config: as it was trained with.
      dataset: as it was trained on, or with the items of `later` behind its own.
      items: text vectors of the items.
      folder: the stage's; the ensemble's others lie beside it.
      later: `later_rows` of items that came after the training.

    Raises:
      ValueError: the weights are missing or do not fit config and dataset.
    """
    models = []
    for name, member in members(config):
        own, builder = choose(MODELS, member.behaviour.model, "behaviour.model")
        model = builder(own, member, dataset, items)
        place = Path(folder) if name == FIRST else Path(folder).parent / name
        load_weights(model, place / WEIGHTS, None if later is None else _of(name, later))
        model.freeze()
        models.append(model)
    return models[0] if len(models) == 1 else Ensemble(models)


def _of(name: str, later: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of one member, by its own names."""
    return {own: later[_prefix(name) + own] for own in LATER}


def _prefix(name: str) -> str:
    return "" if name == FIRST else f"{name}/"


def later_rows(
    config: Config, folder: Path, content: np.ndarray, counts: np.ndarray, later: np.ndarray, text: np.ndarray
) -> dict[str, np.ndarray]:
    """Weights of items that came after the training, as `load` takes them.

    Args:
      config: as it was trained with.
      folder: the stage's.
      content: [N+2, F] of the trained items, see `data.content`.
      counts: [N+2] training events.
      later: [M, F] content of the others.
      text: [M, D] their text vectors.
    """
    rows: dict[str, np.ndarray] = {}
    for name, _ in members(config):
        trained = files.read_npz((folder if name == FIRST else folder.parent / name) / WEIGHTS)
        ids, bias = unseen.later_rows(trained["table/ids"], trained["bias"], content, counts, later)
        rows |= {_prefix(name) + own: values for own, values in zip(LATER, (ids, bias, text), strict=True)}
    return rows


def _paced(peak: float, stage: Stage, steps: int, epochs: int, max_minutes: float) -> Pace:
    """The learning rate; of a training that was killed, planned for the time that it has left."""
    pace, before = Pace(peak, steps, epochs), checkpoints.latest(stage.work)
    pace.go_on(before.done, before.seconds, max_minutes)
    return pace


def _validator(model: SequenceModel, dataset: Dataset, config: Config, pace: Pace) -> Callable[[], dict[str, float]]:
    """Judges the model after a pass, and plans the learning rate of the passes left."""
    settings = config.behaviour
    judge = make_judge(model, dataset, settings.max_history)

    def validate() -> dict[str, float]:
        figures = judge()
        pace.replan(int(model.optimizer.iterations), settings.max_minutes)
        return figures

    return validate


def _best_pass(history: list[dict[str, float]], count: int) -> dict[str, dict[str, Any]]:
    best = max(history, key=lambda entry: entry["ndcg@10"])
    entry = {"ci95": None, "over": "users", "n": count, "split": "validation"}
    found = {f"behaviour.half_a.{name}": {"value": best[name], **entry} for name in best if "@" in name}
    return found | {PASSES: {"value": float(best["pass"]), "ci95": None, "over": "seeds", "n": 1, "split": "train"}}


def _start_from(origin: Origin | None, model: SequenceModel, config: Config, dataset: Dataset) -> None:
    """Takes the weights of another run that mean the same here."""
    if origin is None:
        return
    own = [*OF_ITEMS, *(() if origin.same_events(dataset.domain.events) else OF_EVENTS)]
    own += [] if origin.same_encoder(config) else [OF_TEXT]
    own += [] if origin.behaviour_model == config.behaviour.model.name else ["body"]
    origin.carry(model, f"behaviour/{WEIGHTS}", own, "behaviour")


def _text(items: ItemVectors | None) -> Any:
    return None if items is None else items.text


def _project(model: SequenceModel, dataset: Dataset, stage: Stage) -> None:
    catalogue = dataset.catalogue
    vectors = model.item_table().numpy()[FIRST_ITEM:, :-1]
    write_projector(stage.logs, "items", vectors, [title or "-" for title in catalogue.titles[FIRST_ITEM:]])
