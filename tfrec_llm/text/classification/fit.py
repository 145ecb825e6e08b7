"""One head trained on frozen vectors. Used by `train` and wherever vectors are classified."""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfrec_llm import training
from tfrec_llm.config import Config, Regularise
from tfrec_llm.text.classification.answers import Answers, negative_log_likelihood
from tfrec_llm.text.classification.ensemble import Ensemble
from tfrec_llm.text.classification.few import few, fit_few
from tfrec_llm.text.classification.heads import Head, HeadModel, row_weights
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.training import Compute, Stage

log = logging.getLogger(__name__)
BATCH = (16, 256)  # rows per step, at least and at most
STEPS = 20  # of a pass, unless few or many rows say otherwise: 77 labels with 8 rows each are not learnt in 3 steps
SEED_STEP = 1009  # between the members of an ensemble


def fit_answers(
    task: Task, embeddings: np.ndarray, config: Config, stage: Stage, soft: np.ndarray | None = None
) -> Answers:
    """Trains one head, or the heads of an ensemble that is not distilled; arguments as of `fit_head`."""
    members = served_members(config.text.regularise)
    if members == 1:
        return fit_head(task, embeddings, config, stage, soft)
    heads = [
        fit_head(task, embeddings, member_config(config, number), stage_part(stage, f"member_{number + 1}"), soft)
        for number in range(members)
    ]
    ensemble = Ensemble(heads)
    calibrate_head(ensemble, task, embeddings, config.text.none_share)
    return ensemble


def served_members(regularise: Regularise) -> int:
    """How many heads of a task are served."""
    return 1 if regularise.distil else regularise.ensemble


def member_config(config: Config, number: int) -> Config:
    """The config of one member of an ensemble, counted from 0: another seed."""
    return replace(config, seed=config.seed + SEED_STEP * (number + 1))


def fit_head(task: Task, embeddings: np.ndarray, config: Config, stage: Stage, soft: np.ndarray | None = None) -> Head:
    """Trains one head; validation rows stop it and set its temperature. Few rows are learnt by `few.fit_few`.

    Args:
      task: the rows.
      embeddings: [R, D], one per row.
      config: sections train and text, and the seed.
      stage: checkpoints go to `stage.work / <task>`, logs to `stage.logs / <task>`.
      soft: [R, labels] answers of a teacher, as of `losses.distillation`; -1 in rows that it was not asked.
    """
    if soft is None and few(task, config.text):
        return fit_few(task, embeddings, config.text, config.seed)
    train, held = task.split == "train", task.split == "validation"
    if not held.any():  # too few rows to hold some out
        held = train
    batches = _batches(task, embeddings, train, config, soft)
    compute = training.choose_compute(
        lambda choice: _model(task, embeddings, config, choice),
        next(iter(batches(0))),
        replace(config.train, precision="float32"),  # a head is too small to gain by less
        stage="text head",
    )
    model = _model(task, embeddings, config, compute)
    _start_from(training.find_origin(config.train), model.head, task, config)

    def validate() -> dict[str, float]:
        logits = model.head(tf.constant(embeddings[held])).numpy()
        return {"log_likelihood": -negative_log_likelihood(logits, task.targets[held], task.multi_label)}

    training.fit(
        model,
        batches,
        stage=stage_part(stage, task.name),
        epochs=config.text.epochs,
        validate=validate,
        monitor="log_likelihood",
        patience=config.text.regularise.patience,
        weight_average=config.text.regularise.weight_average,
        seed=config.seed,
    )
    calibrate_head(model.head, task, embeddings, config.text.none_share)
    return model.head


def calibrate_head(head: Answers, task: Task, embeddings: np.ndarray, none_share: float = 0.0) -> None:
    """Sets temperature and threshold on the validation rows, or on the training rows where there are none.

    Args:
      head: trained.
      task: the rows.
      embeddings: [R, D], one per row.
      none_share: of these rows that may count as having none of the labels, where they are single intents.
    """
    held = task.split == "validation"
    rows = held if held.any() else task.split == "train"
    single_intent = task.label == "intent" and not task.multi_label
    head.calibrate(embeddings[rows], task.targets[rows], none_share if single_intent else 0.0)


def _model(task: Task, embeddings: np.ndarray, config: Config, compute: Compute) -> HeadModel:
    text, size = config.text, len(task.labels)
    head = Head(embeddings.shape[1], size, text.hidden, text.dropout, task.multi_label, config.seed)
    head.standardise(embeddings[task.split == "train"])
    return HeadModel(head, text.learning_rate, compute.jit_compile, text.regularise, config.seed)


def _start_from(origin: training.Origin | None, head: Head, task: Task, config: Config) -> None:
    """Takes the head of another run that reads the same vectors and has the same labels."""
    if origin is not None and origin.same_encoder(config) and origin.labels(task.name) == list(task.labels):
        own = ("temperature", "threshold", "cuts")
        origin.carry(head, f"text/heads/{task.name}.npz", own, f"text head {task.name}")


def _batches(
    task: Task, embeddings: np.ndarray, rows: np.ndarray, config: Config, soft: np.ndarray | None
) -> Callable[[int], tf.data.Dataset]:
    """Pass number -> (embedding, target, row weight), and a teacher's answers, in an order of its own."""
    embeddings, targets = embeddings[rows], task.targets[rows]
    size = int(np.clip(len(targets) // STEPS, *BATCH))
    weights = np.ones(len(targets), np.float32)
    if task.multi_label:
        targets = targets.astype(np.float32)
    elif config.text.regularise.class_weights:
        weights = row_weights(targets, len(task.labels))

    def one_pass(number: int) -> tf.data.Dataset:
        order = np.random.default_rng([config.seed, number]).permutation(len(targets))
        columns = (embeddings[order], targets[order], weights[order])
        columns += () if soft is None else (soft[rows][order],)
        return tf.data.Dataset.from_tensor_slices(columns).batch(size).prefetch(1)

    return one_pass


def stage_part(stage: Stage, name: str) -> Stage:
    """The same stage with folders of its own for checkpoints and logs."""
    work, logs = stage.work / name, stage.logs / name
    work.mkdir(parents=True, exist_ok=True)
    return stage._replace(name=f"{stage.name} {name}", work=work, logs=logs)
