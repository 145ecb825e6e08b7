"""A head for few rows: logistic regression, solved to the end, in place of steps of gradient descent.

Ten examples of each label are too few to stop a training by and for a hidden layer to help: a linear head whose penalty
is chosen by cross-validation learns more from them, in a second. Its temperature and threshold come from answers that
rows were given by heads that had not learnt from them, so that no row need be held out; where the encoder learns from
the rows too, from validation rows alone. Used by `fit`.
"""

import logging
from collections.abc import Mapping

import numpy as np
from threadpoolctl import threadpool_limits

from tfrec_llm.config import Regularise, Text
from tfrec_llm.data.augmentation import AUGMENTATIONS
from tfrec_llm.text.classification.answers import best_temperature
from tfrec_llm.text.classification.heads import Head, row_weights
from tfrec_llm.text.classification.tasks import PSEUDO, Task

log = logging.getLogger(__name__)
FEW = 50  # training rows of a label in the mean: up to here the linear head was the better one
PENALTIES = (10.0, 50.0, 250.0)  # inverse strengths (C of scikit-learn) to choose from, for vectors of unit length
FOLDS = 4
TOLERANCE = 5e-3  # of a gradient, which is a mean over rows and the smaller the more labels share them
WANT_STEPS = ("label_smoothing", "adversarial", "r_drop", "weight_average", "ensemble", "distil")  # of Regularise
ABSENT = 12.0  # a label without a row is this far below the least likely of the others


def few(task: Task, settings: Text) -> bool:
    """Whether a task is learnt this way: single labels, few rows of each, and no switch that asks for steps."""
    plain = all(getattr(settings.regularise, name) == getattr(Regularise(), name) for name in WANT_STEPS)
    edited = any(getattr(settings.augment, name) for name in AUGMENTATIONS)
    if task.multi_label or edited or not plain:
        return False
    targets = task.targets[task.split == "train"]
    labels = len(np.unique(targets))
    return labels > 1 and len(targets) <= FEW * labels


def learns_validation(task: Task, settings: Text) -> bool:
    """Whether a task's head learns from its validation rows too: nothing is left for them to choose."""
    return few(task, settings) and settings.finetuning.name == "frozen"


def fit_few(task: Task, embeddings: np.ndarray, settings: Text, seed: int) -> Head:
    """Learns a linear head from the training rows, and from the validation rows too where the encoder is frozen.

    Args:
      task: the rows, of single labels; those that a head labelled itself are learnt, and not asked in the folds.
      embeddings: [R, D] of unit length, one per row.
      settings: class weights, dropout, the share that may be none.
      seed: of the folds.

    Returns:
      A head without a hidden layer, calibrated unless the encoder is trained and no row validates: its temperature is
      1 then, and it takes nothing for none.
    """
    # where encoder and head go on together, validation rows choose the pass, and must be new to the head
    kept = (task.split == "train") | ((task.split == "validation") & (settings.finetuning.name == "frozen"))
    vectors, targets = np.asarray(embeddings[kept], np.float64), task.targets[kept]
    size = len(task.labels)
    weights = row_weights(targets, size) if settings.regularise.class_weights else np.ones(len(targets), np.float32)
    own = task.corpus[kept] != PSEUDO
    judged = own & (np.bincount(targets[own], minlength=size)[targets] > 1)  # no other fold has heard of a lonely label
    with threadpool_limits(1):  # the products are too small to share among threads
        tried = {p: _held_out(vectors, targets, weights, own, p, size, seed)[judged] for p in PENALTIES}
        best = _likeliest(tried, targets[judged])
        kernel, bias = _solve(vectors, targets, weights, best, size)
    head = Head(embeddings.shape[1], size, 0, settings.dropout, seed=seed)
    head.kernel.assign(kernel)
    head.bias.assign(bias)
    _calibrate(head, task, embeddings, settings, tried[best], targets[judged])
    log.info("text %s: %d rows of %d labels, linear, C = %g.", task.name, len(targets), size, best)
    return head


def _likeliest(tried: Mapping[float, np.ndarray], targets: np.ndarray) -> float:
    """The penalty whose logits [R, labels], each at its best temperature, make the targets [R] likeliest."""
    if not len(targets):
        return PENALTIES[len(PENALTIES) // 2]
    return min(tried, key=lambda penalty: best_temperature(tried[penalty], targets, False)[1])


def _calibrate(
    head: Head, task: Task, embeddings: np.ndarray, settings: Text, folds: np.ndarray, targets: np.ndarray
) -> None:
    """Temperature and threshold from the folds' logits [J, labels], or from rows that the encoder never saw."""
    held, none_share = task.split == "validation", settings.none_share if task.label == "intent" else 0.0
    if settings.finetuning.name == "frozen":
        if len(targets):
            head.settle(folds, targets, none_share)
    elif held.any():  # folds of rows that the encoder has learnt answer as they would no new row
        head.calibrate(embeddings[held], task.targets[held], none_share)


def _held_out(
    vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray, own: np.ndarray, penalty: float, size: int, seed: int
) -> np.ndarray:
    """[R, labels] logits of the `own` rows, [R] bool, by heads that learnt from the other folds.

    The other rows have their labels from a head that learnt all of `own`: the heads of the folds label them anew.
    """
    ours = np.flatnonzero(own)
    shuffled = ours[np.random.default_rng(seed).permutation(len(ours))]
    fold = np.full(len(targets), -1)
    fold[shuffled[np.argsort(targets[shuffled], kind="stable")]] = np.arange(len(ours)) % FOLDS  # labels spread evenly
    logits = np.zeros((len(targets), size))
    for number in np.unique(fold[own]):
        asked, learnt = fold == number, own & (fold != number)
        kernel, bias = _solve(vectors[learnt], targets[learnt], weights[learnt], penalty, size)
        if not own.all():
            told, both = np.where(own, targets, (vectors @ kernel + bias).argmax(1)), learnt | ~own
            kernel, bias = _solve(vectors[both], told[both], weights[both], penalty, size)
        logits[asked] = vectors[asked] @ kernel + bias
    return logits


def _solve(
    vectors: np.ndarray, targets: np.ndarray, weights: np.ndarray, penalty: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [D, labels] and bias [labels] of penalised logistic regression."""
    from sklearn.linear_model import LogisticRegression  # half a second, which a server does not spend

    kernel, bias = np.zeros((vectors.shape[1], size)), np.zeros(size)
    present = np.unique(targets)
    if len(present) > 1:
        found = LogisticRegression(C=penalty, max_iter=200, tol=TOLERANCE / len(present)).fit(
            vectors, targets, sample_weight=weights
        )
        halves = (-found.coef_ / 2, found.coef_ / 2) if len(present) == 2 else (found.coef_,)
        edges = (-found.intercept_ / 2, found.intercept_ / 2) if len(present) == 2 else (found.intercept_,)
        kernel[:, present], bias[present] = np.concatenate(halves).T, np.concatenate(edges)
    bias[np.setdiff1d(np.arange(size), present)] = bias[present].min() - ABSENT
    return kernel, bias
