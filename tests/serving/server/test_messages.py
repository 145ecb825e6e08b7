"""Tensors in TensorFlow Serving's messages: there and back, and as TensorFlow itself writes and reads them."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfrec_llm.serving.server import messages

NUMBERS = [np.int64, np.int32, np.float32, np.bool_]


def tensor(values):
    made = messages.load().predict.PredictRequest().inputs["x"]
    messages.fill(made, values)
    return made


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(NUMBERS).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_side=0, max_side=4))))
def test_numbers_come_back_and_tensorflow_reads_and_writes_the_same(values):
    made = tensor(values)
    for back in (messages.array(made), tf.make_ndarray(made), messages.array(tf.make_tensor_proto(values))):
        assert back.dtype == values.dtype
        np.testing.assert_array_equal(back, values)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5), st.booleans())
def test_texts_come_back_as_bytes(texts, wide):
    values = np.empty(len(texts), object)
    values[:] = texts
    values = values.reshape(len(texts), 1) if wide else values
    back = messages.array(tensor(values))
    assert back.shape == values.shape
    assert [text.decode("utf-8") for text in back.ravel()] == texts
    np.testing.assert_array_equal(tf.make_ndarray(tensor(values)), back)


@pytest.mark.parametrize(("given", "meant"), [([], [0, 0, 0]), ([5], [5, 5, 5]), ([5, 6], [5, 6, 6])])
def test_the_last_value_stands_for_those_that_follow(given, meant):
    made = tensor(np.zeros(3, np.int64))
    made.ClearField("tensor_content")
    made.int64_val.extend(given)
    assert messages.array(made).tolist() == meant


def test_a_type_of_another_model_is_refused():
    with pytest.raises(ValueError, match="expected a tensor of texts or numbers, got type 8"):
        messages.array(tf.make_tensor_proto(np.zeros(2, np.complex64)))
