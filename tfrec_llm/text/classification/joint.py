"""Encoder and heads trained together, from the heads that `fit` made on frozen vectors."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfrec_llm import training
from tfrec_llm.config import Config, Text
from tfrec_llm.data.augmentation import AUGMENTATIONS, augment
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.classification.answers import best_cuts, decided
from tfrec_llm.text.classification.batches import LabelledTexts, batches
from tfrec_llm.text.classification.classifier import MultiTaskModel, optimizer
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import FILES, OWN, Task
from tfrec_llm.text.encoders.bulk import token_rows
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.finetuning import Finetuning
from tfrec_llm.text.judging.judge import measures
from tfrec_llm.training import Compute, Stage

log = logging.getLogger(__name__)
EQUAL_ROWS = 2  # passes that differ by the worth of so few validation rows count as equal (sign test: p = .25)
JUDGED = 2000  # validation texts that stop the training
MOST_REPEATS = 10  # of a row in one pass
LEAST_JUDGED = 30  # validation rows that a task needs to have a say in it, unless none has so many


def train_jointly(
    finetuning: Finetuning,
    heads: Mapping[str, Head],
    tasks: Sequence[Task],
    config: Config,
    stage: Stage,
    soft: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Trains the method's weights and the heads, in place; of the passes best by validation F1 the last stays.

    Args:
      finetuning: hung on the encoder.
      heads: task -> head, trained on vectors of the encoder as it was.
      tasks: what is learnt; a task without validation rows does not stop the training.
      config: sections train and text, and the seed.
      stage: where checkpoints and logs go.
      soft: task -> answers of a teacher to its rows [R, labels], as of `losses.distillation`.
    """
    text = config.text
    rows = LabelledTexts(tasks, "train", text.regularise.class_weights, soft)
    passes = _passes(len(rows), text)
    rows.repeat_own(repeats := own_repeats(len(rows), int(rows.own.sum()), text))
    steps = max(1, math.ceil(len(rows.shown) / text.joint_batch_size))
    supply = batches(rows, _tokens_by_pass(finetuning.encoder, rows.texts, config), text.joint_batch_size, config.seed)

    def build(choice: Compute) -> MultiTaskModel:
        rate = optimizer(finetuning.learning_rate, passes * steps)
        return MultiTaskModel(finetuning, heads, text.regularise, rate, config.seed, choice.jit_compile)

    compute = _choose_compute(build, finetuning, heads, next(iter(supply(0))), config)
    with training.precision(compute), training.make_strategy(config.train).scope():
        model = build(compute)
    judge, judged = _validation(model, finetuning.encoder, tasks, config, repeats)
    training.fit(
        model,
        supply,
        stage=stage,
        epochs=passes,
        validate=judge,
        monitor="f1",
        slack=EQUAL_ROWS / judged,
        patience=text.regularise.patience,
        weight_average=text.regularise.weight_average,
        seed=config.seed,
    )


def _passes(count: int, text: Text) -> int:
    """Passes over so many rows: few rows get more."""
    steps = max(1, math.ceil(count / text.joint_batch_size))
    return max(text.joint_epochs, math.ceil(text.joint_min_steps / steps))


def own_repeats(count: int, own: int, text: Text) -> int:
    """How often a pass shows each row of the user's own file.

    Beside larger corpora a small file would be seen in a few passes only; it is repeated, so that it is seen about as
    often as if it were alone.

    Args:
      count: all rows.
      own: those of the file; without any nothing is repeated.
      text: `joint_epochs`, `joint_min_steps` and `joint_batch_size`.
    """
    return min(MOST_REPEATS, max(1, round(_passes(own, text) / _passes(count, text)))) if own else 1


def _choose_compute(
    build: Callable, finetuning: Finetuning, heads: Mapping[str, Head], batch: Mapping, config: Config
) -> Compute:
    """Measures training steps, then puts the weights that they moved back."""
    moved = [*finetuning.variables, *(v for head in heads.values() for v in head.variables)]
    before = [variable.numpy() for variable in moved]
    settings = config.train
    if settings.xla == "auto" and not tf.config.list_physical_devices("GPU"):
        settings = replace(settings, xla="off")  # on a CPU it compiles each length anew, longer than it saves
    label = f"text {config.text.encoder.name} {finetuning.name} {config.text.regularise}"
    compute = training.choose_compute(build, batch, settings, stage=label)
    for variable, value in zip(moved, before, strict=True):
        variable.assign(value)
    return compute


def _tokens_by_pass(encoder: TextEncoder, texts: list[str], config: Config) -> Callable[[int], Sequence[np.ndarray]]:
    """Token ids of the training texts: always the same, or of texts changed anew in each pass."""
    plain = token_rows(encoder, texts, "query", config.text.max_tokens)
    settings = config.text.augment
    if not any(getattr(settings, name) for name in AUGMENTATIONS):
        return lambda number: plain
    languages = [language_of(text) for text in texts]

    def changed(number: int) -> Sequence[np.ndarray]:
        draw = np.random.default_rng([config.seed, number, 1])
        return token_rows(encoder, augment(texts, languages, settings, draw), "query", config.text.max_tokens)

    return changed


def _validation(
    model: MultiTaskModel, encoder: TextEncoder, tasks: Sequence[Task], config: Config, repeats: int
) -> tuple[Callable[[], dict[str, float]], int]:
    """Judges the model by the F1 of validation texts, task by task: the measure that is published.

    A task counts by its training rows as a pass shows them, the user's own `repeats` times: one that was cut down to
    ten rows may still have hundreds to validate, and would choose the pass for all. Tasks with few validation rows
    have no say. The likelihood, even at the best temperature, prefers early passes, in which no row is wrong and sure
    of it, to later ones that answer more rows rightly.

    Returns:
      The judge, and how many texts it asks.
    """
    enough = [task for task in tasks if (task.split == "validation").sum() >= LEAST_JUDGED]
    shares = {task.name: shown_rows(task, repeats) for task in enough or tasks}
    held = LabelledTexts(enough or tasks, "validation", class_weights=False)
    rows = held if len(held) else LabelledTexts(tasks, "train", class_weights=False)
    keep = np.random.default_rng(config.seed).permutation(len(rows))[:JUDGED]
    ids = token_rows(encoder, [rows.texts[i] for i in keep], "query", config.text.max_tokens)
    order = np.argsort([len(row) for row in ids], kind="stable")
    targets, by_name = {name: values[keep[order]] for name, values in rows.targets.items()}, {t.name: t for t in tasks}

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.int32, 1)])
    def answer(tokens: tf.RaggedTensor) -> dict[str, tf.Tensor]:
        dense = tokens.to_tensor()
        return model({"ids": dense, "mask": tf.sequence_mask(tokens.row_lengths(), tf.shape(dense)[1])})

    def judge() -> dict[str, float]:
        size = config.text.batch_size
        groups = [[ids[i] for i in order[start : start + size]] for start in range(0, len(order), size)]
        parts = [answer(tf.ragged.constant(group, dtype=tf.int32)) for group in groups]
        logits = {name: np.concatenate([part[name].numpy() for part in parts]) for name in targets}
        found = {name: published_f1(by_name[name], targets[name], logits[name]) for name in targets}
        found = {name: value for name, value in found.items() if value is not None}
        return {"f1": float(np.average(list(found.values()), weights=[shares[name] for name in found]))}

    return judge, len(ids)


def shown_rows(task: Task, repeats: int) -> int:
    """How many training rows of a task a pass shows, where it shows those of the user's own file so many times."""
    train = task.split == "train"
    return int(train.sum()) + (repeats - 1) * int((train & np.isin(task.corpus, (FILES, OWN))).sum())


def published_f1(task: Task, targets: np.ndarray, logits: np.ndarray) -> float | None:
    """Macro-F1, of multi-label rows micro-F1.

    Args:
      task: what is judged.
      targets: [R] or [R, labels], -1 in rows without a label.
      logits: [R, labels].

    Returns:
      The F1 over the rows that have a label; None without any.
    """
    known = targets.max(-1) >= 0 if task.multi_label else targets >= 0
    if not known.any():
        return None
    if task.multi_label:
        stated, held = tf.sigmoid(logits[known].astype(np.float32)).numpy(), targets[known] > 0
        return measures(task)["micro_f1"](held, decided(stated, best_cuts(stated, held)))
    return measures(task)["macro_f1"](targets[known], logits[known].argmax(-1))
