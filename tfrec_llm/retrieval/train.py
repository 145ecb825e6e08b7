"""Trains the towers on (history, next item) pairs of training events, and loads them again."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm import metrics
from tfrec_llm.config import Config, choose
from tfrec_llm.data.content import content_features
from tfrec_llm.data.history import histories
from tfrec_llm.data.shown import answerable, shown_items
from tfrec_llm.layers import unseen
from tfrec_llm.layers.lazy_adam import for_rows, make_adam
from tfrec_llm.layers.top_k import exact_top_k
from tfrec_llm.retrieval.catalogue_facts import training_counts, with_attributes
from tfrec_llm.retrieval.pairs import pair_passes
from tfrec_llm.retrieval.sampling import POOL
from tfrec_llm.retrieval.spoken import Spoken
from tfrec_llm.retrieval.two_towers import TwoTowers, TwoTowersSettings
from tfrec_llm.training import (
    UNHURRIED,
    Compute,
    Origin,
    Stage,
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
from tfrec_llm.types import FIRST_ITEM, Dataset, History, ItemVectors, Queries

MODELS = {"two_towers": (TwoTowersSettings, TwoTowers)}
WEIGHTS = "towers.npz"
PASSES = "retrieval.passes"  # metric: how many were best
OF_CONTENT = "items/text"  # text vectors, and attributes behind them where they are read
OF_ITEMS, OF_TEXT = ("items/ids", OF_CONTENT, "popularity", "_sampled"), "items/projection"  # of one catalogue
OF_EVENTS, OF_WORDS = ("encoder/_event",), "heard"
MONITOR = "ndcg@100"  # of the figures of `judge`: in the first hundred at all, and how high
_JUDGED = 4096  # half A queries that a pass is judged on at most
_BATCH = 256
_CELLS = 64_000_000  # queries times items at once: a large catalogue is asked in smaller batches
_log = logging.getLogger(__name__)


def model_settings(config: Config) -> Any:
    """The settings of the config's own towers."""
    return choose(MODELS, config.retrieval.model, "retrieval.model")[0]


def train(
    config: Config,
    dataset: Dataset,
    items: ItemVectors | None,
    stage: Stage,
    passes: int = 0,
    spoken: Spoken | None = None,
) -> dict[str, dict[str, Any]]:
    """Trains the towers; the pass with the best NDCG@100 on half A of the validation users is kept.

    Args:
      config: `retrieval`, `train`, `behaviour.max_history` and the seed are read.
      dataset: what `prepare` left.
      items: text vectors of the items, or None for ids alone.
      stage: where the weights, the checkpoints and the TensorBoard files go.
      passes: made where half A is not asked; 0 = it is.
      spoken: utterances to train with; None = the query tower hears none.

    Returns:
      metrics.json entries: the best pass on half A (which chose it, so they flatter a little), and its number.
    """
    begin, settings, counts = time.monotonic(), config.retrieval, training_counts(dataset)
    own = model_settings(config)
    drawn = own.negatives + POOL * own.hard_negatives
    cut = {"targets": own.targets, "context": own.context, "negatives": drawn, "spoken_share": own.spoken_share}
    supply = pair_passes(dataset, **cut, batch_size=settings.batch_size, seed=config.seed, spoken=spoken)

    model = _built(config, dataset, items, spoken, commonest(supply(0)))
    steps = int(supply(0).cardinality())
    epochs, patience = planned_passes(settings.epochs, settings.patience, settings.min_steps, steps)
    half_a = np.flatnonzero(~dataset.split.half_b)[:_JUDGED]

    def on_half_a() -> dict[str, float]:
        return judge(model, dataset, dataset.split.validation, half_a, config.behaviour.max_history)

    history = fit(
        model,
        supply,
        stage=stage,
        epochs=passes or epochs,
        validate=latest_is_best(MONITOR, stage) if passes else on_half_a if len(half_a) else None,
        monitor=MONITOR,
        patience=patience,
        unhurried=epochs // UNHURRIED,
        max_minutes=0.0 if passes else settings.max_minutes,
        weight_average=settings.weight_average,
        seed=config.seed,
    )
    _log.info("%s: %d passes, %.0f s in all", stage.name, len(history), time.monotonic() - begin)
    _keep(model, dataset, items, counts, stage)
    return {} if passes else _best_pass(history, len(half_a))


def _built(config: Config, dataset: Dataset, items: ItemVectors | None, spoken: Spoken | None, batch: Any) -> TwoTowers:
    """Untrained towers, compiled for what a batch takes the least time with, perhaps from another run's weights."""
    settings, counts = config.retrieval, training_counts(dataset)
    width = 0 if spoken is None else spoken.vectors.shape[1]
    own, builder = choose(MODELS, settings.model, "retrieval.model")
    items = with_attributes(items, dataset.catalogue) if own.attributes else items

    def build(compute: Compute) -> tf.keras.Model:
        tf.keras.utils.set_random_seed(config.seed)
        model = builder(own, dataset, items, settings.batch_size, width)
        model(_empty_history())
        if spoken is not None:
            model.heard.adapt(spoken.vectors)
        unseen.start_at_zero(model.items.ids, counts)
        model.compile(make_adam(settings.learning_rate, len(counts), config.train), jit_compile=compute.jit_compile)
        return model

    label = f"retrieval {settings.model.name} {len(dataset.catalogue.item_ids)} {width} {own}"
    compute = choose_compute(build, batch, for_rows(len(counts), config.train), stage=label)
    with precision(compute), make_strategy(config.train).scope():
        model = build(compute)
        _start_from(find_origin(config.train), model, config, dataset)
    return model


def _keep(model: TwoTowers, dataset: Dataset, items: ItemVectors | None, counts: np.ndarray, stage: Stage) -> None:
    """Gives unseen items their vectors and writes the weights, and the items for the projector."""
    content = content_features(dataset.catalogue, None if items is None else items.text)
    unseen.fill_in(model.items.ids, model.popularity, content, counts)
    save_weights(model, stage.folder / WEIGHTS)
    titles = dataset.catalogue.titles[FIRST_ITEM:]
    write_projector(stage.logs, "candidates", model.item_table().numpy()[FIRST_ITEM:], list(titles))


def _start_from(origin: Origin | None, model: TwoTowers, config: Config, dataset: Dataset) -> None:
    """Takes the weights of another run that mean the same here."""
    if origin is None:
        return
    own = [*OF_ITEMS, OF_WORDS, *(() if origin.same_events(dataset.domain.events) else OF_EVENTS)]
    own += [] if origin.same_encoder(config) else [OF_TEXT]
    origin.carry(model, f"retrieval/towers/{WEIGHTS}", own, "retrieval")


def _best_pass(history: list[dict[str, float]], count: int) -> dict[str, dict[str, Any]]:
    best = max(history, key=lambda entry: entry.get(MONITOR, -entry["loss"]))
    entry = {"ci95": None, "over": "users", "n": count, "split": "validation"}
    found = {f"retrieval.half_a.{name}": {"value": best[name], **entry} for name in best if "@" in name}
    return found | {PASSES: {"value": float(best["pass"]), "ci95": None, "over": "seeds", "n": 1, "split": "train"}}


def load(
    config: Config,
    dataset: Dataset,
    items: ItemVectors | None,
    folder: Path,
    later: Mapping[str, np.ndarray] | None = None,
) -> TwoTowers:
    """The towers that `train` left in a folder, frozen for serving.

    Args:
      config: as they were trained with.
      dataset: as they were trained on, or with the items of `later` behind its own.
      items: text vectors of the items.
      folder: the stage's.
      later: `later_rows` of items that came after the training.

    Raises:
      ValueError: the weights are missing or do not fit config and dataset.
    """
    own, builder = choose(MODELS, config.retrieval.model, "retrieval.model")
    items = with_attributes(items, dataset.catalogue) if own.attributes else items
    if (
        own.attributes and items is not None and later is not None
    ):  # the columns are those of the trained items' attributes
        items = items._replace(text=np.zeros([len(items.text), later[OF_CONTENT].shape[1]], np.float32))
    words = files.read_npz(Path(folder) / WEIGHTS).get(f"{OF_WORDS}/centre", ())
    model = builder(own, dataset, items, config.retrieval.batch_size, len(words))
    model(_empty_history())
    load_weights(model, Path(folder) / WEIGHTS, later)
    model.freeze()
    return model


def later_rows(
    folder: Path, content: np.ndarray, counts: np.ndarray, later: np.ndarray, text: np.ndarray
) -> dict[str, np.ndarray]:
    """Weights of items that came after the training, by the names of `load`.

    Args:
      folder: that of the towers.
      content: [N+2, F] of the trained items, see `data.content`.
      counts: [N+2] training events.
      later: [M, F] content of the others.
      text: [M, D] their text vectors.
    """
    trained = files.read_npz(folder / WEIGHTS)
    ids, popularity = unseen.later_rows(trained["items/ids"], trained["popularity"], content, counts, later)
    if trained[OF_CONTENT].shape[1] > text.shape[1]:
        text = np.concatenate([text, later[:, text.shape[1] :]], axis=1)
    never = np.full(len(ids), trained["_sampled"].min(), np.float32)  # training alone looks at it
    return {"items/ids": ids, "popularity": popularity, OF_CONTENT: text, "_sampled": never}


def judge(model: TwoTowers, dataset: Dataset, queries: Queries, rows: np.ndarray, max_history: int) -> dict[str, float]:
    """How well the towers alone find what came next, among all items.

    Args:
      model: the towers.
      dataset: events, catalogue and domain.
      queries: the questions.
      rows: [B] which of them.
      max_history: T.

    Returns:
      Means over the queries of recall@100, ndcg@10 and ndcg@100.
    """
    shown, table = shown_items(dataset.catalogue, dataset.domain), model.item_table()
    top, size = [], max(1, min(_BATCH, _CELLS // len(shown)))
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        padded = np.concatenate([part, np.repeat(part[:1], size - len(part))])  # one shape, one graph
        history = History(*map(tf.constant, histories(dataset.interactions, queries, padded, max_history)))
        asked = tf.constant(queries.time[padded], tf.int64)
        allowed = answerable(dataset, queries, padded, shown)
        top.append(_top(model, table, history, asked, tf.constant(allowed)).numpy()[: len(part)])
    top = np.concatenate(top)
    parts = [queries.relevant[queries.offsets[row] : queries.offsets[row + 1]] for row in rows]
    relevant, offsets = np.concatenate(parts), np.cumsum([0, *map(len, parts)])
    return {
        "recall@100": float(metrics.recall(top, relevant, offsets, 100).mean()),
        "ndcg@10": float(metrics.ndcg(top, relevant, offsets, 10).mean()),
        "ndcg@100": float(metrics.ndcg(top, relevant, offsets, 100).mean()),
    }


@tf.function(reduce_retracing=True)
def _top(model: TwoTowers, table: tf.Tensor, history: History, asked: tf.Tensor, allowed: tf.Tensor) -> tf.Tensor:
    """The 100 best items of each history that it may be given: [B, 100]."""
    return exact_top_k(tf.matmul(model.query(history, asked), table, transpose_b=True), allowed, 100)[0]


def _empty_history() -> History:
    zeros = tf.zeros([1, 1], tf.int32)
    return History(zeros, zeros, tf.zeros([1, 1], tf.int64))
