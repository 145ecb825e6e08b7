"""Strings to token ids, as graph operations that a stock TensorFlow Serving links.

Each tokenizer maps [B] strings to ids [B, L] padded to the longest of the batch and a mask; `max_tokens` counts the
special tokens too. Broken UTF-8, empty and endless strings are all fine. `pieces` are what the ids stand for: "▁" begins
a word and is all that special tokens have, "" stands for what is unknown.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops import sentencepiece_tokenizer
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

OPS = sentencepiece_tokenizer.gen_sentencepiece_tokenizer
CHARACTERS_PER_TOKEN = 16  # a text is cut after so many characters for each token allowed
# What nmt_nfkc, the normaliser of XLM-R, does beside NFKC: drops controls, sees more white space, keeps the wide tilde.
DROPPED = r"[\x00-\x08\x0b\x0e-\x1f\x7f\x{8f}\x{9f}]"
SPACES = r"[\t\n\f\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"
WIDE_TILDE, PRIVATE = "\uff5e", "\ue000"


def _clean(texts: tf.Tensor, max_tokens: int) -> tf.Tensor:
    """Valid UTF-8, cut to what `max_tokens` could need at most."""
    valid = tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")
    return tf.strings.substr(valid, 0, CHARACTERS_PER_TOKEN * max_tokens, unit="UTF8_CHAR")


def _frame(tokens: tf.RaggedTensor, max_tokens: int, begin: int, end: int, pad: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts the special tokens around rows of ids, cuts and pads them."""
    tokens = tf.cast(tokens[:, : max_tokens - 2], tf.int32)
    edge = tf.ones([tokens.nrows(), 1], tf.int32)
    framed = tf.concat([begin * edge, tokens, end * edge], 1)
    ids = framed.to_tensor(pad)
    return ids, tf.sequence_mask(framed.row_lengths(), tf.shape(ids)[1])


class _SharedPieces(tf.saved_model.experimental.TrackableResource):
    """A SentencePiece model under a name of its own.

    `tf_text.SentencepieceTokenizer` leaves its model to the kernel that made it, and `tf.random.set_seed` throws
    kernels away: the next text would find no model. A named one stays.
    """

    def __init__(self, model: bytes):
        self._model, self._name = model, f"sentencepiece-{hashlib.blake2b(model, digest_size=8).hexdigest()}"
        super().__init__()
        with tf.init_scope():  # made now, not in whatever graph asks first
            _ = self.resource_handle

    def _create_resource(self) -> tf.Tensor:
        return OPS.sentencepiece_op(model=self._model, shared_name=self._name)

    def tokenize(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """[B] strings -> [B, (tokens)] ids."""
        ids, splits = OPS.sentencepiece_tokenize_op(
            self.resource_handle, texts, nbest_size=0, alpha=1.0, add_bos=False, add_eos=False, reverse=False
        )
        return tf.RaggedTensor.from_row_splits(ids, splits, validate=False)


class SentencePiece(tf.Module):
    """SentencePiece Unigram with XLM-R's ids: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3.

    The pieces are handed over in the order of XLM-R, so the piece's number is its id. Texts are normalised as XLM-R's
    own normaliser (nmt_nfkc) does.

    Args:
      pieces: all pieces, in the order of their ids.
      scores: their log probabilities.
    """

    BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3

    def __init__(self, pieces: Sequence[str], scores: np.ndarray, name: str = "sentence_piece"):
        super().__init__(name=name)
        self._model = _SharedPieces(self.proto(pieces, scores))
        self.pieces = np.array(list(pieces), object)
        self.pieces[[self.BEGIN, self.PAD, self.END]], self.pieces[self.UNKNOWN] = "▁", ""

    @classmethod
    def proto(cls, pieces: Sequence[str], scores: np.ndarray) -> bytes:
        """The pieces as a serialised SentencePiece model."""
        model = sentencepiece.ModelProto()
        kinds = {cls.UNKNOWN: model.SentencePiece.UNKNOWN}
        kinds |= dict.fromkeys((cls.BEGIN, cls.PAD, cls.END), model.SentencePiece.CONTROL)
        for i, (piece, score) in enumerate(zip(pieces, np.asarray(scores).tolist(), strict=True)):
            model.pieces.add(piece=piece, score=score, type=kinds.get(i, model.SentencePiece.NORMAL))
        model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
        model.trainer_spec.unk_id, model.trainer_spec.pad_id = cls.UNKNOWN, cls.PAD
        model.trainer_spec.bos_id, model.trainer_spec.eos_id = cls.BEGIN, cls.END
        model.normalizer_spec.name = "identity"
        return model.SerializeToString()

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes.

        Args:
          texts: [B] strings.
          max_tokens: longest row, special tokens included.

        Returns:
          ids [B, L] int32 and mask [B, L] bool.
        """
        texts = tf.strings.regex_replace(_clean(texts, max_tokens), DROPPED, "")
        texts = tf.strings.regex_replace(texts, SPACES, " ")
        texts = tf.strings.regex_replace(texts, WIDE_TILDE, PRIVATE)
        texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFKC"), PRIVATE, WIDE_TILDE)
        return _frame(self._model.tokenize(texts), max_tokens, self.BEGIN, self.END, self.PAD)


class WordPiece(tf.Module):
    """BERT's uncased WordPiece.

    Args:
      words: the vocabulary in the order of its ids, `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]` among it.
    """

    def __init__(self, words: Sequence[str], name: str = "word_piece"):
        super().__init__(name=name)
        self._words = tf_text.FastBertTokenizer(list(words), token_out_type=tf.int32, lower_case_nfd_strip_accents=True)
        self._pad, self._begin, self._end = (list(words).index(word) for word in ("[PAD]", "[CLS]", "[SEP]"))
        self.pieces = np.array([_piece(word) for word in words], object)

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SentencePiece.__call__`."""
        tokens = self._words.tokenize(_clean(texts, max_tokens))
        return _frame(
            tokens.merge_dims(1, -1) if tokens.ragged_rank > 1 else tokens,
            max_tokens,
            self._begin,
            self._end,
            self._pad,
        )


def _piece(word: str) -> str:
    if word.startswith("[") and word.endswith("]") and len(word) > 2:
        return "" if word == "[UNK]" else "▁"
    return word[2:] if word.startswith("##") and len(word) > 2 else f"▁{word}"


class CharacterHash(tf.Module):
    """Lower-case characters hashed into a few ids: no vocabulary, for smoke runs and tests.

    Args:
      size: number of ids; 0 is padding, 1 begins and 2 ends a text.
    """

    def __init__(self, size: int, name: str = "character_hash"):
        super().__init__(name=name)
        self._size = size
        self.pieces = np.array(
            ["▁"] * 3 + [""] * (size - 3), object
        )  # a hash tells no character, but those of ASCII can be tried
        printable = [character for character in map(chr, range(32, 127)) if not character.isupper()]
        for character, place in zip(
            printable, tf.strings.to_hash_bucket_fast(printable, size - 3).numpy(), strict=True
        ):
            self.pieces[place + 3] = "▁" if character == " " else character

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SentencePiece.__call__`."""
        texts = tf.strings.lower(_clean(texts, max_tokens), encoding="utf-8")
        characters = tf.strings.unicode_split(texts, "UTF-8")
        hashed = tf.strings.to_hash_bucket_fast(characters.flat_values, self._size - 3) + 3
        return _frame(characters.with_flat_values(hashed), max_tokens, 1, 2, 0)
