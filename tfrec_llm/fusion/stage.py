"""The stage `fusion`: learns, on half B, the context that tells the true next item from the other candidates."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config
from tfrec_llm.fusion.fusions import build_fusion
from tfrec_llm.fusion.scorer import ContextScorer
from tfrec_llm.training import (
    Compute,
    Stage,
    choose_compute,
    files,
    fit,
    load_weights,
    make_strategy,
    precision,
    save_weights,
    write_projector,
)
from tfrec_llm.types import Candidates, Modalities, Rows

_log = logging.getLogger(__name__)


class Examples(NamedTuple):
    """Rows that fusion can learn from, as arrays."""

    modalities: Modalities  # name -> (values [R, *], present [R] bool)
    candidates: Candidates  # [R, K]
    label: np.ndarray  # [R, K] float32, uniform over the right answers


def train(config: Config, rows: Rows, stage: Stage) -> dict[str, dict]:
    """Trains the fusion of the config by a softmax over the K candidates.

    Args:
      config: `fusion`, `train` and `seed` are read.
      rows: [R] rows; those without a right answer among their candidates are skipped and counted.
      stage: where the results go: fusion.json, weights.npz, metrics.json.

    Returns:
      Metric key -> entry: mean log likelihood on the stopping rows, and the share of rows skipped.

    Raises:
      ValueError: no row to learn from, or values that are not finite.
    """
    training, stopping, skipped = _examples(rows)
    widths = {name: values.shape[1] for name, (values, _) in training.modalities.items()}
    size = min(config.fusion.batch_size, len(training.label))

    def build(compute: Compute) -> ContextScorer:
        with make_strategy(config.train).scope():
            fusion = build_fusion(config.fusion.layer, widths, config.seed)
            scorer = ContextScorer(fusion, training.candidates.features.shape[2], config.seed)
            scorer.adapt(training.modalities, training.candidates)
            loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
            optimizer = tf.keras.optimizers.Adam(config.fusion.learning_rate)
            scorer.compile(optimizer, loss, jit_compile=compute.jit_compile)
        return scorer

    passes = _passes(training, size, config.seed)
    compute = choose_compute(build, next(iter(passes(0))), config.train, stage="fusion")
    with precision(compute):
        scorer = build(compute)
    judge = (lambda: {"log_likelihood": log_likelihood(scorer, stopping)}) if len(stopping.label) else None
    fit(
        scorer, passes, stage=stage, epochs=config.fusion.epochs, validate=judge, monitor="log_likelihood",
        patience=config.fusion.patience, seed=config.seed,
    )  # fmt: skip
    save(scorer.fusion, config, stage.folder)
    _project(scorer.fusion, stopping, stage)
    metrics = _metrics(scorer, stopping, skipped, len(rows.stop))
    files.write_json(stage.folder / "metrics.json", metrics)
    return metrics


def save(fusion: tf.keras.Model, config: Config, folder: Path) -> None:
    """Writes a fusion: what it was built for, and its weights."""
    files.write_json(folder / "fusion.json", {"name": config.fusion.layer.name, "widths": fusion.widths})
    save_weights(fusion, folder / "weights.npz")


def load(config: Config, folder: str | Path) -> tf.keras.Model:
    """Reads the fusion that `train` left; it computes in float32.

    Args:
      config: its `fusion.layer` must be the one trained.
      folder: the stage's folder.

    Returns:
      A model: modalities -> context [B, C].

    Raises:
      ValueError: files are missing or do not fit the config.
    """
    written = files.read_json(Path(folder) / "fusion.json")
    if written.get("name") != config.fusion.layer.name or "widths" not in written:
        raise ValueError(
            f"{folder}: expected the fusion {config.fusion.layer.name!r} of this config, got {written.get('name')!r}; "
            "build it again with: make train STAGE=fusion"
        )
    widths = written["widths"]
    with precision(Compute("float32", jit_compile=False)):
        fusion = build_fusion(config.fusion.layer, widths)
        fusion({name: (tf.zeros([1, width]), tf.zeros([1], tf.bool)) for name, width in widths.items()})
    load_weights(fusion, Path(folder) / "weights.npz")
    return fusion


def contexts(fusion: tf.keras.Model, rows: Rows, batch_size: int = 1024) -> np.ndarray:
    """[R, C] contexts of the rows' modalities."""
    run, count = tf.function(fusion, reduce_retracing=True), len(rows.stop)
    parts = [run(_taken(dict(rows.modalities), slice(i, i + batch_size))) for i in range(0, count, batch_size)]
    return np.concatenate(parts) if parts else np.zeros((0, fusion.dim), np.float32)


def log_likelihood(scorer: ContextScorer, examples: Examples, batch_size: int = 1024) -> float:
    """Mean log probability of the right answers, shared equally between several."""
    total = 0.0
    for i in range(0, len(examples.label), batch_size):
        part = _taken(examples, slice(i, i + batch_size))
        logits = scorer((part.modalities, part.candidates))
        total -= float(tf.reduce_sum(tf.nn.softmax_cross_entropy_with_logits(part.label, logits)))
    return total / len(examples.label)


def _examples(rows: Rows) -> tuple[Examples, Examples, int]:
    """Training and stopping rows that have a right answer, and how many have none."""
    _check(rows)
    right = np.asarray(rows.target) & np.asarray(rows.candidates.allowed)
    counts, stop = right.sum(axis=1), np.asarray(rows.stop)
    skipped = int((counts == 0).sum())
    _log.info("fusion: %d of %d rows skipped: the true next item is no candidate", skipped, len(stop))
    if not (counts[~stop] > 0).any():
        raise ValueError(
            f"fusion: expected rows with the true next item among their candidates, got none in {(~stop).sum()}; "
            "raise retrieval.candidates, or, if users take the same items again, set repeat = true in the domain TOML."
        )
    label = (right / np.maximum(counts, 1)[:, None]).astype(np.float32)
    every = Examples(dict(rows.modalities), rows.candidates, label)
    training, stopping = (_taken(every, np.flatnonzero((counts > 0) & part)) for part in (~stop, stop))
    return training, stopping, skipped


def _check(rows: Rows) -> None:
    named = {name: values for name, (values, _) in rows.modalities.items()}
    for name, values in {**named, "candidate features": rows.candidates.features}.items():
        bad = ~np.isfinite(np.asarray(values)).reshape(len(values), -1).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{name}: expected finite values, got others in {bad.sum()} rows, the first {np.argmax(bad)}; "
                "train the stage that they come from again."
            )


def _passes(examples: Examples, size: int, seed: int) -> Callable[[int], tf.data.Dataset]:
    """A pass's number -> its batches, in an order that seed and number decide."""
    tensors = tf.nest.map_structure(tf.constant, examples)

    def batch(chosen: tf.Tensor) -> tuple:
        part = tf.nest.map_structure(lambda values: tf.gather(values, chosen), tensors)
        return (part.modalities, part.candidates), part.label

    def one_pass(number: int) -> tf.data.Dataset:
        order = np.random.default_rng([seed, number]).permutation(len(examples.label))
        return tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True).map(batch).prefetch(1)

    return one_pass


def _taken(examples: Examples | Modalities, chosen: np.ndarray | slice) -> Examples | Modalities:
    return tf.nest.map_structure(lambda values: np.asarray(values)[chosen], examples)


def _metrics(scorer: ContextScorer, stopping: Examples, skipped: int, count: int) -> dict[str, dict]:
    share = {"value": skipped / count, "ci95": None, "over": "users", "n": count, "split": "validation"}
    metrics = {"fusion.rows.skipped_share": share}
    if len(stopping.label):
        value = {"value": log_likelihood(scorer, stopping), "n": len(stopping.label)}
        metrics["fusion.context.log_likelihood"] = {**share, **value}
    return metrics


def _project(fusion: tf.keras.Model, stopping: Examples, stage: Stage) -> None:
    """Contexts of the stopping rows, for TensorBoard's projector, labelled by what each row has."""
    if len(stopping.label):
        labels = {name: present for name, (_, present) in stopping.modalities.items()}
        labels["rank of the next item"] = stopping.label.argmax(axis=1)
        write_projector(stage.logs, "contexts", fusion(stopping.modalities).numpy(), labels)
