"""An utterance or an item's text -> one vector of unit length. Parts are made in `encoders`; used by all of `text`."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from tfrec_llm.layers.noise import QUIET, Noise
from tfrec_llm.text.encoders.bert import Bert

Tokenizer = Callable[[tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]
KINDS = ("query", "passage")


def mean(tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """[B, L, D], [B, L] -> [B, D]: the sum, which differs from the mean by a factor only."""
    return tf.reduce_sum(tf.where(mask[..., None], tokens, 0.0), 1)


def first(tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The vector of the first token, BERT's `[CLS]`."""
    return tokens[:, 0]


def last(tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """The vector of the last token before the padding: the only one that a decoder's others all reach."""
    place = tf.reduce_sum(tf.cast(mask, tf.int32), 1) - 1
    return tf.gather(tokens, tf.maximum(place, 0), axis=1, batch_dims=1)


POOLINGS: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {"mean": mean, "cls": first, "last": last}


class TextEncoder(tf.Module):
    """Tokenizer, transformer, pooling of the tokens, unit length.

    Args:
      tokenizer: (texts [B], max_tokens) -> ids [B, L], mask [B, L].
      bert: ids, mask -> [B, L, D].
      prefixes: kind ("query", "passage") -> what is put before a text of that kind.
      fingerprint: changes with anything that changes a vector.
      pooling: a name in `POOLINGS`, how a text's token vectors become one.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        bert: Bert,
        prefixes: Mapping[str, str],
        fingerprint: str,
        pooling: str = "mean",
        name: str = "encoder",
    ):
        super().__init__(name=name)
        self.tokenizer, self.bert, self.fingerprint = tokenizer, bert, fingerprint
        self._pool = POOLINGS[pooling]
        self._prefixes = {kind: prefixes.get(kind, "") for kind in KINDS}

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self.bert.shape.hidden_size

    @property
    def export_obstacle(self) -> str:
        """Why the encoder cannot be in a SavedModel, and what can; empty where it can."""
        return getattr(self.tokenizer, "export_obstacle", "")

    @property
    def num_transformer_weights(self) -> int:
        """Weights outside the embedding tables, without what a fine-tuning method adds."""
        return self.bert.num_block_weights

    def prefix(self, kind: str) -> str:
        """What is put before a text of a kind."""
        return self._prefixes[kind]

    def tokenize(self, texts: tf.Tensor, kind: str = "query", max_tokens: int = 64) -> tuple[tf.Tensor, tf.Tensor]:
        """Token ids, padded to the longest of the batch.

        Args:
          texts: [B] strings; may be empty, endless or broken.
          kind: "query" for what users say, "passage" for what items are.
          max_tokens: longest row, special tokens included.

        Returns:
          ids [B, L] int32 and mask [B, L] bool, L at least 2.
        """
        if kind not in KINDS:
            raise ValueError(f"expected a kind of text among {', '.join(KINDS)}, got {kind!r}.")
        return self.tokenizer(tf.strings.join([self._prefixes[kind], texts]), min(max_tokens, self.bert.max_length))

    def tokens(
        self,
        ids: tf.Tensor,
        mask: tf.Tensor,
        dtype: tf.DType = tf.float32,
        noise: Noise = QUIET,
        perturbation: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Vectors of the tokens, [B, L, D] float32; arguments as of `Bert.__call__`."""
        return tf.cast(self.bert(ids, mask, dtype, noise, perturbation), tf.float32)

    def pool(self, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Token vectors [B, L, D] float32 and mask [B, L] -> [B, D] of unit length."""
        return tf.math.l2_normalize(self._pool(tokens, mask), -1)

    def encode(
        self,
        ids: tf.Tensor,
        mask: tf.Tensor,
        dtype: tf.DType = tf.float32,
        noise: Noise = QUIET,
        perturbation: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Vectors of tokenized texts.

        Args:
          ids: [B, L] int32 token ids.
          mask: [B, L] bool, False at padding.
          dtype: what the products are computed in.
          noise: what dropout draws from in training; `QUIET` draws nothing.
          perturbation: [B, L, D] float32 added to the word vectors.

        Returns:
          [B, D] float32 of unit length.
        """
        return self.pool(self.tokens(ids, mask, dtype, noise, perturbation), mask)
