"""Image files -> vectors, once: a Keras Applications network whose weights are given by path, and a cache by content.

An item without a file, or with one that is no picture, has no image: its modality is absent, and nothing fails.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from tfrec_llm.config import ConfigError, Modalities
from tfrec_llm.training import files

log = logging.getLogger(__name__)
_KINDS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")  # how JPEG, PNG, GIF and BMP begin


class Network(NamedTuple):
    """One of Keras Applications."""

    build: Callable[..., tf.keras.Model]
    prepare: Callable[[tf.Tensor], tf.Tensor]  # pixels from 0 to 255 -> what it was trained on


_APPS = tf.keras.applications
NETWORKS: Mapping[str, Network] = {
    "efficientnet_b0": Network(_APPS.EfficientNetB0, _APPS.efficientnet.preprocess_input),
    "mobilenet_v2": Network(_APPS.MobileNetV2, _APPS.mobilenet_v2.preprocess_input),
    "mobilenet_v3_small": Network(_APPS.MobileNetV3Small, _APPS.mobilenet_v3.preprocess_input),
    "resnet50": Network(_APPS.ResNet50, _APPS.resnet50.preprocess_input),
}


def check_network(settings: Modalities) -> None:
    """Refuses a network that is not known or has no weights.

    Raises:
      ConfigError: see above.
    """
    if settings.network and settings.network not in NETWORKS:
        raise ConfigError(
            f"modalities.network: expected one of {', '.join(sorted(NETWORKS))}, got {settings.network!r}."
        )
    if settings.network and not Path(settings.weights).is_file():
        raise ConfigError(
            f"modalities.weights: expected the path of a file with weights of {settings.network} without its top "
            f"layer, got {settings.weights!r}; nothing is downloaded, and untrained weights would say nothing."
        )


def encode_images(paths: Sequence[str], settings: Modalities, cache: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of image files; only those that the cache lacks are computed.

    Args:
      paths: n files, "" where there is none.
      settings: network, weights, image_size and batch_size.
      cache: a folder; what it holds is named by the network, its weights and the content of the files.

    Returns:
      [n, D] float32, zero where there is no image, and [n] bool.

    Raises:
      ConfigError: see `check_network`.
    """
    check_network(settings)
    keys = [_content_key(path) for path in paths]
    present = np.array([bool(key) for key in keys], bool)
    folder = cache / f"{settings.network}-{settings.image_size}-{files.sha256(settings.weights)[:16]}"
    known = _read(folder)
    missing = {key: path for key, path in zip(keys, paths, strict=True) if key and key not in known}
    if missing:
        known |= _encode(missing, settings, folder)
    log.info("images: %d of %d items have one, %d newly encoded", present.sum(), len(paths), len(missing))
    width = len(next(iter(known.values()))) if known else 0
    return np.stack([known.get(key, np.zeros(width)) for key in keys]).astype(np.float32), present


def _content_key(path: str) -> str:
    """A hash of the file's content, "" where there is no picture."""
    if not path:
        return ""
    try:
        content = Path(path).read_bytes()
        if not content.startswith(_KINDS):
            raise ValueError("it is no JPEG, PNG, GIF or BMP")
        tf.io.decode_image(content, 3, expand_animations=False)
    except (OSError, ValueError, tf.errors.InvalidArgumentError) as error:
        log.warning("%s: no image (%s): the item is taken for one without.", path, str(error).splitlines()[0])
        return ""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _encode(missing: Mapping[str, str], settings: Modalities, folder: Path) -> dict[str, np.ndarray]:
    """Encodes files by key and writes them into the cache, a batch at a time."""
    build, prepare = NETWORKS[settings.network]
    side, made = settings.image_size, {}
    try:
        network = build(include_top=False, weights=settings.weights, pooling="avg", input_shape=(side, side, 3))
    except (ValueError, OSError) as error:
        raise ConfigError(
            f"modalities.weights: expected weights of {settings.network} without its top layer, got {error}."
        ) from error
    names = list(missing)
    for start in tqdm(range(0, len(names), settings.batch_size), desc="encode images", unit="batch", leave=False):
        chosen = names[start : start + settings.batch_size]
        pixels = [_pixels(missing[key], side) for key in chosen]
        vectors = network(prepare(tf.stack(pixels)), training=False).numpy()
        folder.mkdir(parents=True, exist_ok=True)
        files.write_npz(folder / f"{chosen[0]}.npz", {"keys": np.array(chosen), "vectors": vectors})
        made |= dict(zip(chosen, vectors, strict=True))
    return made


def _pixels(path: str, side: int) -> tf.Tensor:
    """[side, side, 3] float32 from 0 to 255, whatever size and kind the file has."""
    image = tf.io.decode_image(tf.io.read_file(path), 3, expand_animations=False)
    return tf.image.resize(tf.cast(image, tf.float32), [side, side], antialias=True)


def _read(folder: Path) -> dict[str, np.ndarray]:
    """What the cache has; a piece that cannot be read counts as absent."""
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            piece = files.read_npz(path)
            known |= dict(zip(piece["keys"].tolist(), piece["vectors"], strict=True))
        except (ValueError, KeyError) as error:
            log.warning("%s cannot be read (%s): its images are encoded again.", path, error)
    return known
