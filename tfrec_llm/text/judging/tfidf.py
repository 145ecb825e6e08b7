"""The baseline beside every text head: TF-IDF with logistic regression, on the same rows, splits and labels."""

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from tfrec_llm import metrics
from tfrec_llm.data.texts import language_of
from tfrec_llm.text.classification.answers import EVEN, best_cuts, decided
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.judge import Figures, judge_answers, measures, test_rows

Classifier = LogisticRegression | OneVsRestClassifier
STRENGTHS = (1.0, 4.0, 16.0, 64.0)  # C, chosen on validation rows
PASSES = 200  # of the solver, at most


class _Trial(NamedTuple):
    quality: float  # on the validation rows
    strength: float
    balance: str | None
    model: Classifier
    cuts: np.ndarray | None  # [labels], where multi-label


class _Fitted(NamedTuple):
    model: Pipeline
    cuts: np.ndarray | None


_words = CountVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b").build_analyzer()
_characters = CountVectorizer(analyzer="char", ngram_range=(1, 4)).build_analyzer()


def grams(text: str) -> list[str]:
    """What is counted in a text: runs of 1 to 4 characters where it is Chinese, otherwise 1 or 2 words."""
    return _characters(text) if language_of(text) == "zh" else _words(text)


def tfidf_figures(tasks: Sequence[Task], main: Mapping[str, str], seed: int, refitted: Container[str] = ()) -> Figures:
    """Figures of the baseline on the test rows, corpus by corpus, each learnt from that corpus alone.

    Args:
      tasks: the rows, as the heads get them.
      main: corpus -> its main label, as for `judge_head`.
      seed: of the intervals.
      refitted: names of tasks whose heads learn from validation rows too: once these have chosen, so does the baseline.

    Returns:
      `text.<corpus>.tfidf_<metric>`; nothing for a corpus whose training rows have fewer than two labels.
    """
    figures: Figures = {}
    known: dict[tuple, dict[str, Any]] = {}  # what was learnt -> text -> what it was taken for
    for task in tasks:
        for variant, rows in test_rows(task, main).items():
            same, refit = task.corpus == task.corpus[rows[0]], task.name in refitted
            lesson = _lesson(task, same, refit)
            if lesson not in known:
                fitted = _fitted(task, same, refit)
                if fitted is None:
                    continue
                predicted = decided(_probabilities(fitted.model, task, rows), fitted.cuts)
                names = predicted if task.multi_label else [task.labels[place] for place in predicted]
                known[lesson] = dict(zip(task.texts[rows].tolist(), names, strict=True))
            answers = [known[lesson][text] for text in task.texts[rows].tolist()]
            answers = answers if task.multi_label else [task.labels.index(name) for name in answers]
            found = judge_answers(task, variant, rows, np.array(answers), seed)
            figures |= {_beside(key): figure for key, figure in found.items()}
    return figures


def _lesson(task: Task, same: np.ndarray, refit: bool) -> tuple:
    """What a model would learn from the rows `same`: equal where texts, splits and the names of labels are.

    The served heads learn the user's own file too, in a space of more labels: that is no other lesson.
    """
    if task.multi_label:
        return (task.name, task.corpus[same][0])
    names = [task.labels[target] for target in task.targets[same]]
    order = sorted(zip(task.texts[same].tolist(), task.split[same].tolist(), names, strict=True))
    return (refit, hash(tuple(order)), len(order))


def _beside(key: str) -> str:
    head, _, metric = key.rpartition(".")
    return f"{head}.tfidf_{metric}"


def _fitted(task: Task, same: np.ndarray, refit: bool) -> _Fitted | None:
    """The model with the strength, then the class weights, that are best on the validation rows of the rows `same`.

    With `refit` it learns from these too, once they have chosen. Cuts are those of the heads, `answers.best_cuts`.
    """
    train = np.flatnonzero(same & (task.split == "train"))
    held = np.flatnonzero(same & (task.split == "validation"))
    if len(np.unique(task.targets[train], axis=0)) < 2:
        return None
    counts = _counts()
    try:
        features = counts.fit_transform(task.texts[train].tolist())
    except ValueError:  # no training text has a letter or digit
        return None
    even = np.full(len(task.labels), EVEN) if task.multi_label else None
    if not len(held):
        return _Fitted(make_pipeline(counts, _learnt(task, features, train, STRENGTHS[1], None)), even)
    judged, judge = counts.transform(task.texts[held].tolist()), _judge(task)

    def tried(strength: float, balance: str | None) -> _Trial:
        model = _learnt(task, features, train, strength, balance)
        stated = _stated(model, judged, task)
        cuts = best_cuts(stated, task.targets[held]) if task.multi_label else None
        return _Trial(judge(task.targets[held], decided(stated, cuts)), strength, balance, model, cuts)

    plain = max((tried(strength, None) for strength in STRENGTHS), key=lambda trial: trial.quality)
    best = max(plain, tried(plain.strength, "balanced"), key=lambda trial: trial.quality)
    if not refit:
        return _Fitted(make_pipeline(counts, best.model), best.cuts)
    both, counts = np.union1d(train, held), _counts()
    features = counts.fit_transform(task.texts[both].tolist())
    return _Fitted(make_pipeline(counts, _learnt(task, features, both, best.strength, best.balance)), best.cuts)


def _counts() -> TfidfVectorizer:
    return TfidfVectorizer(analyzer=grams, sublinear_tf=True)


def _learnt(task: Task, features: csr_matrix, train: np.ndarray, strength: float, balance: str | None) -> Classifier:
    plain = LogisticRegression(C=strength, class_weight=balance, max_iter=PASSES)
    model = OneVsRestClassifier(plain) if task.multi_label else plain
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # after so many passes it is close enough
        warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
        return model.fit(features, task.targets[train])


def _judge(task: Task) -> Callable[[np.ndarray, np.ndarray], float]:
    """What the choice is made by: macro-F1, of several labels at once micro-F1."""
    return metrics.micro_f1 if task.multi_label else measures(task)["macro_f1"]


def _probabilities(model: Pipeline, task: Task, rows: np.ndarray) -> np.ndarray:
    counts, classifier = model[0], model[1]
    return _stated(classifier, counts.transform(task.texts[rows].tolist()), task)


def _stated(model: Classifier, features: csr_matrix, task: Task) -> np.ndarray:
    """[R, labels] probabilities; a label that no training row has gets 0."""
    stated = model.predict_proba(features)
    if task.multi_label:
        return stated
    result = np.zeros((stated.shape[0], len(task.labels)))
    result[:, model.classes_] = stated
    return result
