"""Training texts translated there and back by two Marian models (Sennrich et al., 2016; Edunov et al., 2018).

Models are folders in the form of `transformers` (`config.json`, `vocab.json`, `source.spm`, `target.spm`, weights as
`tf_model.h5` or `model.safetensors`), run by `TFMarianMTModel` without PyTorch and without the sentencepiece package.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import tensorflow as tf
import tensorflow_text as tf_text

BATCH, MAX_TOKENS = 32, 128
NEEDED = ("config.json", "vocab.json", "source.spm", "target.spm")
WEIGHTS = ("tf_model.h5", "model.safetensors")


class Translator:
    """One direction.

    Args:
      path: the folder; a model of several target languages takes one after it, e.g. `models/en-zh >>cmn_Hans<<`.

    Raises:
      ValueError: a file is missing, or the weights don't fit the config.
    """

    def __init__(self, path: str):
        name, mark, target = path.partition(" >>")
        folder, self._target = Path(name), (mark + target).strip()
        missing = [file for file in NEEDED if not (folder / file).exists()]
        weights = next((folder / file for file in WEIGHTS if (folder / file).exists()), None)
        if missing or weights is None:
            wanted = ", ".join(missing) or " or ".join(WEIGHTS)
            raise ValueError(f"{folder}: expected a Marian model with {wanted}, got none; give the model's folder.")
        self._ids = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        self._pieces = {number: piece for piece, number in self._ids.items()}
        self._cut = tf_text.SentencepieceTokenizer((folder / "source.spm").read_bytes(), out_type=tf.string)
        self._model = _model(folder, weights)
        self._pad, self._end = self._model.config.pad_token_id, self._model.config.eos_token_id

    def __call__(self, texts: Sequence[str], rng: np.random.Generator | None = None) -> list[str]:
        """Translations [R] of texts [R]; with a generator they are sampled, else the likeliest words are taken."""
        results: list[str] = []
        for begin in range(0, len(texts), BATCH):
            rows = self._encode(texts[begin : begin + BATCH])
            ids = tf.ragged.constant(rows, dtype=tf.int32).to_tensor(self._pad)
            mask = tf.sequence_mask([len(row) for row in rows], tf.shape(ids)[1], tf.int32)
            length = min(MAX_TOKENS, self._model.config.max_position_embeddings - 1)
            options = {"do_sample": False, "num_beams": 1, "max_length": length}
            if rng is not None:
                options |= {"do_sample": True, "top_k": 10, "seed": rng.integers(1 << 30, size=2).tolist()}
            results += [self._decode(row) for row in self._model.generate(ids, attention_mask=mask, **options).numpy()]
        return results

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        unknown = self._ids.get("<unk>", 0)
        first = [self._ids.get(self._target, unknown)] if self._target else []
        most = min(MAX_TOKENS, self._model.config.max_position_embeddings) - 1 - len(first)
        cut = self._cut.tokenize([text.encode("utf-8", "replace") for text in texts]).to_list()
        return [[*first, *(self._ids.get(p.decode(), unknown) for p in row[:most]), self._end] for row in cut]

    def _decode(self, row: np.ndarray) -> str:
        pieces = [self._pieces.get(number, "") for number in row.tolist() if number not in (self._pad, self._end)]
        kept = "".join(piece for piece in pieces if piece != "<unk>" and not piece.startswith(">>"))
        return " ".join(kept.replace("\u2581", " ").split())


def _model(folder: Path, weights: Path) -> tf.keras.Model:
    from transformers import MarianConfig, TFMarianMTModel  # seconds, so only where texts are translated
    from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

    if weights.suffix == ".h5":
        return TFMarianMTModel.from_pretrained(folder)
    model = TFMarianMTModel(MarianConfig.from_pretrained(folder))
    try:
        tensors = safetensors.numpy.load_file(weights)
        return load_pytorch_state_dict_in_tf2_model(model, tensors, allow_missing_keys=True)
    except Exception as error:
        raise ValueError(
            f"{weights}: expected weights of its config.json, got {error}; fetch the model again."
        ) from error


@functools.lru_cache(maxsize=4)
def _translator(path: str) -> Translator:
    return Translator(path)


def back_translation(
    texts: Sequence[str],
    languages: Sequence[str],
    rng: np.random.Generator,
    models: Mapping[str, Sequence[str]],
) -> list[str]:
    """Texts translated into another language and back.

    Args:
      texts: [R].
      languages: [R] "en" or "zh".
      rng: the way there is sampled, so that each pass reads other words.
      models: language -> [folder of the model that leads away from it, folder of the one that leads back].

    Returns:
      [R] texts; unchanged where the language has no models, or where nothing comes back.
    """
    result = list(texts)
    for language, pair in models.items():
        if len(pair) != 2:
            raise ValueError(f"back_translation.{language}: expected two folders, there and back, got {list(pair)}.")
        rows = [i for i, other in enumerate(languages) if other == language and texts[i].strip()]
        if rows:
            there, back = (_translator(path) for path in pair)
            returned = back(there([texts[i] for i in rows], rng))
            for row, text in zip(rows, returned, strict=True):
                result[row] = text or result[row]
    return result
