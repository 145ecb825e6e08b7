"""The encoder's SavedModel: kept for the next start, made anew when weights or code are others, never in the way."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.text.encoders import numeric
from tfrec_llm.text.encoders.registry import Tiny, tiny


@pytest.fixture(scope="module")
def encoder():
    return tiny(Tiny(layers=1))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path))
    return tmp_path / "engines"


def answer(folder, ids):
    encode = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return encode(ids=tf.constant(ids), mask=tf.ones_like(ids, tf.bool))["embedding"].numpy()


def test_it_is_written_once_and_answers_as_the_encoder(encoder, cache, monkeypatch):
    ids = np.array([[5, 6, 7]], np.int32)
    with numeric.saved(encoder, keep=True) as folder:
        first = answer(folder, ids)
    (kept,) = cache.iterdir()
    monkeypatch.setattr(tf.saved_model, "save", lambda *_, **__: pytest.fail("it was there already"))
    with numeric.saved(encoder, keep=True) as folder:
        assert folder == kept
        np.testing.assert_array_equal(answer(folder, ids), first)
    np.testing.assert_allclose(first, encoder.encode(tf.constant(ids), tf.ones_like(ids, tf.bool)), atol=2e-6)


def test_what_is_not_to_be_kept_leaves_nothing(encoder, cache):
    with numeric.saved(encoder) as folder:
        assert (folder / "saved_model.pb").exists()
    assert not folder.exists()
    assert not cache.exists()


def test_other_weights_and_other_code_have_another_place(encoder, cache, tmp_path, monkeypatch):
    place = numeric._place(encoder)
    monkeypatch.setattr(encoder, "fingerprint", encoder.fingerprint + "+")
    assert numeric._place(encoder) != place
    monkeypatch.undo()
    (tmp_path / "code.py").write_text("other = 1")
    monkeypatch.setattr(numeric, "PACKAGE", tmp_path)
    assert numeric._place(encoder) != place


def test_one_that_cannot_be_used_is_removed(encoder, cache):
    with numeric.saved(encoder, keep=True):
        pass
    (kept,) = cache.iterdir()
    with pytest.raises(RuntimeError, match="truncated"), numeric.saved(encoder, keep=True) as folder:
        raise RuntimeError(f"{folder}: truncated")
    assert not kept.exists()


def test_one_that_could_not_be_read_when_it_was_made_is_not_kept(encoder, cache):
    with pytest.raises(RuntimeError, match="unknown operation"), numeric.saved(encoder, keep=True):
        raise RuntimeError("unknown operation")
    assert list(cache.iterdir()) == []


def test_the_oldest_go(encoder, cache):
    for age in range(numeric.KEPT + 2):
        old = cache / f"old-{age}"
        old.mkdir(parents=True)
        os.utime(old, (1000 - age, 1000 - age))
    with numeric.saved(encoder, keep=True):
        pass
    names = {path.name for path in cache.iterdir()}
    assert len(names) == numeric.KEPT
    assert {f"old-{age}" for age in range(numeric.KEPT - 1)} < names


def test_a_cache_that_is_a_file_is_no_obstacle(encoder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "file"))
    with numeric.saved(encoder, keep=True) as folder:
        assert (folder / "saved_model.pb").exists()
    assert not Path(folder).exists()
