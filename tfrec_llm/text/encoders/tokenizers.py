"""Strings to token ids, as graph operations that a stock TensorFlow Serving links.

Each tokenizer maps [B] strings to ids [B, L] padded to the longest of the batch and a mask; `max_tokens` counts the
special tokens too. Broken UTF-8, empty and endless strings are all fine. `pieces` are what the ids stand for: "▁"
begins a word and is all that special tokens have, "" stands for what is unknown.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text
from tensorflow_text.python.ops import sentencepiece_tokenizer

OPS = sentencepiece_tokenizer.gen_sentencepiece_tokenizer
CHARACTERS_PER_TOKEN = 16  # a text is cut after so many characters for each token allowed, where pieces are no longer
# How BERT splits words: white space, then each sign of punctuation and each Chinese character is a word of its own.
CONTROLS = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\x{fffd}\p{Cf}\p{Co}]"
PUNCTUATION = r"\p{P}$+<=>^`|~"
CHINESE = (
    r"\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{20000}-\x{2a6df}\x{2a700}-\x{2ceaf}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}"
)
LONGEST_WORD = 100  # characters; a longer word is unknown
# What nmt_nfkc, the normaliser of XLM-R, does beside NFKC: drops controls, sees more white space, keeps the wide tilde.
DROPPED = r"[\x01-\x08\x0b\x0e-\x1f\x7f\x{8f}\x{9f}]"
SPACES = r"[\t\n\f\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"
WIDE_TILDE, PRIVATE = "\uff5e", "\ue000"


def _valid(texts: tf.Tensor) -> tf.Tensor:
    """Texts with U+FFFD in place of what is no UTF-8."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


def _cut(texts: tf.Tensor, characters: int) -> tf.Tensor:
    return tf.strings.substr(texts, 0, characters, unit="UTF8_CHAR")


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

    The pieces are handed over in the order of XLM-R, so the piece's number is its id.

    Args:
      pieces: all pieces, in the order of their ids.
      scores: their log probabilities.
      normaliser: the model's own compiled character map; None = texts are normalised as XLM-R's (nmt_nfkc) does.
    """

    BEGIN, PAD, END, UNKNOWN = 0, 1, 2, 3
    SPECIAL = ("<mask>",)  # beside those four: no text may spell it

    def __init__(
        self, pieces: Sequence[str], scores: np.ndarray, normaliser: bytes | None = None, name: str = "sentence_piece"
    ):
        super().__init__(name=name)
        self._built: _SharedPieces | None = None
        self._build = lambda: _SharedPieces(self.proto(pieces, scores, normaliser))
        self._normalise = normaliser is None
        self._longest = max(CHARACTERS_PER_TOKEN, *map(len, pieces))
        self.pieces = np.array(list(pieces), object)
        self.pieces[[self.BEGIN, self.PAD, self.END]], self.pieces[self.UNKNOWN] = "▁", ""

    @classmethod
    def proto(cls, pieces: Sequence[str], scores: np.ndarray, normaliser: bytes | None = None) -> bytes:
        """The pieces as a serialised SentencePiece model."""
        from transformers.utils import sentencepiece_model_pb2_new as sentencepiece  # half a second, so only if needed

        model = sentencepiece.ModelProto()
        kinds = {cls.UNKNOWN: model.SentencePiece.UNKNOWN}
        kinds |= dict.fromkeys((cls.BEGIN, cls.PAD, cls.END), model.SentencePiece.CONTROL)
        for i, (piece, score) in enumerate(zip(pieces, np.asarray(scores).tolist(), strict=True)):
            added = model.pieces.add(piece=piece, score=score)  # an export holds the model twice: no field too many
            if i in kinds or piece in cls.SPECIAL:
                added.type = kinds.get(i, model.SentencePiece.CONTROL)
        model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
        model.trainer_spec.unk_id, model.trainer_spec.pad_id = cls.UNKNOWN, cls.PAD
        model.trainer_spec.bos_id, model.trainer_spec.eos_id = cls.BEGIN, cls.END
        model.normalizer_spec.name = "identity" if normaliser is None else "nmt_nfkc"
        model.normalizer_spec.precompiled_charsmap = normaliser or b""
        return model.SerializeToString()

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Tokenizes.

        Args:
          texts: [B] strings.
          max_tokens: longest row, special tokens included.

        Returns:
          ids [B, L] int32 and mask [B, L] bool.
        """
        texts = _valid(texts)
        if self._normalise:
            texts = tf.strings.regex_replace(tf.strings.regex_replace(texts, DROPPED, ""), SPACES, " ")
        texts = _cut(tf.strings.regex_replace(texts, "  +", " "), self._longest * max_tokens)
        if self._normalise:
            texts = tf.strings.regex_replace(texts, WIDE_TILDE, PRIVATE)
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFKC"), PRIVATE, WIDE_TILDE)
        return _frame(self._model.tokenize(texts), max_tokens, self.BEGIN, self.END, self.PAD)

    @property
    def _model(self) -> _SharedPieces:
        """Made when a text is first tokenized, which a server's encoder never does."""
        if self._built is None:
            self._built = self._build()
        return self._built


class WordPiece(tf.Module):
    """BERT's WordPiece (Devlin et al., 2019), ids as `BertTokenizerFast` gives them.

    Args:
      words: the vocabulary in the order of its ids, `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]` among it.
      lower_case: texts are made lower case.
      strip_accents: accents are taken off; None = as `lower_case`.
      split_chinese: each Chinese character is a word.

    Raises:
      ValueError: a special token is not among the words.
    """

    SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")

    def __init__(
        self,
        words: Sequence[str],
        lower_case: bool = True,
        strip_accents: bool | None = None,
        split_chinese: bool = True,
        name: str = "word_piece",
    ):
        super().__init__(name=name)
        words = list(words)
        if missing := [word for word in self.SPECIAL if word not in words]:
            raise ValueError(
                f"expected a vocabulary with {', '.join(self.SPECIAL)}, got {len(words)} words without "
                f"{', '.join(missing)}; take the vocab.txt that belongs to the weights."
            )
        last = {word: i for i, word in enumerate(words)}  # of equal lines the last counts; no word contains "["
        reachable = [word if word and last[word] == i else f"[unused line {i}]" for i, word in enumerate(words)]
        self._words = tf_text.FastWordpieceTokenizer(
            reachable, max_bytes_per_word=4 * LONGEST_WORD, token_out_type=tf.int32, no_pretokenization=True
        )
        self._pad, self._begin, self._end = (last[word] for word in self.SPECIAL[:3])
        self._lower_case = lower_case
        self._strip_accents = lower_case if strip_accents is None else strip_accents
        self._alone = f"([{PUNCTUATION}{CHINESE if split_chinese else ''}])"
        self.pieces = np.array([_piece(word) for word in words], object)

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SentencePiece.__call__`."""
        words = tf.strings.split(tf.strings.regex_replace(self._normalise(texts), self._alone, r" \1 "))
        words = words[:, : max_tokens - 2]  # a word is one token at least
        too_long = tf.strings.length(words.flat_values, "UTF8_CHAR") > LONGEST_WORD
        known = tf.where(too_long, "[UNK]", words.flat_values)
        tokens = words.with_flat_values(self._words.tokenize(known)).merge_dims(1, -1)
        return _frame(tokens, max_tokens, self._begin, self._end, self._pad)

    def _normalise(self, texts: tf.Tensor) -> tf.Tensor:
        texts = tf.strings.regex_replace(tf.strings.regex_replace(_valid(texts), CONTROLS, ""), r"[\s\p{Z}]+", " ")
        if self._strip_accents:
            texts = tf.strings.regex_replace(tf_text.normalize_utf8(texts, "NFD"), r"\p{Mn}", "")
        if self._lower_case:  # the sigma that ends a word is no letter of its own there
            texts = tf.strings.lower(tf.strings.regex_replace(texts, "Σ", "σ"), encoding="utf-8")
        return texts


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
        # A hash tells no character, but the characters of ASCII can be tried.
        self.pieces = np.array(["▁"] * 3 + [""] * (size - 3), object)
        printable = [character for character in map(chr, range(32, 127)) if not character.isupper()]
        for character, place in zip(
            printable, tf.strings.to_hash_bucket_fast(printable, size - 3).numpy(), strict=True
        ):
            self.pieces[place + 3] = "▁" if character == " " else character

    def __call__(self, texts: tf.Tensor, max_tokens: int) -> tuple[tf.Tensor, tf.Tensor]:
        """As `SentencePiece.__call__`."""
        texts = tf.strings.lower(_cut(_valid(texts), max_tokens), encoding="utf-8")
        characters = tf.strings.unicode_split(texts, "UTF-8")
        hashed = tf.strings.to_hash_bucket_fast(characters.flat_values, self._size - 3) + 3
        return _frame(characters.with_flat_values(hashed), max_tokens, 1, 2, 0)
