"""What `train` trains: the encoder and its heads, and the ensemble that teaches them where one is distilled."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config, ConfigError
from tfrec_llm.text.classification.answers import Answers, best_cuts, decided
from tfrec_llm.text.classification.copies import with_copies
from tfrec_llm.text.classification.fit import calibrate_head, fit_answers, member_config, served_members, stage_part
from tfrec_llm.text.classification.joint import train_jointly
from tfrec_llm.text.classification.losses import SOFTENED
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.encoders.bulk import encode_queries
from tfrec_llm.text.finetuning import Finetuning
from tfrec_llm.text.judging.judge import Figures, judge_answers, test_rows
from tfrec_llm.text.little.steps import learn_from_unlabelled, prepare_encoder
from tfrec_llm.text.model import FINETUNED, build_encoder, serve_finetuned
from tfrec_llm.training import Stage, files

TAUGHT = "answers.npz"  # of one member to all rows, in its folder


def learn(
    finetuning: Finetuning,
    tasks: Sequence[Task],
    unlabelled: Sequence[str],
    config: Config,
    stage: Stage,
    soft: Mapping[str, np.ndarray],
) -> dict[str, Answers]:
    """Trains encoder and heads by what the config switches on: contrast, heads, both together, self-training.

    Args:
      finetuning: hung on the encoder, which is trained in place.
      tasks: what is learnt.
      unlabelled: texts without labels.
      config: sections train and text, and the seed.
      stage: where checkpoints, logs and the encoder's trained share go.
      soft: task -> a teacher's answers to its rows [R, labels], as of `teach`.

    Returns:
      Task -> what answers for it.
    """
    encoder, encode = finetuning.encoder, functools.partial(encode_queries, finetuning.encoder, config)
    plain, joint = encoder.fingerprint, bool(finetuning.variables) and config.text.little.few_shot == "none"
    prepare_encoder(finetuning, tasks, unlabelled, config, stage)
    still = not joint or config.text.little.self_training  # heads learn from vectors that stay as they are
    copied = [with_copies(task, config) for task in tasks] if still else tasks
    rows = tasks if joint else copied
    vectors = text_vectors(encode, rows)
    heads = {
        task.name: fit_answers(
            task, rows_of(task, vectors), config, stage, _padded(soft.get(task.name), len(task.texts))
        )
        for task in rows
    }
    if joint:
        train_jointly(finetuning, heads, tasks, config, stage_part(stage, "joint"), soft)
    if finetuning.variables:
        finetuning.save(stage.folder / FINETUNED)
        encoder.fingerprint = plain
        serve_finetuned(encoder, finetuning, stage.folder)
    if joint:
        _calibrate_again(tasks, heads, encode, config)
    return learn_from_unlabelled(copied, heads, unlabelled, encode, config, stage)


def _calibrate_again(tasks: Sequence[Task], heads: Mapping[str, Answers], encode: Callable, config: Config) -> None:
    """Temperatures and thresholds of heads that moved with the encoder, by validation rows.

    A head without any keeps what it had: how sure it is of the rows that it learnt says nothing of others.
    """
    held = [task for task in tasks if (task.split == "validation").any()]
    vectors = text_vectors(encode, held)
    for task in held:
        calibrate_head(heads[task.name], task, rows_of(task, vectors), config.text.none_share)


def teach(
    tasks: Sequence[Task], unlabelled: Sequence[str], main: Mapping[str, str], config: Config, stage: Stage
) -> tuple[dict[str, np.ndarray], Figures]:
    """Trains the members of an ensemble one after another, where one is to be distilled.

    Args:
      tasks, unlabelled, config, stage: as of `learn`.
      main: as of `judging.judge_head`.

    Returns:
      Task -> the mean of the members' softened answers [R, labels], and the figures of their averaged answers,
      `text.<corpus>.ensemble_<metric>`; both empty where nothing is distilled.

    Raises:
      ConfigError: an ensemble of fine-tuned encoders that is not distilled.
    """
    check_members(config)
    regularise = config.text.regularise
    if not regularise.distil or regularise.ensemble < 2:
        return {}, {}
    logits = [_member(number, tasks, unlabelled, config, stage) for number in range(regularise.ensemble)]
    soft, figures = {}, {}
    for task in tasks:
        members = [member[task.name] for member in logits]
        soft[task.name] = np.mean([_stated(member / SOFTENED, task) for member in members], 0)
        mean, held = np.mean([_stated(member, task) for member in members], 0), task.split == "validation"
        predicted = decided(mean, best_cuts(mean[held], task.targets[held]) if task.multi_label else None)
        for variant, rows in test_rows(task, main).items():
            for key, value in judge_answers(task, variant, rows, predicted[rows], config.seed).items():
                place, _, metric = key.rpartition(".")
                figures[f"{place}.ensemble_{metric}"] = value
    return soft, figures


def check_members(config: Config) -> None:
    """Refuses an ensemble that could not be served.

    Args:
      config: `text.finetuning` and `text.regularise` are read.

    Raises:
      ConfigError: an ensemble of fine-tuned encoders that is not distilled.
    """
    regularise = config.text.regularise
    if served_members(regularise) > 1 and config.text.finetuning.name != "frozen":
        raise ConfigError(
            "text.regularise: ensemble: expected 1 or distil = true with a fine-tuned encoder, since a served "
            f"utterance is encoded once, got {regularise.ensemble} and distil = false; set text.regularise.distil."
        )


def _member(
    number: int, tasks: Sequence[Task], unlabelled: Sequence[str], config: Config, stage: Stage
) -> dict[str, np.ndarray]:
    """Calibrated logits [R, labels] of one member by task; read, where it has been trained before."""
    part, single = stage_part(stage, f"teacher_{number + 1}"), replace(config.text.regularise, ensemble=1, distil=False)
    path = part.work / TAUGHT
    if path.exists():
        return files.read_npz(path)
    member = replace(member_config(config, number), text=replace(config.text, regularise=single))
    encoder, finetuning = build_encoder(member)
    heads = learn(finetuning, tasks, unlabelled, member, part._replace(folder=part.work), {})
    vectors, answers = text_vectors(functools.partial(encode_queries, encoder, member), tasks), {}
    for task in tasks:
        head = heads[task.name]
        answers[task.name] = (head(tf.constant(rows_of(task, vectors))) / head.temperature).numpy()
    files.write_npz(path, answers)
    return answers


def _stated(logits: np.ndarray, task: Task) -> np.ndarray:
    """Probabilities [R, labels] float32."""
    return (tf.sigmoid(logits) if task.multi_label else tf.nn.softmax(logits)).numpy()


def _padded(soft: np.ndarray | None, rows: int) -> np.ndarray | None:
    """A teacher's answers, and none to the rows that were added behind."""
    return None if soft is None else np.pad(soft, ((0, rows - len(soft)), (0, 0)), constant_values=-1)


def rows_of(task: Task, vectors: Mapping[str, np.ndarray]) -> np.ndarray:
    """[R, D] the vectors of a task's texts."""
    return np.stack([vectors[str(text)] for text in task.texts])


def text_vectors(encode: Callable[[list[str]], np.ndarray], tasks: Sequence[Task]) -> dict[str, np.ndarray]:
    """Every distinct text of the tasks -> its vector."""
    texts = sorted({str(text) for task in tasks for text in task.texts})
    return dict(zip(texts, encode(texts), strict=True))
