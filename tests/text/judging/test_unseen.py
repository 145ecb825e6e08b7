import numpy as np
import pytest

from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.scope import without_labels
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.judge import judge_head
from tfrec_llm.text.judging.unseen import held_back, measured, stranger_figures, unseen_figures


def task(labels=8, multi_label=False) -> Task:
    """Label i has a training and a test row; the test rows' vectors are the unit vectors."""
    names, targets = tuple("abcdefgh"[:labels]), np.tile(np.arange(labels, dtype=np.int32), 2)
    split = np.repeat(["train", "test"], labels)
    texts = np.array([f"{part} {names[target]}" for part, target in zip(split, targets, strict=True)])
    targets = targets[:, None] == np.arange(labels) if multi_label else targets
    return Task("intent_files", "intent", names, texts, targets, split, np.full(2 * labels, "files"))


def test_what_a_head_never_learnt_scores_below():
    whole = task()
    held, left = held_back(whole, seed=0), measured([whole], seed=0)[0]
    assert len(held) == 2
    assert left.labels == without_labels(whole, held).labels
    head = Head(8, 6)  # evidence for known labels alone: each reads its own number, times 5
    known = [i for i in range(8) if i not in held]
    head.kernel.assign(5 * np.eye(8, dtype=np.float32)[:, known])
    vectors = {str(text): np.eye(8, dtype=np.float32)[whole.targets[i]] for i, text in enumerate(whole.texts)}
    figures = unseen_figures([whole], {"intent_files": head}, vectors, {"files": "intent"}, seed=0)
    assert figures["text.files.out_of_scope_auroc"]["value"] == 1
    assert figures["text.files.out_of_scope_auroc"]["n"] == 8
    head.kernel.assign(np.zeros((8, 6)))  # no evidence for anything: chance
    figures = unseen_figures([whole], {"intent_files": head}, vectors, {"files": "intent"}, seed=0)
    assert figures["text.files.out_of_scope_auroc"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("small", [task(labels=3), task(multi_label=True)], ids=["few labels", "multi-label"])
def test_what_is_not_measured(small):
    assert measured([small], seed=0) == []
    assert unseen_figures([small], {}, {}, {"files": "intent"}, seed=0) == {}


def test_test_rows_with_an_intent_that_nobody_taught_are_judged_as_none_and_not_as_errors():
    """Of four intents two have training rows; the head reads the vectors' own numbers, and is sure above 3."""
    names, targets = ("a", "b", "oos", "none"), np.array([0, 1, 0, 1, 2, 3, 3], np.int32)
    split = np.array(["train", "train", "test", "test", "test", "test", "test"])
    made = Task("intent_files", "intent", names, np.array(list("abcdefg")), targets, split, np.full(7, "files"))
    vectors = {text: np.eye(4, dtype=np.float32)[label] for text, label in zip("abcdefg", targets, strict=True)}
    vectors["g"] = vectors["a"]  # looks like the first intent
    head = Head(4, 4)
    head.kernel.assign(np.diag([5.0, 5.0, 0.0, 0.0]))
    head.threshold.assign(3.0)
    main = {"files": "intent"}
    figures = stranger_figures([made], {"intent_files": head}, vectors, main)
    values = {key.rpartition(".")[2]: (figure["value"], figure["n"]) for key, figure in figures.items()}
    assert values["none_recall"] == (pytest.approx(2 / 3), 3)
    assert values["false_none"] == (0, 2)
    assert values["out_of_scope_auroc"] == (pytest.approx((4 + 2 * 0.5) / 6), 5)  # two ties among six pairs
    judged = judge_head(made, np.stack([vectors[text] for text in "abcdefg"]), head, main, seed=0)
    assert (judged["text.files.accuracy"]["value"], judged["text.files.accuracy"]["n"]) == (1, 2)
    assert stranger_figures([task()], {"intent_files": head}, vectors, main) == {}
