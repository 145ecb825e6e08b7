"""Image files -> vectors: a mixed batch, the cache, and what has no image."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import ConfigError, Modalities
from tfrec_llm.fusion import images
from tfrec_llm.fusion.images import NETWORKS, Network, encode_images
from tfrec_llm.training import files


def tiny(include_top, weights, pooling, input_shape):
    """Stands in for a network of Keras Applications: the mean colour, times a weight from the file."""
    assert (include_top, pooling) == (False, "avg")
    scale = float(np.loadtxt(weights))
    pixels = tf.keras.Input(input_shape)
    return tf.keras.Model(pixels, scale * tf.keras.layers.GlobalAveragePooling2D()(pixels))


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS, "tiny", Network(tiny, lambda pixels: pixels / 255))
    (tmp_path / "weights.txt").write_text("2.0")
    return Modalities(network="tiny", weights=str(tmp_path / "weights.txt"), image_size=32, batch_size=2)


def picture(path, colour, size, encode=tf.io.encode_png):
    path.write_bytes(encode(tf.constant(np.full((*size, 3), colour, np.uint8))).numpy())
    return str(path)


def test_a_mixed_batch_of_sizes_kinds_and_items_without_an_image(settings, tmp_path):
    red = picture(tmp_path / "red.png", (255, 0, 0), (10, 40))
    green = picture(tmp_path / "green.jpg", (0, 255, 0), (64, 48), tf.io.encode_jpeg)
    paths = [red, "", green, str(tmp_path / "gone.png"), red]
    values, present = encode_images(paths, settings, tmp_path / "cache")
    assert present.tolist() == [True, False, True, False, True]
    np.testing.assert_allclose(values, [[2, 0, 0], [0, 0, 0], [0, 2, 0], [0, 0, 0], [2, 0, 0]], atol=0.03)


def test_a_file_is_encoded_once_by_its_content(settings, tmp_path, monkeypatch, caplog):
    red = picture(tmp_path / "red.png", (255, 0, 0), (8, 8))
    first, _ = encode_images([red], settings, tmp_path / "cache")
    monkeypatch.setitem(NETWORKS, "tiny", Network(lambda **_: pytest.fail("encoded again"), tf.identity))
    copy = picture(tmp_path / "copy.png", (255, 0, 0), (8, 8))
    again, _ = encode_images([copy], settings, tmp_path / "cache")
    np.testing.assert_array_equal(first, again)


def test_other_weights_have_a_cache_of_their_own(settings, tmp_path):
    red = picture(tmp_path / "red.png", (255, 0, 0), (8, 8))
    encode_images([red], settings, tmp_path / "cache")
    (tmp_path / "weights.txt").write_text("3.0")
    values, _ = encode_images([red], settings, tmp_path / "cache")
    np.testing.assert_allclose(values, [[3, 0, 0]], atol=1e-5)


def test_what_is_no_picture_is_absent_and_named(settings, tmp_path, caplog):
    (tmp_path / "a.png").write_bytes(b"\x89PNG but cut off")
    (tmp_path / "b.png").write_text("words")
    with caplog.at_level(logging.WARNING):
        values, present = encode_images([str(tmp_path / "a.png"), str(tmp_path / "b.png")], settings, tmp_path / "c")
    assert not present.any()
    assert values.shape == (2, 0)
    assert "a.png: no image" in caplog.text
    assert "b.png: no image (it is no JPEG" in caplog.text


def test_a_damaged_piece_of_the_cache_is_made_anew(settings, tmp_path):
    red = picture(tmp_path / "red.png", (255, 0, 0), (8, 8))
    first, _ = encode_images([red], settings, tmp_path / "cache")
    (piece,) = (tmp_path / "cache").rglob("*.npz")
    piece.write_bytes(piece.read_bytes()[:40])
    again, _ = encode_images([red], settings, tmp_path / "cache")
    np.testing.assert_array_equal(first, again)


def test_a_real_network_reads_weights_from_a_path(tmp_path):
    side = 32
    network = tf.keras.applications.MobileNetV3Small(
        include_top=False, weights=None, pooling="avg", input_shape=(side, side, 3), minimalistic=False
    )
    network.save_weights(tmp_path / "weights.h5")
    own = Modalities(network="mobilenet_v3_small", weights=str(tmp_path / "weights.h5"), image_size=side)
    red = picture(tmp_path / "red.png", (255, 0, 0), (20, 20))
    values, present = encode_images([red], own, tmp_path / "cache")
    pixels = tf.fill([1, side, side, 3], 0.0) + tf.constant([255.0, 0, 0])
    np.testing.assert_allclose(values, network(pixels, training=False), atol=1e-4)
    assert present.all()


def test_weights_of_another_network_are_refused(tmp_path):
    files.write_text(tmp_path / "weights.h5", "no weights")
    own = Modalities(network="mobilenet_v3_small", weights=str(tmp_path / "weights.h5"), image_size=32)
    red = picture(tmp_path / "red.png", (255, 0, 0), (20, 20))
    with pytest.raises(ConfigError, match=r"modalities\.weights: expected weights of mobilenet_v3_small"):
        encode_images([red], own, tmp_path / "cache")


def test_the_networks_are_those_of_keras():
    assert all(network.build.__module__.startswith("tf_keras") for network in images.NETWORKS.values())
