"""What is known of items and users beside events and texts: by hand, as parts of the signal path."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Config, ConfigError, Data, Export, Modalities
from tfrec_llm.data import load_domain
from tfrec_llm.serving.facts import add_vectors, check_known, is_used
from tfrec_llm.serving.known import ItemModality, Reduction, UserAttributes, reduced
from tfrec_llm.training import files
from tfrec_llm.types import History, ItemVectors

PRESENT = np.array([False, False, True, True, False, True])


def history(*items):
    item = tf.constant([items], tf.int32)
    return History(item, tf.zeros_like(item), tf.zeros_like(item, tf.int64))


@pytest.fixture
def image():
    table = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [0, 0], [-1, 0]], np.float32)
    return ItemModality(table, PRESENT, "image")


def test_the_token_is_the_mean_of_the_items_that_have_one(image):
    mean, there = image.token(history(2, 3, 4, 1, 0))  # item 4 has none, 1 is a stranger, 0 is padding
    np.testing.assert_allclose(mean, [[0.5, 0.5]])
    assert there.numpy().tolist() == [True]
    mean, there = image.token(history(4, 0))
    np.testing.assert_allclose(mean, [[0, 0]])
    assert there.numpy().tolist() == [False]


def test_features_say_how_alike_a_candidate_and_the_history_are(image):
    mean, _ = image.token(history(2, 0))
    features = image.features(mean, tf.constant([[2, 3, 5, 4, 0]])).numpy()[0]
    np.testing.assert_allclose(features[:, 0], [1, 0, -1, 0, 0])  # 0 where either is unknown
    np.testing.assert_allclose(features[:, 1:], image.table.numpy()[[2, 3, 5, 4, 0]])


def test_reduced_vectors_keep_the_directions_that_differ():
    rng = np.random.default_rng(0)
    values = np.zeros((42, 6), np.float32)
    values[2:, 3] = rng.normal(size=40) * 5
    values[2:, 1] = rng.normal(size=40)
    present = np.arange(42) >= 4
    table = reduced(values, present, 2)
    assert not table[:4].any()
    np.testing.assert_allclose(np.abs(np.corrcoef(table[4:, 0], values[4:, 3])[0, 1]), 1, atol=0.02)
    np.testing.assert_allclose((table[4:] ** 2).sum(axis=1).mean(), 1, rtol=1e-5)
    np.testing.assert_allclose(table[4:].mean(axis=0), 0, atol=1e-6)
    assert reduced(values, present, 9).shape == (42, 9)
    assert not reduced(values, np.zeros(42, bool), 3).any()


def test_vectors_that_come_later_are_reduced_like_the_first():
    values, present = np.random.default_rng(0).normal(size=(12, 5)), np.arange(12) > 3
    table = reduced(values, present, 3)
    later = Reduction.of(values, present, 3)(values[[5, 2, 7]], np.array([True, False, True]))
    np.testing.assert_allclose(later, table[[5, 2, 7]], atol=1e-6)
    assert not later[1].any()


def test_user_attributes_become_columns():
    users = UserAttributes({"gender": ("F", "M"), "age": ("18",), "rare": ()})
    assert users.width == 3 + 2 + 1
    values, there = users(tf.constant([["M", "99", "x", "ignored"], ["", "18", "", ""], ["", "", "", "z"]]))
    np.testing.assert_array_equal(values, [[0, 0, 1, 1, 0, 1], [0, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]])
    assert there.numpy().tolist() == [True, True, False]


def test_vectors_stand_beside_those_of_the_texts(tmp_path):
    items = ItemVectors(np.ones((4, 2)), None, None, None, np.zeros((4, 4), bool))
    assert add_vectors(items, tmp_path / "nothing") is items
    audio = np.arange(12.0).reshape(4, 3)
    files.write_npz(tmp_path / "items.npz", {"audio.values": audio, "audio.present": np.arange(4) > 1})
    more = add_vectors(items, tmp_path)
    np.testing.assert_array_equal(more.audio, audio)
    assert more.image is None
    assert more.present[:, 2].tolist() == [False, False, True, True]
    assert not items.present.any()


def test_a_plain_run_uses_nothing_of_it():
    domain = load_domain("video")
    assert not is_used(Config(), domain)
    assert is_used(Config(modalities=Modalities(item_attributes=True)), domain)
    check_known(Config(), domain)


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (Modalities(columns={"smell": "nose"}), "expected image, audio, attributes, got 'smell'"),
        (Modalities(columns={"attributes": "a"}, item_attributes=True), "one source of it"),
        (Modalities(network="vgg"), r"expected one of efficientnet_b0, .*, got 'vgg'"),
        (Modalities(network="mobilenet_v2"), "nothing is downloaded"),
    ],
)
def test_settings_that_do_not_fit_are_refused(modalities, message):
    with pytest.raises(ConfigError, match=message):
        check_known(Config(modalities=modalities), load_domain("video"))


def test_attributes_need_users_and_room_in_a_request(tmp_path):
    import dataclasses

    on = dataclasses.replace(load_domain("video"), use_attributes=True)
    with pytest.raises(ConfigError, match=r"expected data\.users, a file with user_id and gender, age, occupation"):
        check_known(Config(), on)
    check_known(Config(data=Data(users="users.csv")), on)
    with pytest.raises(ConfigError, match=r"expected 1 to 2 attributes \(export.max_attributes\), got 3"):
        check_known(Config(data=Data(users="users.csv"), export=Export(max_attributes=2)), on)
