from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Augment, Component, Little, Regularise, Text
from tfrec_llm.text.classification.few import FEW, few, fit_few, learns_validation
from tfrec_llm.text.classification.scope import ALL
from tfrec_llm.text.classification.tasks import PSEUDO, Task
from tfrec_llm.text.judging.judge import calibration_error

DIM = 16


def world(labels: int, per_label: int, seed: int = 0, spread: float = 0.5) -> tuple[Task, np.ndarray]:
    """Unit vectors around one direction per label: training rows, then 20 test rows of each label."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(labels, DIM))
    targets = np.repeat(np.arange(labels), per_label + 20).astype(np.int32)
    split = np.tile(["train"] * per_label + ["test"] * 20, labels)
    vectors = centres[targets] + spread * draw.normal(size=(len(targets), DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = np.array([f"text {row}" for row in range(len(targets))])
    names = tuple(f"label_{label}" for label in range(labels))
    task = Task("intent", "intent", names, texts, targets, split, np.full(len(targets), "files"))
    return task, vectors.astype(np.float32)


def accuracy(head, task: Task, vectors: np.ndarray) -> float:
    test = task.split == "test"
    answers = head.probabilities(tf.constant(vectors[test])).numpy()
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)
    return float((answers.argmax(1) == task.targets[test]).mean())


@pytest.mark.parametrize(("labels", "per_label"), [(2, 5), (7, 10), (30, 8), (4, 2)])
def test_few_rows_are_learnt(labels, per_label):
    task, vectors = world(labels, per_label)
    assert few(task, Text())
    assert accuracy(fit_few(task, vectors, Text(), seed=1), task, vectors) > 0.85


def test_what_it_says_of_itself_is_about_true():
    task, vectors = world(10, 10, spread=1.0)
    head, test = fit_few(task, vectors, Text(), seed=1), task.split == "test"
    sure = head.probabilities(tf.constant(vectors[test])).numpy().max(1).mean()
    assert abs(sure - accuracy(head, task, vectors)) < 0.12


def tuned(task: Task, vectors: np.ndarray, few_shot: str = "supcon"):
    """A head on an encoder that has learnt, or will learn, from the training rows."""
    return fit_few(task, vectors, Text(finetuning=Component("lora"), little=Little(few_shot=few_shot)), seed=1)


@pytest.mark.parametrize("few_shot", ["none", "supcon"])
def test_where_the_encoder_learns_the_rows_the_folds_do_not_say_how_sure_it_may_be(few_shot):
    """The encoder has drawn the labels apart on these very rows; on others it will not be as right."""
    task, vectors = world(5, 10, spread=0.01)
    plain, contrasted = fit_few(task, vectors, Text(), seed=1), tuned(task, vectors, few_shot)
    assert plain.temperature.numpy() < 0.5 < contrasted.temperature.numpy() == 1
    assert plain.threshold.numpy() > contrasted.threshold.numpy() == pytest.approx(ALL)
    np.testing.assert_array_equal(plain.kernel, contrasted.kernel)


@pytest.mark.parametrize("validated", [False, True])
def test_after_contrast_most_new_rows_are_not_taken_for_none(validated):
    """Training rows lie close together, as contrast leaves them; new ones lie about."""
    (_, near), (task, far) = world(5, 40, spread=0.01), world(5, 40, spread=0.6)
    vectors = np.where((task.split == "train")[:, None], near, far)
    split = task.split.astype("<U10")
    if validated:
        rows = np.flatnonzero(split == "train").reshape(5, 40)[:, 10:].ravel()
        split[rows], vectors[rows] = "validation", far[rows]
    task = Task(task.name, task.label, task.labels, task.texts, task.targets, split, task.corpus)
    head, test = tuned(task, vectors), task.split == "test"
    known = head.known(tf.constant(vectors[test])).numpy().mean()
    assert known > 0.9
    sure = head.probabilities(tf.constant(vectors[test])).numpy().max(1).mean()
    assert not validated or abs(sure - accuracy(head, task, vectors)) < 0.1


def test_a_label_without_rows_is_next_to_impossible_and_one_row_is_enough_to_be_heard():
    task, vectors = world(5, 6)
    keep = ~((task.targets == 3) & (task.split == "train"))
    keep &= ~((task.targets == 1) & (task.split == "train") & (np.cumsum(task.targets == 1) > 1))
    part = Task(*(getattr(task, n) for n in ("name", "label", "labels")), *(
        getattr(task, n)[keep] for n in ("texts", "targets", "split", "corpus")
    ))  # fmt: skip
    head = fit_few(part, vectors[keep], Text(), seed=1)
    answers = head.probabilities(tf.constant(vectors[task.split == "test"])).numpy()
    assert answers[:, 3].max() < 1e-2
    assert (answers.argmax(1)[task.targets[task.split == "test"] == 1] == 1).mean() > 0.5


def without_rows(task: Task, vectors: np.ndarray, lonely: int) -> tuple[Task, np.ndarray]:
    """The last so many labels have one training row each."""
    train = np.flatnonzero(task.split == "train")
    first = np.unique(task.targets[train], return_index=True)[1]
    many = train[task.targets[train] < len(task.labels) - lonely]
    kept = np.sort(np.concatenate([np.union1d(many, train[first]), np.flatnonzero(task.split == "test")]))
    columns = (getattr(task, name)[kept] for name in ("texts", "targets", "split", "corpus"))
    return Task(task.name, task.label, task.labels, *columns), vectors[kept]


def test_labels_of_one_row_do_not_spoil_how_sure_it_is_of_the_others():
    """The folds without a label's only row find it impossible: that says nothing of the head that has learnt it."""
    task, vectors = without_rows(*world(40, 10, spread=0.45), lonely=10)
    head, test = fit_few(task, vectors, Text(), seed=1), (task.split == "test") & (task.targets < 30)
    stated, raw = (f(tf.constant(vectors[test])).numpy() for f in (head.probabilities, head.raw_probabilities))
    errors = [calibration_error(answers, task.targets[test]) for answers in (stated, raw)]
    assert errors[0] < errors[1]
    assert head.known(tf.constant(vectors[test])).numpy().mean() > 0.9


def test_where_all_labels_have_one_row_nothing_is_known_of_how_sure_it_is():
    task, vectors = without_rows(*world(6, 10), lonely=6)
    head = fit_few(task, vectors, Text(), seed=1)
    assert (head.temperature.numpy(), head.threshold.numpy()) == (1.0, pytest.approx(ALL))
    assert accuracy(head, task, vectors) > 0.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_that_a_head_labelled_itself_are_learnt_but_do_not_make_it_surer(seed):
    task, vectors = world(6, 45, seed, spread=1.2)
    split = np.where((task.split == "train") & (np.arange(len(task.texts)) % 65 >= 10), "free", task.split)
    labelled, free, test = split != "free", split == "free", split == "test"
    columns = {name: getattr(task, name)[labelled] for name in ("texts", "targets", "split", "corpus")}
    head = fit_few(replace(task, **columns), vectors[labelled], Text(), seed=1)
    guessed = np.where(free, head.probabilities(tf.constant(vectors)).numpy().argmax(1), task.targets)
    corpus = np.where(free, PSEUDO, task.corpus)
    taught = fit_few(replace(task, targets=guessed, corpus=corpus), vectors, Text(), seed=1)
    assert np.abs(taught.kernel.numpy() - head.kernel.numpy()).max() > 1e-2
    sure = taught.probabilities(tf.constant(vectors[test])).numpy().max(1).mean()
    assert sure - accuracy(taught, task, vectors) < 0.07


def test_equal_seeds_give_equal_heads():
    task, vectors = world(6, 9)
    heads = [fit_few(task, vectors, Text(), seed=3) for _ in range(2)]
    np.testing.assert_array_equal(heads[0].kernel.numpy(), heads[1].kernel.numpy())
    assert heads[0].temperature.numpy() == heads[1].temperature.numpy()


def test_validation_rows_are_learnt_from_only_where_no_pass_is_chosen_by_them():
    task, vectors = world(4, 10)
    split = task.split.astype("<U10")
    split[np.flatnonzero(split == "train")[::5]] = "validation"
    part = Task(task.name, task.label, task.labels, task.texts, task.targets, split, task.corpus)
    frozen, tuned = (
        fit_few(part, vectors, Text(finetuning=Component(name)), seed=1).kernel.numpy() for name in ("frozen", "lora")
    )
    whole = fit_few(task, vectors, Text(), seed=1).kernel.numpy()
    np.testing.assert_array_equal(frozen, whole)
    told = [learns_validation(part, Text(finetuning=Component(name))) for name in ("frozen", "lora")]
    assert told == [True, False]
    assert np.abs(tuned - whole).max() > 1e-3


def test_other_tasks_take_steps():
    task, _ = world(3, 10)
    many, _ = world(2, FEW + 1)
    several = Task(
        task.name, task.label, task.labels, task.texts, np.eye(3, dtype=bool)[task.targets], task.split, task.corpus
    )
    one, _ = world(1, 10)
    for other in (many, several, one):
        assert not few(other, Text())
    for switches in (
        {"label_smoothing": 0.1},
        {"adversarial": "fgm"},
        {"r_drop": 1.0},
        {"weight_average": 0.9},
        {"ensemble": 2},
        {"distil": True},
    ):
        assert not few(task, Text(regularise=Regularise(**switches)))
    assert not few(task, Text(augment=Augment(noise=0.1)))
    others = Regularise(class_weights=False, patience=2, epsilon=0.1, pgd_steps=5)  # how steps are taken, if any are
    assert few(task, Text(regularise=others))
