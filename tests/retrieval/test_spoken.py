"""retrieval.spoken: which items get utterances, which pairs hear them, what one changes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.retrieval.conftest import make_world
from tests.retrieval.test_two_towers import SETTINGS, one_batch, towers
from tfrec_llm.layers.left_out import leave_out
from tfrec_llm.retrieval.pairs import answers_of, pair_passes
from tfrec_llm.retrieval.spoken import Heard, Spoken, bank, draw, speakers
from tfrec_llm.retrieval.two_towers import TwoTowers
from tfrec_llm.serving.reasons import without_each
from tfrec_llm.training.weights import named_variables
from tfrec_llm.types import History

DIM = 5


def some_spoken(dataset):
    """Three utterances of every item; their first number says for which."""
    num_rows = len(dataset.catalogue.item_ids)
    items = np.repeat(np.arange(2, num_rows), 3)
    vectors = np.random.default_rng(0).normal(size=(len(items), DIM)).astype(np.float32) + 4
    vectors[:, 0] = items  # says for whom it was made
    return bank(items, np.char.zfill(items.astype(str), 2), vectors, num_rows)


@pytest.fixture
def spoken(world):
    return some_spoken(world().dataset)


def hearing(dataset, spoken, **options):
    tf.keras.utils.set_random_seed(3)
    model = TwoTowers(SETTINGS, dataset, None, 40, said=DIM)
    zeros = tf.zeros([1, 1], tf.int32)
    model(History(zeros, zeros, tf.zeros([1, 1], tf.int64)))
    model.heard.adapt(spoken.vectors)
    return model


def test_speakers_are_drawn_by_the_root_of_their_counts():
    counts = np.array([0, 0, 100, 25, 0, 1])
    got = np.bincount(speakers(counts, 1600, 0), minlength=6)
    np.testing.assert_allclose(got, [0, 0, 1000, 500, 0, 100], atol=1)
    assert not len(speakers(np.zeros(4), 10, 0))


def test_pairs_hear_what_was_made_for_their_answer(spoken):
    answers = np.arange(2, 12).repeat(400).reshape(400, 10).T.repeat(40, axis=0)  # [400, 400]
    tensors, key = Spoken(*map(tf.constant, spoken)), tf.constant([1, 2])
    said, place, heard = (part.numpy() for part in draw(tensors, tf.constant(answers, tf.int32), 0.25, key))
    assert place.shape == (400, 100)
    assert all(len(set(row)) == 100 for row in place)
    assert heard.all()
    items = np.take_along_axis(answers, place, axis=1)
    np.testing.assert_array_equal(said[..., 0], items)
    assert len(np.unique(said[items == 7][:, 1])) == 3  # each of the item's three is drawn
    again = draw(tensors, tf.constant(answers, tf.int32), 0.25, key)
    np.testing.assert_array_equal(said, again.said)
    other = draw(tensors, tf.constant(answers, tf.int32), 0.25, key + 5)
    assert (place != other.place.numpy()).any()


@pytest.mark.parametrize(("pairs", "share"), [(1, 0.25), (3, 0.25), (3, 0.5), (5, 1.0)])
def test_short_windows_hear_as_large_a_share(spoken, pairs, share):
    answers = tf.fill([4000, pairs], 5)
    words = draw(Spoken(*map(tf.constant, spoken)), answers, share, tf.constant([3, 1]))
    heard = words.heard.numpy().sum() / (4000 * pairs)
    assert abs(heard - share) < 0.03


def test_a_meaning_is_said_by_whatever_says_it():
    """Item 2 wants x, item 3 x or y, item 4 y or what nobody says: three sentences say x, one y."""
    items, names = np.array([2, 2, 3, 3, 4, 4]), np.array(["x", "x", "y", "x", "y", "z"])
    vectors = np.array([[10], [11], [20], [12]], np.float32)
    tensors = Spoken(*map(tf.constant, bank(items, names, vectors, 6)))
    said = {
        item: draw(tensors, tf.fill([1, 3000], item), 1.0, tf.constant([3, 4])).said.numpy().ravel()
        for item in (2, 3, 4)
    }
    assert set(said[2]) == {10, 11, 12}
    assert set(said[3]) == {10, 11, 12, 20}
    assert 0.46 < (said[3] == 20).mean() < 0.54
    assert set(said[4]) == {20}


def test_items_without_an_utterance_are_silent():
    alone = Spoken(*map(tf.constant, bank(np.array([3]), np.array(["x"]), np.ones((1, DIM), np.float32), 8)))
    words = draw(alone, tf.constant([[2, 3, 4, 0]]), 1.0, tf.constant([0, 0]))
    assert sorted(words.place.numpy()[0]) == [0, 1, 2, 3]
    np.testing.assert_array_equal(words.heard, words.place.numpy() == 1)


def test_batches_without_utterances_have_none(world, spoken):
    dataset = world().dataset
    silent, heard = one_batch(dataset), one_batch(dataset, spoken=spoken, spoken_share=0.5)
    assert not tf.size(silent.words.place)
    np.testing.assert_array_equal(silent.negative, heard.negative)
    windows, pairs = heard.target.shape
    assert heard.words.said.shape == [windows, -(-pairs // 2), DIM]


def test_replicas_may_each_take_some_windows_of_a_step(world, spoken):
    """As a distribution strategy splits a step: along the first dimension of everything."""
    model = hearing(world().dataset, spoken)
    batch = one_batch(world().dataset, spoken=spoken, spoken_share=0.5)
    half = batch.target.shape[0] // 2
    for part in (slice(0, half), slice(half, None)):
        own = tf.nest.map_structure(lambda whole, part=part: whole[part], batch)
        assert tf.reduce_any(own.words.heard)
        np.testing.assert_array_equal(own.words.said[own.words.heard][:, 0], _told(own)[own.words.heard])
        assert np.isfinite(model.compute_loss(own))


def one_step(model, batch, **compiled):
    """Loss and weights of a model after one step of gradient descent on a batch."""
    model.compile(tf.keras.optimizers.SGD(0.1), **compiled)
    history = model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    return history.history["loss"][0], {name: v.numpy() for name, v in named_variables(model).items()}


def test_a_step_with_utterances_is_the_same_under_xla(world, spoken):
    dataset = world().dataset
    batch = one_batch(dataset, spoken=spoken, spoken_share=0.5)
    begun = {name: v.numpy() for name, v in named_variables(hearing(dataset, spoken)).items()}
    plain, one = one_step(hearing(dataset, spoken), batch, jit_compile=False)
    compiled, two = one_step(hearing(dataset, spoken), batch, jit_compile=True)
    assert abs(plain - compiled) < 1e-4 * plain
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, atol=1e-5, err_msg=name)
    moved = {name.split("/")[0] for name, value in one.items() if np.abs(value - begun[name]).max() > 1e-6}
    assert {"heard", "items", "encoder"} <= moved


MIRRORED = f"""
import json, runpy
names = runpy.run_path({__file__!r})
tf = names["tf"]
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
print(json.dumps(names["mirrored_pass"]()))
"""


def mirrored_pass():
    """Largest change of each part of hearing towers in a pass on two devices, and how far apart these end."""
    dataset = make_world(users=160).dataset
    spoken = some_spoken(dataset)
    options = {"targets": 4, "context": 6, "batch_size": 40, "negatives": 12, "seed": 5}
    passes = pair_passes(dataset, **options, spoken=spoken, spoken_share=0.5)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = hearing(dataset, spoken)
        begun = {name: v.numpy() for name, v in named_variables(model).items()}
        model.compile(tf.keras.optimizers.SGD(0.1))
    losses = model.fit(passes(0), epochs=2, verbose=0).history["loss"]
    moved, apart = {}, 0.0
    for name, variable in named_variables(model).items():
        first, second = (copy.numpy() for copy in variable.values)
        part = name.split("/")[0]
        moved[part] = max(moved.get(part, 0.0), float(np.abs(first - begun[name]).max()))
        apart = max(apart, float(np.abs(first - second).max()))
    return {"losses": losses, "moved": moved, "apart": apart}


def test_two_devices_learn_to_listen_together():
    done = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout.splitlines()[-1])
    assert got["losses"][1] < got["losses"][0]
    assert all(got["moved"][part] > 1e-6 for part in ("heard", "items", "encoder")), got
    assert got["apart"] < 1e-6


def _told(batch):
    """[S, R] the answers of the pairs that hear something."""
    return tf.gather(answers_of(batch), batch.words.place, batch_dims=1).numpy()


def test_nothing_changes_before_training_and_where_nothing_is_said(world, as_history, spoken):
    model = hearing(world().dataset, spoken)
    history, said = as_history([2, 3, 4], [5]), tf.constant(spoken.vectors[:2])
    plain, both = model.query(history), tf.constant([True, True])
    np.testing.assert_array_equal(plain, model.query(history, None, said, both))
    model.heard._out.kernel.assign(tf.ones_like(model.heard._out.kernel))
    one = model.query(history, None, said, tf.constant([True, False])).numpy()
    assert np.abs(one[0] - plain[0])[:-1].min() > 1e-3
    np.testing.assert_array_equal(one[1], plain[1])
    np.testing.assert_array_equal(one[:, -1], 1)


def test_views_without_an_event_hear_the_same(world, as_history, spoken):
    model = hearing(world().dataset, spoken)
    model.heard._out.kernel.assign(tf.random.stateless_normal(model.heard._out.kernel.shape, (1, 2)))
    model.freeze()
    history, last = as_history([2, 3, 4, 6], [5, 7]), 3
    said, heard = tf.constant(spoken.vectors[:2]), tf.constant([True, False])
    views = model.query_without(history, leave_out(history, last), said, heard).numpy()
    copies, left_out = without_each(history, last)
    apart = (
        model.query(copies, None, tf.repeat(said, last, axis=0), tf.repeat(heard, last)).numpy().reshape(2, last, -1)
    )
    there = left_out.numpy() > 0
    np.testing.assert_allclose(views[:, :-1][there], apart.reshape(2, last, -1)[there], atol=1e-5)
    np.testing.assert_allclose(views[:, -1], model.query(history, None, said, heard), atol=1e-5)


def test_utterances_are_centred_and_of_one_size(spoken):
    layer = Heard(4)
    layer.build([[None, 8], [None, DIM]])
    layer.adapt(spoken.vectors)
    moved = (spoken.vectors - layer.centre.numpy()) * layer.scale.numpy()
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.square(moved).mean(), 1, rtol=1e-5)


def test_towers_learn_to_listen_and_answer_silence_as_if_they_could_not(world, spoken):
    """Utterances give the answer away. A twin that hears nothing sees the same pairs."""
    dataset, rng = world().dataset, np.random.default_rng(7)
    told = 3 * rng.normal(size=[20, DIM]).repeat(3, axis=0) + rng.normal(size=[60, DIM])
    spoken = spoken._replace(vectors=told.astype(np.float32))
    model, twin = hearing(dataset, spoken), towers(dataset)
    own = named_variables(model)
    for name, variable in named_variables(twin).items():
        np.testing.assert_array_equal(variable, own[name])
    passes = pair_passes(
        dataset, targets=4, context=6, batch_size=40, negatives=12, seed=5, spoken=spoken, spoken_share=0.5
    )
    for learner in (model, twin):
        learner.compile(tf.keras.optimizers.Adam(0.01))
        for index in range(20):
            learner.fit(passes(index), verbose=0)
    empty = History(*(tf.zeros([20, 1], kind) for kind in (tf.int32, tf.int32, tf.int64)))
    silent = model.query(empty)
    np.testing.assert_allclose(silent, twin.query(empty), atol=1e-4)
    np.testing.assert_allclose(model.item_table(), twin.item_table(), atol=1e-4)
    said = model.query(empty, None, tf.constant(spoken.vectors[1:60:3]), tf.ones(20, tf.bool))
    scores = said @ tf.transpose(model.item_table())[:, 2:]  # row i asks for item i
    ranks = (scores > tf.linalg.diag_part(scores)[:, None]).numpy().sum(axis=1)
    assert ranks.mean() < 6, ranks  # 9.5 in silence
