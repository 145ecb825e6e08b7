"""The text stage: heads on the encoder's vectors, the encoder itself where it is fine-tuned, item vectors."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfrec_llm import data, training
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.text.bulk import encode_texts
from tfrec_llm.text.chosen import chosen_rows
from tfrec_llm.text.copies import with_copies
from tfrec_llm.text.encoder import TextEncoder
from tfrec_llm.text.finetuning import Finetuning
from tfrec_llm.text.fit import calibrate_head, fit_head, stage_part
from tfrec_llm.text.heads import Head, undecided
from tfrec_llm.text.items import item_vectors
from tfrec_llm.text.joint import train_jointly
from tfrec_llm.text.judging import judge_head
from tfrec_llm.text.languages import language_axes
from tfrec_llm.text.little.sampling import few_rows
from tfrec_llm.text.little.steps import learn_from_unlabelled, list_to_label, prepare_encoder, unlabelled_texts
from tfrec_llm.text.model import FINETUNED, build_encoder, serve_finetuned
from tfrec_llm.text.robust import robustness_figures
from tfrec_llm.text.slots import write_slots
from tfrec_llm.text.tasks import TASK_LABELS, Task, main_labels, make_tasks, shared_labels
from tfrec_llm.text.tfidf import tfidf_figures
from tfrec_llm.text.weak import weak_agreement, with_weak_rows
from tfrec_llm.training import Stage, files
from tfrec_llm.types import Dataset, Utterances

log = logging.getLogger(__name__)


def train(config: Config, dataset: Dataset, stage: Stage) -> dict[str, dict[str, Any]]:
    """Trains the heads and encodes the items.

    Args:
      config: sections data, train and text, and the seed.
      dataset: catalogue and domain.
      stage: where results, checkpoints and TensorBoard logs go.

    Returns:
      Metric key -> {"value", "ci95", "over", "n", "split"}, also written as `metrics.json`.
    """
    text, unlabelled = config.text, unlabelled_texts(config)
    made = chosen_rows(make_tasks(_corpora(config, dataset), dataset.domain, text, config.seed), text)
    few = [few_rows(task, text.little.examples_per_label, config.seed) for task in made]
    tasks = with_weak_rows(few, text, config.seed)
    with training.make_strategy(config.train).scope():
        encoder, finetuning = build_encoder(config)
    encode, main, figures = functools.partial(_encode, encoder, config), main_labels(tasks), {}
    heads = _learn(finetuning, tasks, unlabelled, config, stage)
    if finetuning.variables:
        figures["text.trained_share"] = _figure(finetuning.share)
    vectors = _vectors(encode, tasks)
    for task in tasks:
        figures |= judge_head(task, _of(task, vectors), heads[task.name], main, config.seed)
    figures |= tfidf_figures(tasks, main, config.seed) if text.tfidf else {}
    figures |= robustness_figures(tasks, heads, encode, main, config.seed) if text.robustness else {}
    list_to_label(tasks, heads, unlabelled, encode, config, stage)
    _write_items(encoder, dataset, config, stage)
    figures |= write_slots(encoder, dataset, config, stage)
    figures |= weak_agreement(tasks, vectors, heads, config.text.corpora)
    figures.setdefault("text.trained_share", _figure(_trained_share(heads, encoder)))
    labels = {task.name: {"labels": list(task.labels), "multi_label": task.multi_label} for task in tasks}
    for name in set(TASK_LABELS) - set(heads):
        log.warning("text: no corpus has labels for %s: its head says that all of them are equally likely.", name)
        labels[name] = {"labels": list(shared_labels(name, dataset.domain)), "multi_label": False}
        heads[name] = undecided(encoder.dim, len(labels[name]["labels"]), config.text.hidden)
    (stage.folder / "heads").mkdir(exist_ok=True)
    for name, head in heads.items():
        training.save_weights(head, stage.folder / "heads" / f"{name}.npz")
    files.write_json(stage.folder / "labels.json", labels)
    files.write_json(stage.folder / "metrics.json", figures)
    return figures


def _learn(
    finetuning: Finetuning, tasks: list[Task], unlabelled: list[str], config: Config, stage: Stage
) -> dict[str, Head]:
    """Encoder, in place, and heads, by what the config switches on: contrast, heads, both together, self-training."""
    encoder, encode = finetuning.encoder, functools.partial(_encode, finetuning.encoder, config)
    plain, joint = encoder.fingerprint, bool(finetuning.variables) and config.text.little.few_shot == "none"
    prepare_encoder(finetuning, tasks, unlabelled, config, stage)
    rows = tasks if joint else [with_copies(task, config) for task in tasks]
    vectors = _vectors(encode, rows)
    heads = {task.name: fit_head(task, _of(task, vectors), config, stage) for task in rows}
    if joint:
        train_jointly(finetuning, heads, tasks, config, stage_part(stage, "joint"))
    if finetuning.variables:
        finetuning.save(stage.folder / FINETUNED)
        encoder.fingerprint = plain
        serve_finetuned(encoder, finetuning, stage.folder)
        vectors = _vectors(encode, tasks)
        for task in tasks:
            calibrate_head(heads[task.name], task, _of(task, vectors))
    return learn_from_unlabelled(tasks, heads, unlabelled, encode, config, stage)


def _write_items(encoder: TextEncoder, dataset: Dataset, config: Config, stage: Stage) -> None:
    items = item_vectors(encoder, dataset.catalogue, config.text)
    axes = language_axes(encoder, dataset.domain, dataset.catalogue, items.text, config)
    stored = {"text": items.text, "present": items.present, "language_axes": axes}
    files.write_npz(stage.folder / "item_vectors.npz", stored)
    rows = np.flatnonzero(items.present[:, 0])
    training.write_projector(stage.logs, "items", items.text[rows], [dataset.catalogue.titles[row] for row in rows])


def _trained_share(heads: dict[str, Head], encoder: TextEncoder) -> float:
    """Weights trained where the encoder is frozen, as a share of all weights outside the embedding tables."""
    trained = sum(v.shape.num_elements() for head in heads.values() for v in head.trainable_variables)
    return trained / (trained + encoder.num_transformer_weights)


def _figure(value: float) -> dict[str, Any]:
    return {"value": value, "ci95": None, "over": "seeds", "n": 1, "split": "train"}


def _of(task: Task, vectors: dict[str, np.ndarray]) -> np.ndarray:
    """[R, D] the vectors of a task's texts."""
    return np.stack([vectors[str(text)] for text in task.texts])


def _corpora(config: Config, dataset: Dataset) -> list[Utterances]:
    """The domain's sentences, the corpora of the config, and the user's own labelled file."""
    corpora = [data.domain_utterances(dataset, config.text.domain_rows, config.seed)]
    unknown = [name for name in config.text.corpora if name not in data.CORPORA]
    if unknown:
        raise ConfigError(f"text.corpora: expected names among {', '.join(data.CORPORA)}, got {', '.join(unknown)}.")
    corpora += [data.CORPORA[name](config.seed) for name in config.text.corpora]
    return [*corpora, data.read_utterances(config.data)] if config.data.utterances else corpora


def _vectors(encode: Callable[[list[str]], np.ndarray], tasks: list[Task]) -> dict[str, np.ndarray]:
    """Every distinct text of the tasks -> its vector."""
    texts = sorted({str(text) for task in tasks for text in task.texts})
    return dict(zip(texts, encode(texts), strict=True))


def _encode(encoder: TextEncoder, config: Config, texts: Sequence[str]) -> np.ndarray:
    """[R, D] vectors of texts as the encoder is now."""
    text = config.text
    return encode_texts(encoder, texts, "query", text.max_tokens, text.batch_size, text.precision, text.engine)
