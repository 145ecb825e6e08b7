"""Eight-bit weights are taken for single texts only where their vectors are close to the encoder's own."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.encoders.eight_bits import GROUP, rounded
from tfrec_llm.text.encoders.registry import Tiny, tiny
from tfrec_llm.text.encoders.single import PROBES, least_cosine, make_single

IDS, MASK = np.array([[5, 6, 7, 8]], np.int32), np.ones([1, 4], bool)


def difference(engine, encoder):
    return np.abs(engine(IDS, MASK) - encoder.encode(tf.constant(IDS), tf.constant(MASK)).numpy()).max()


@pytest.fixture(scope="module")
def encoder():
    return tiny(Tiny())


def made(encoder, name, cosine):
    return make_single(encoder, name, tf.float32, 1, cosine)


def test_eight_bits_that_are_close_are_taken(encoder):
    ids, mask = encoder.tokenize(tf.constant(PROBES), "query", 32)

    def cosine(engine):
        return least_cosine(engine(ids.numpy(), mask.numpy()), encoder.encode(ids, mask).numpy())

    engine = made(encoder, "openvino", cosine)
    assert engine.name == "openvino"
    assert 1e-5 < difference(engine, encoder) < 0.1


def test_those_that_are_not_are_left_and_the_log_says_so(encoder, caplog):
    with caplog.at_level(logging.INFO):
        engine = made(encoder, "openvino", lambda _: 0.9979)
    assert engine.name == "openvino"
    assert difference(engine, encoder) < 5e-6
    assert "cosine to float32 down to 0.9979 (0.998 is asked): float32" in caplog.text


@pytest.mark.parametrize(("name", "cosine"), [("tensorflow", lambda _: 1 / 0), ("openvino", None)])
def test_who_has_or_wants_none_is_not_asked(encoder, name, cosine):
    engine = made(encoder, name, cosine)
    assert engine.name == name
    assert difference(engine, encoder) < 5e-6


@pytest.mark.parametrize("inputs", [2 * GROUP, GROUP + 3])
def test_a_weight_is_off_by_half_a_step_of_its_group(inputs):
    weights = np.random.default_rng(0).normal(size=[5, inputs]).astype(np.float32)
    weights[2] = 0.0
    codes, scales = rounded(weights)
    assert codes.dtype == np.int8
    assert codes.shape[1] == (2 if inputs % GROUP == 0 else 1)
    error = np.abs(codes * scales - weights.reshape(codes.shape))
    assert (error <= 0.501 * scales).all()


def test_the_least_cosine_is_that_of_the_worst_row():
    exact = np.eye(3, dtype=np.float32)[:2]
    assert least_cosine(np.array([[1, 0, 0], [0.6, 0.8, 0]], np.float32), exact) == pytest.approx(0.8)
