"""Weights are found by their path, saved whole, and read strictly."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.training import files, load_weights, save_weights
from tfrec_llm.training.weights import named_variables


class Plain(tf.Module):
    def __init__(self, width=2):
        super().__init__()
        self.table = tf.Variable(tf.random.normal([3, width]))
        self._hidden = tf.Variable([1, 2])
        self.parts = {"b": [tf.Variable(1.0)], "a": tf.Variable(True)}


class Tagger(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.cells = [tf.keras.layers.LSTM(2), tf.keras.layers.BatchNormalization()]
        self._head = tf.keras.layers.Dense(1)
        self.seen = tf.keras.metrics.Mean()
        self.again = self._head  # a second way to the same variables
        self.scale = self.add_weight(name="scale", shape=[], initializer="ones", trainable=False)

    def call(self, x, training=False):
        return self._head(self.cells[1](self.cells[0](x), training=training)) * self.scale


def test_paths_of_a_plain_module():
    assert sorted(named_variables(Plain())) == ["_hidden", "parts/a", "parts/b/0", "table"]


def test_paths_of_a_keras_model_leave_metrics_and_optimizer_out():
    model = Tagger()
    model.compile("adam", "mse", metrics=["mae"])
    model.seen(model(tf.ones([4, 3, 2])))
    model.optimizer.build(model.trainable_variables)
    assert sorted(named_variables(model)) == [
        "again/bias",
        "again/kernel",
        "cells/0/cell/bias",
        "cells/0/cell/kernel",
        "cells/0/cell/recurrent_kernel",
        "cells/1/beta",
        "cells/1/gamma",
        "cells/1/moving_mean",
        "cells/1/moving_variance",
        "scale",
    ]


def test_sequential_and_functional_models_are_found_through_their_layers():
    sequential = tf.keras.Sequential([tf.keras.layers.Dense(2), tf.keras.layers.Dense(1)])
    sequential.build([None, 3])
    x = tf.keras.Input([3])
    functional = tf.keras.Model(x, tf.keras.layers.Dense(1)(tf.keras.layers.Dense(2)(x)))
    assert len(named_variables(sequential)) == len(named_variables(functional)) == 4


def test_a_weight_that_no_attribute_holds_is_found():
    class Bare(tf.keras.layers.Layer):
        def build(self, shape):
            self.add_weight(name="w", shape=[2])

    layer = Bare()
    layer.build(None)
    assert sorted(named_variables(layer)) == ["weights/0"]


def test_every_trainable_weight_is_found():
    model = Tagger()
    model(tf.ones([4, 3, 2]))
    found = {id(v) for v in named_variables(model).values()}
    assert len(model.trainable_weights) == 7
    assert all(id(w) in found for w in model.trainable_weights)


@pytest.mark.parametrize("make", [Plain, Tagger], ids=["module", "keras"])
def test_saved_weights_come_back(tmp_path, make):
    first, second = make(), make()
    if make is Tagger:
        first(tf.ones([1, 3, 2]))
        second(tf.ones([1, 3, 2]))
    save_weights(first, tmp_path / "w.npz")
    load_weights(second, tmp_path / "w.npz")
    for name, variable in named_variables(first).items():
        np.testing.assert_array_equal(variable, named_variables(second)[name])


def test_names_do_not_depend_on_what_was_built_before(tmp_path):
    def model():
        return tf.keras.Sequential([tf.keras.layers.Dense(2)])

    first = model()
    first.build([None, 3])
    save_weights(first, tmp_path / "w.npz")
    for _ in range(3):
        other = model()
        other.build([None, 3])
    load_weights(other, tmp_path / "w.npz")
    np.testing.assert_array_equal(first.weights[0], other.weights[0])


def test_bfloat16_is_saved_as_float32(tmp_path):
    module = tf.Module()
    module.v = tf.Variable(tf.constant([1.5, 2.5], tf.bfloat16))
    save_weights(module, tmp_path / "w.npz")
    assert files.read_npz(tmp_path / "w.npz")["v"].dtype == np.float32
    module.v.assign([0, 0])
    load_weights(module, tmp_path / "w.npz")
    assert tf.cast(module.v, tf.float32).numpy().tolist() == [1.5, 2.5]


def test_everything_that_does_not_fit_is_listed_and_nothing_changes(tmp_path):
    save_weights(Plain(), tmp_path / "w.npz")
    other = Plain(width=5)
    del other.parts
    other.extra = tf.Variable(0.0)
    before = other._hidden.numpy()
    with pytest.raises(ValueError, match=r"missing extra; left over parts/a; left over parts/b/0; table expected"):
        load_weights(other, tmp_path / "w.npz")
    np.testing.assert_array_equal(other._hidden, before)


def test_rows_that_came_later_go_behind_those_of_the_file(tmp_path):
    module, larger = tf.Module(), tf.Module()
    module.v, larger.v = tf.Variable([[1.0, 2.0]]), tf.Variable(tf.zeros([3, 2]))
    save_weights(module, tmp_path / "w.npz")
    load_weights(larger, tmp_path / "w.npz", {"v": np.array([[3, 4], [5, 6]], np.float32)})
    assert larger.v.numpy().tolist() == [[1, 2], [3, 4], [5, 6]]
    with pytest.raises(ValueError, match=r"v expected \[3, 2\], got \[2, 2\]"):
        load_weights(larger, tmp_path / "w.npz", {"v": np.zeros((1, 2), np.float32)})


def test_a_model_that_is_not_built_is_refused(tmp_path):
    with pytest.raises(ValueError, match="call the model once"):
        save_weights(tf.keras.Sequential([tf.keras.layers.Dense(2)]), tmp_path / "w.npz")
