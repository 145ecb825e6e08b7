"""Heads judged on test texts with typos and with other words: how much of the accuracy is left. Used by `train`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tfrec_llm.data.augmentation.robustness import KINDS, perturbed
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.judge import Figures, judge_head, learnable


def robustness_figures(
    tasks: Sequence[Task],
    heads: Mapping[str, Head],
    encode: Callable[[Sequence[str]], np.ndarray],
    main: Mapping[str, str],
    seed: int,
) -> Figures:
    """Accuracy on spoilt test texts, corpus by corpus.

    Args:
      tasks: whose test rows are spoilt; training never sees what spoils them.
      heads: task -> trained head.
      encode: texts [R] -> embeddings [R, D].
      main: corpus -> its main label; only heads for it are judged.
      seed: of slips and words; the same texts are spoilt alike in every run of a seed.

    Returns:
      `text.<corpus>.typos_accuracy` and `text.<corpus>.synonyms_accuracy`.
    """
    figures: Figures = {}
    for task in tasks:
        own = np.array([main[corpus] == task.label for corpus in task.corpus])
        test = (task.split == "test") & learnable(task) & own
        if not test.any():
            continue
        languages = [language_of(text) for text in task.texts[test].tolist()]
        for number, kind in enumerate(KINDS):
            draw = np.random.default_rng([seed, number])
            texts = perturbed(task.texts[test].tolist(), languages, kind, draw)
            columns = {name: getattr(task, name)[test] for name in ("targets", "split", "corpus")}
            spoilt = replace(task, texts=np.array(texts), **columns)
            for key, figure in judge_head(spoilt, encode(texts), heads[task.name], main, seed).items():
                if key.endswith(".accuracy"):
                    figures[f"{key.removesuffix('accuracy')}{kind}_accuracy"] = figure
    return figures
