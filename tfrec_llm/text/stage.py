"""The text stage: heads on the encoder's vectors, the encoder itself where it is fine-tuned, item vectors."""

import functools
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec_llm import data, training
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.chosen import chosen_rows
from tfrec_llm.text.classification.few import learns_validation
from tfrec_llm.text.classification.fit import fit_head, stage_part
from tfrec_llm.text.classification.heads import undecided
from tfrec_llm.text.classification.tasks import TASK_LABELS, Task, main_labels, make_tasks, shared_labels
from tfrec_llm.text.classification.weak import weak_agreement, with_weak_rows
from tfrec_llm.text.encoders.bulk import encode_queries
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.items import item_vectors
from tfrec_llm.text.judging.judge import Figures, judge_head
from tfrec_llm.text.judging.robust import robustness_figures
from tfrec_llm.text.judging.tfidf import tfidf_figures
from tfrec_llm.text.judging.unseen import measured, stranger_figures, unseen_figures, without_held_back
from tfrec_llm.text.languages import language_axes
from tfrec_llm.text.learning import learn, rows_of, teach, text_vectors
from tfrec_llm.text.little.sampling import few_rows
from tfrec_llm.text.little.steps import list_to_label, unlabelled_texts
from tfrec_llm.text.model import ENCODER, build_encoder
from tfrec_llm.text.slots import write_slots
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
    text = config.text
    made = chosen_rows(make_tasks(_corpora(config, dataset), dataset.domain, text, config.seed), text)
    few = [few_rows(task, text.little.examples_per_label, config.seed) for task in made]
    unlabelled = unlabelled_texts(config, made, few)
    whole = with_weak_rows(few, text, config.seed)
    tasks = without_held_back(whole, config.seed) if text.unseen_intents else whole
    with training.make_strategy(config.train).scope():
        encoder, finetuning = build_encoder(config)
    encode, main = functools.partial(encode_queries, encoder, config), main_labels(whole)
    soft, figures = teach(tasks, unlabelled, main, config, stage)
    heads = learn(finetuning, tasks, unlabelled, config, stage, soft)
    figures["text.trained_share"] = _figure(finetuning.share)
    figures["text.heads_share"] = _figure(_heads_share(heads, encoder))
    vectors = text_vectors(encode, whole)
    figures |= _judged(tasks, heads, vectors, main, config)
    figures |= _unseen(whole, heads, vectors, main, config, stage)
    figures |= stranger_figures(tasks, heads, vectors, main)
    figures |= robustness_figures(tasks, heads, encode, main, config.seed) if text.robustness else {}
    list_to_label(tasks, heads, unlabelled, encode, config, stage)
    _write_items(encoder, dataset, config, stage)
    figures |= write_slots(encoder, dataset, config, stage)
    figures |= weak_agreement(tasks, vectors, heads, config.text.corpora)
    labels = {task.name: _about(task, heads[task.name]) for task in tasks}
    for name in set(TASK_LABELS) - set(heads):
        log.warning("text: no corpus has labels for %s: its head says that all of them are equally likely.", name)
        labels[name] = {"labels": list(shared_labels(name, dataset.domain)), "multi_label": False, "members": 1}
        heads[name] = undecided(encoder.dim, len(labels[name]["labels"]), config.text.hidden)
    (stage.folder / "heads").mkdir(exist_ok=True)
    for name, head in heads.items():
        training.save_weights(head, stage.folder / "heads" / f"{name}.npz")
    files.write_json(stage.folder / "labels.json", {**labels, ENCODER: encoder.fingerprint})
    files.write_json(stage.folder / "metrics.json", figures)
    return figures


def _about(task: Task, head: Answers) -> dict[str, Any]:
    """What a reader of a head must know."""
    members = getattr(head, "members", [head])
    hidden = members[0].hidden[0].shape[1] if members[0].hidden else 0
    return {"labels": list(task.labels), "multi_label": task.multi_label, "members": len(members), "hidden": hidden}


def _judged(
    tasks: list[Task],
    heads: dict[str, Answers],
    vectors: dict[str, np.ndarray],
    main: dict[str, str],
    config: Config,
) -> Figures:
    """Figures of the heads on each corpus, and of TF-IDF beside them."""
    figures: Figures = {}
    for task in tasks:
        figures |= judge_head(task, rows_of(task, vectors), heads[task.name], main, config.seed)
    if not config.text.tfidf:
        return figures
    refitted = {task.name for task in tasks if learns_validation(task, config.text)}
    return figures | tfidf_figures(tasks, main, config.seed, refitted)


def _unseen(
    tasks: list[Task],
    heads: dict[str, Answers],
    vectors: dict[str, np.ndarray],
    main: dict[str, str],
    config: Config,
    stage: Stage,
) -> Figures:
    """How well "none" is told: by the heads themselves, where they learnt not all intents, or by others that did not.

    A fine-tuned encoder has learnt from all of them, so that other heads on its vectors would prove nothing. Those
    others are without self-training, as `judging.unseen` says.
    """
    if not config.text.unseen_intents:
        if config.text.finetuning.name != "frozen":
            return {}
        part = stage_part(stage, "unseen")
        heads = {
            task.name: fit_head(task, rows_of(task, vectors), config, part) for task in measured(tasks, config.seed)
        }
    return unseen_figures(tasks, heads, vectors, main, config.seed)


def _write_items(encoder: TextEncoder, dataset: Dataset, config: Config, stage: Stage) -> None:
    items = item_vectors(encoder, dataset.catalogue, config.text)
    axes = language_axes(encoder, dataset.domain, dataset.catalogue, items.text, config)
    stored = {"text": items.text, "present": items.present, "language_axes": axes}
    files.write_npz(stage.folder / "item_vectors.npz", stored)
    rows = np.flatnonzero(items.present[:, 0])
    training.write_projector(stage.logs, "items", items.text[rows], [dataset.catalogue.titles[row] for row in rows])


def _heads_share(heads: Mapping[str, Answers], encoder: TextEncoder) -> float:
    """Weights of the heads, as a share of the encoder's weights outside its embedding tables."""
    trained = sum(v.shape.num_elements() for head in heads.values() for v in head.trainable_variables)
    return trained / encoder.num_transformer_weights


def _figure(value: float) -> dict[str, Any]:
    return {"value": value, "ci95": None, "over": "seeds", "n": 1, "split": "train"}


def _corpora(config: Config, dataset: Dataset) -> list[Utterances]:
    """The domain's sentences, the corpora of the config, and the user's own labelled file."""
    corpora = [data.domain_utterances(dataset, config.text.domain_rows, config.seed)]
    unknown = [name for name in config.text.corpora if name not in data.CORPORA]
    if unknown:
        raise ConfigError(f"text.corpora: expected names among {', '.join(data.CORPORA)}, got {', '.join(unknown)}.")
    corpora += [data.CORPORA[name](config.seed) for name in config.text.corpora]
    return [*corpora, data.read_utterances(config.data)] if config.data.utterances else corpora
