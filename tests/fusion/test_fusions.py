"""What every line of FUSIONS must keep; a new fusion is tested by being there."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Component, ConfigError
from tfrec_llm.fusion import FUSIONS, build_fusion
from tfrec_llm.training import Compute, load_weights, precision, save_weights

WIDTHS = {"behaviour": 4, "signals": 2, "text": 3}


@pytest.fixture(params=sorted(FUSIONS))
def name(request):
    return request.param


def modalities(seed=0, batch=6, present=0.6):
    rng = np.random.default_rng(seed)
    return {
        name: (tf.constant(rng.normal(size=(batch, width)), tf.float32), tf.constant(rng.random(batch) < present))
        for name, width in WIDTHS.items()
    }


@functools.cache
def built(name, seed=0):
    fusion = build_fusion(Component(name), WIDTHS, seed)
    fusion.adapt({name: (v.numpy(), p.numpy()) for name, (v, p) in modalities(9, 50).items()})
    return fusion


def test_the_context_is_finite_float32_of_the_width_asked_for(name):
    fusion = built(name)
    for given in (modalities(), modalities(present=0.0), modalities(present=1.0), modalities(batch=1)):
        context = fusion(given)
        assert context.dtype == tf.float32
        assert context.shape == (len(given["text"][1]), fusion.dim)
        assert np.isfinite(context).all()


def test_what_is_missing_is_not_read(name):
    fusion, given = built(name), modalities()
    other = {key: (tf.where(present[:, None], v, v + 100.0), present) for key, (v, present) in given.items()}
    np.testing.assert_array_equal(fusion(given), fusion(other))


def test_missing_differs_from_zero(name):
    fusion, given = built(name), modalities(present=1.0)
    zero = given | {"text": (tf.zeros([6, 3]), tf.ones([6], tf.bool))}
    missing = given | {"text": (tf.zeros([6, 3]), tf.zeros([6], tf.bool))}
    assert (np.abs(fusion(zero) - fusion(missing)).max(axis=1) > 1e-4).all()


def test_a_row_alone_gets_the_context_it_gets_in_a_batch(name):
    fusion, given = built(name), modalities()
    together = fusion(given).numpy()
    for b in range(6):
        alone = fusion({key: (v[b : b + 1], p[b : b + 1]) for key, (v, p) in given.items()})
        np.testing.assert_allclose(alone[0], together[b], atol=1e-6)


def test_only_training_drops_modalities(name):
    fusion, given = built(name), modalities()
    np.testing.assert_array_equal(fusion(given), fusion(given, training=False))
    assert (fusion(given, training=True).numpy() != fusion(given).numpy()).any()


def test_saved_and_loaded_it_gives_the_same_contexts(name, tmp_path):
    fusion, other = built(name), built(name, seed=50)
    assert (fusion(modalities()).numpy() != other(modalities()).numpy()).any()
    save_weights(fusion, tmp_path / "weights.npz")
    load_weights(other, tmp_path / "weights.npz")
    np.testing.assert_array_equal(fusion(modalities()), other(modalities()))


def test_it_gives_the_same_contexts_in_a_saved_model(name, tmp_path):
    class Served(tf.Module):
        def __init__(self, fusion):
            super().__init__()
            self.fusion = fusion

        @tf.function(input_signature=[tf.TensorSpec([None, w]) for w in WIDTHS.values()])
        def context(self, *values):
            present = tf.ones(tf.shape(values[0])[:1], tf.bool)
            return self.fusion({key: (value, present) for key, value in zip(WIDTHS, values, strict=True)})

    served = Served(built(name))
    tf.saved_model.save(served, str(tmp_path / "model"))
    values = [v for v, _ in modalities().values()]
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.context(*values), loaded.context(*values), atol=1e-6)


def test_under_mixed_precision_the_context_is_float32(name):
    with precision(Compute("mixed_bfloat16", jit_compile=False)):
        fusion = build_fusion(Component(name), WIDTHS)
        context = fusion(modalities())
    assert context.dtype == tf.float32


def test_other_modalities_are_refused(name):
    given = modalities()
    del given["text"]
    with pytest.raises(ValueError, match="expected the modalities behaviour, signals, text, got behaviour, signals"):
        built(name)(given)


def test_unknown_fusions_and_settings_are_refused():
    with pytest.raises(
        ConfigError, match=r"fusion\.layer: expected one of concatenation, .*weighted_average, got 'gated'"
    ):
        build_fusion(Component("gated"), WIDTHS)
    with pytest.raises(ConfigError, match="unknown key 'dims'; did you mean 'dim'"):
        build_fusion(Component("concatenation", {"dims": 8}), WIDTHS)
