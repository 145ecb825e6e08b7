"""What `[text.little]` adds to the text stage: before the heads, after them, and the list of what to label next."""

import logging
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tfrec_llm import data
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.data.labels_file import AND
from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.fit import stage_part
from tfrec_llm.text.classification.tasks import DOMAIN, FILES, OWN, SERVED, Task
from tfrec_llm.text.classification.weak import WEAK
from tfrec_llm.text.finetuning import Finetuning
from tfrec_llm.text.little.contrast import adapt, few_shot
from tfrec_llm.text.little.sampling import left_out
from tfrec_llm.text.little.selection import most_worth_labelling, uncertainty, write_list
from tfrec_llm.text.little.self_training import self_train
from tfrec_llm.training import Stage

log = logging.getLogger(__name__)
TO_LABEL = "to_label.csv"
REST = "rest"  # text.little.unlabelled: the rows that examples_per_label leaves out
Encode = Callable[[Sequence[str]], np.ndarray]


def unlabelled_texts(config: Config, whole: Sequence[Task], few: Sequence[Task]) -> list[str]:
    """The texts of `text.little.unlabelled`; none where it is not set.

    Args:
      config: sections data and text.
      whole: the labelled rows.
      few: the same tasks with the rows that are learnt from.

    Raises:
      ConfigError: a switch that needs them is on.
    """
    little = config.text.little
    if little.unlabelled == REST:
        return left_out(chosen_tasks(whole), chosen_tasks(few))
    if little.unlabelled:
        return data.read_texts(little.unlabelled, config.data.columns)
    for name in ("self_training", "to_label"):
        if getattr(little, name):
            raise ConfigError(f"text.little.{name}: expected unlabelled texts, got none; set text.little.unlabelled.")
    return []


def prepare_encoder(
    finetuning: Finetuning, tasks: Sequence[Task], texts: Sequence[str], config: Config, stage: Stage
) -> None:
    """Trains the encoder by contrast, before there are heads: `adapt`, then `few_shot`, where they are on.

    Args:
      finetuning: hung on the encoder, whose fingerprint changes with it.
      tasks: the labelled rows.
      texts: without labels; `adapt` takes the texts of the training rows where there are none.
      config: section text, and the seed.
      stage: where checkpoints and logs go.
    """
    little, encoder = config.text.little, finetuning.encoder
    if little.adapt != "none":
        own = texts or [str(text) for task in tasks for text in task.texts[task.split == "train"]]
        adapt(encoder, finetuning, own, config, stage)
    if little.few_shot != "none":
        few_shot(encoder, finetuning, contrasted_tasks(tasks), config, stage)


def chosen_tasks(tasks: Sequence[Task]) -> list[Task]:
    """The tasks that learn from the user's own file; where none does, from any text that is no template; else all."""
    own = [task for task in tasks if FILES in task.corpus]
    return own or [task for task in tasks if set(task.corpus) - {DOMAIN, WEAK}] or list(tasks)


def contrasted_tasks(tasks: Sequence[Task]) -> list[Task]:
    """Those tasks, without the served ones that learn from copies of a corpus' rows.

    Several labels of the corpus may mean one served label: drawn together as that, they could not be told apart as what
    they are. The copies may be other rows too, where few are kept.
    """
    chosen = chosen_tasks(tasks)
    return [task for task in chosen if not any(str(corpus).endswith(SERVED) for corpus in set(task.corpus))] or chosen


def taught_tasks(tasks: Sequence[Task]) -> list[Task]:
    """Those tasks, and the served ones that learn from the user's own file: both are to know what it knows."""
    chosen = {task.name for task in chosen_tasks(tasks)}
    return [task for task in tasks if task.name in chosen or OWN in task.corpus]


def learn_from_unlabelled(
    tasks: Sequence[Task],
    heads: Mapping[str, Answers],
    texts: Sequence[str],
    encode: Encode,
    config: Config,
    stage: Stage,
) -> dict[str, Answers]:
    """Self-training of the heads of `taught_tasks`, where it is on.

    Args:
      tasks: the labelled rows, and changed copies of them as the heads got them.
      heads: task -> trained head.
      texts: without labels.
      encode: texts [R] -> embeddings [R, D] of the encoder as it will be served.
      config: section text, and the seed.
      stage: where checkpoints and logs go.

    Returns:
      Task -> head, new where it learnt.
    """
    result = dict(heads)
    if not config.text.little.self_training:
        return result
    vectors = encode(texts)
    for task in taught_tasks(tasks):
        rows, part = encode(task.texts.tolist()), stage_part(stage, f"self_training_{task.name}")
        result[task.name], count = self_train(task, rows, heads[task.name], texts, vectors, config, part)
        log.info("text: %s learnt from %d of %d texts without labels.", task.name, count, len(texts))
    return result


def list_to_label(
    tasks: Sequence[Task],
    heads: Mapping[str, Answers],
    texts: Sequence[str],
    encode: Encode,
    config: Config,
    stage: Stage,
) -> None:
    """Writes `to_label.csv` into the stage's folder, where `text.little.to_label` asks for it; arguments as above."""
    count = config.text.little.to_label
    if not count:
        return
    chosen = chosen_tasks(tasks)
    known = list(dict.fromkeys(str(text) for task in chosen for text in task.texts[task.split == "train"]))
    texts = [text for text in texts if text not in set(known)]
    if not texts:
        log.warning("text: all texts of %s have labels: nothing is listed to label.", config.text.little.unlabelled)
        return
    vectors, unsure, guesses = encode(texts), np.zeros(len(texts)), {}
    for task in chosen:
        probabilities = heads[task.name].probabilities(tf.constant(vectors)).numpy()
        unsure += uncertainty(probabilities, task.multi_label) / len(chosen)
        guesses[task.name] = [_guess(row, task) for row in heads[task.name].decisions(probabilities)]
    rows = most_worth_labelling(unsure, vectors, count, encode(known))
    write_list(stage.folder / TO_LABEL, texts, rows, unsure, guesses)
    log.info("text: %d texts to label next are listed in %s.", len(rows), TO_LABEL)


def _guess(decision: np.ndarray, task: Task) -> str:
    """The label that was decided for; all of them, where several may hold, as a cell of the user's file says them."""
    if not task.multi_label:
        return task.labels[int(decision)]
    return AND.join(label for label, said in zip(task.labels, decision, strict=True) if said)
