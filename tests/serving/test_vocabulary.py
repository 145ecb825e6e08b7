"""Strings to indices and back, through the tables that the export carries."""

import numpy as np
import tensorflow as tf

from tfrec_llm.serving.vocabulary import ItemVocabulary, SmallVocabulary

IDS = np.array(["", "[unknown]", "Toy Story (1995)", " with spaces ", "🙂", "手机", "x" * 300])


def test_ids_with_spaces_emoji_and_length_go_there_and_back(tmp_path):
    vocabulary = ItemVocabulary(IDS, tmp_path / "items.txt")
    indices = vocabulary.indices(tf.constant([list(IDS[2:])]))
    assert indices.numpy().tolist() == [[2, 3, 4, 5, 6]]
    assert [i.decode() for i in vocabulary.ids(indices).numpy()[0]] == list(IDS[2:])


def test_strangers_are_unknown_and_nothing_is_padding(tmp_path):
    vocabulary = ItemVocabulary(IDS, tmp_path / "items.txt")
    assert vocabulary.indices(tf.constant(["", "no such item", "[unknown]"])).numpy().tolist() == [0, 1, 1]
    assert vocabulary.ids(tf.constant([0, 1])).numpy().tolist() == [b"", b""]


def test_event_types_start_after_padding_and_unknown():
    vocabulary = SmallVocabulary(["click", "purchase"])
    assert vocabulary.indices(tf.constant(["click", "purchase", "?", ""])).numpy().tolist() == [2, 3, 1, 0]
