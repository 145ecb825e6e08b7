"""Labels that a head gives itself."""

import numpy as np
import tensorflow as tf

from tfrec_llm.config import Config, Little, Text, Train
from tfrec_llm.text.classification.fit import fit_head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.little.self_training import believed, self_train
from tfrec_llm.training import Stage


def test_only_sure_rows_are_believed_and_labels_balance():
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.99, 0.01], [0.1, 0.9], [0.5, 0.5]])
    rows, targets = believed(probabilities, False, Little(confidence=0.85))
    # three rows of the first label and one of the second: the group in the middle has two, the surest two stay
    assert rows.tolist() == [0, 2, 3]
    assert targets.tolist() == [0, 0, 1]
    assert believed(probabilities, False, Little(confidence=0.85, per_label=1))[0].tolist() == [2, 3]
    assert believed(probabilities, False, Little(confidence=1.0))[0].size == 0


def test_multi_label_rows_need_every_decision_sure():
    probabilities = np.array([[0.95, 0.05], [0.95, 0.5], [0.01, 0.02]])
    rows, targets = believed(probabilities, True, Little(confidence=0.9))
    assert rows.tolist() == [0]
    assert targets.tolist() == [[True, False]]


def test_two_clouds_are_learnt_better_with_texts_that_have_no_labels(tmp_path):
    # eight labelled rows leave open how much of the two other columns is chance; four hundred others tell
    draw = np.random.default_rng(1)
    centres = np.array([[2.0, 2, 0, 0], [-2.0, -2, 0, 0]])

    def cloud(size):
        targets = np.arange(size) % 2
        return (centres[targets] + draw.normal(0, 1, (size, 4))).astype(np.float32), targets.astype(np.int32)

    embeddings, targets = cloud(8)
    test, wanted = cloud(400)
    free, _ = cloud(400)
    texts, split = np.array([f"own {i}" for i in range(8)]), np.full(8, "train")
    task = Task("intent", "intent", ("a", "b"), texts, targets, split, np.full(8, "own"))
    little = Little(self_training=2, confidence=0.8)
    text = Text(little=little, hidden=0, dropout=0.0, epochs=15, learning_rate=0.005)
    config = Config(text=text, train=Train(precision="float32", xla="off"))
    stage = Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    head = fit_head(task, embeddings, config, stage)
    better, count = self_train(task, embeddings, head, [f"free {i}" for i in range(400)], free, config, stage)
    assert count > 50

    def accuracy(judged):
        return (judged.probabilities(tf.constant(test)).numpy().argmax(1) == wanted).mean()

    assert accuracy(better) > accuracy(head) + 0.02


def test_texts_that_have_a_label_already_are_not_believed(tmp_path):
    texts = np.array(["one", "two"])
    task = Task("intent", "intent", ("a", "b"), texts, np.array([0, 1], np.int32), np.full(2, "train"), texts)
    stage = Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    config = Config(text=Text(little=Little(self_training=1)))
    head, count = self_train(task, np.eye(2, dtype=np.float32), "head", ["one"], np.eye(2)[:1], config, stage)
    assert (head, count) == ("head", 0)
