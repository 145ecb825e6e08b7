import numpy as np
import pytest

from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.scope import without_labels
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging.unseen import held_back, measured, unseen_figures


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
