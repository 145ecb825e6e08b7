"""What an utterance names: attribute values from its embedding, price bounds from its tokens. Trained by `train`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf

from tfrec_llm import training
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.slots.amounts import Amounts
from tfrec_llm.training import files

NUM_BOUNDS = 2  # least and most
BOUND_SCALE = 1e-4  # bounds ride behind an embedding so small that no cosine feels them
PRICE = "price"  # the attribute of price words; its values are LEVELS
LEVELS = ("low", "high")


class SlotModel(tf.Module):
    """The slot tagger over tokens, and a head for each attribute over the embedding.

    Args:
      kinds: of spans, in the order of the tags: 0 is outside, 1 + 2k begins kind k, 2 + 2k goes on in it.
      tagger: tokens -> tags.
      heads: attribute -> head whose label 0 is "not named".
      values: attribute -> the values after label 0.
      pieces: what token ids stand for.
    """

    def __init__(
        self,
        kinds: Sequence[str],
        tagger: Head,
        heads: Mapping[str, Head],
        values: Mapping[str, Sequence[str]],
        pieces: Sequence[str],
    ):
        super().__init__(name="slot_model")
        self.kinds, self.tagger, self.heads = tuple(kinds), tagger, dict(heads)
        self.values = {name: tuple(values[name]) for name in heads}
        self._amounts = Amounts(pieces) if set(kinds) & {"below", "above"} else None

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """The attribute and the value of each column of `named`."""
        return tuple((name, value) for name, values in self.values.items() for value in values)

    def tags(self, tokens: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Tokens [B, L, D] and mask [B, L] -> the likeliest tags [B, L] int32, 0 outside the mask."""
        shape = tf.shape(tokens)
        logits = self.tagger(tf.reshape(tokens, [-1, tokens.shape[-1]]))
        tags = tf.reshape(tf.argmax(logits, axis=-1, output_type=tf.int32), shape[:2])
        return tf.where(mask, tags, 0)

    def bounds(self, ids: tf.Tensor, mask: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """Price bounds that utterances name.

        Args:
          ids: [B, L] token ids.
          mask: [B, L] bool.
          tokens: [B, L, D] their vectors.

        Returns:
          [B, 2] float32 least and most, 0 where none is named.
        """
        if self._amounts is None:
            return tf.zeros([tf.shape(ids)[0], NUM_BOUNDS])
        tags = self.tags(tokens, mask)
        found = []
        for kind in ("above", "below"):
            begins = 1 + 2 * self.kinds.index(kind)
            found.append(self._amounts(ids, (tags == begins) | (tags == begins + 1)))
        return tf.stack(found, axis=1)

    def named(self, embedding: tf.Tensor) -> tf.Tensor:
        """Embeddings [B, D] -> probability [B, V] that each value of `names` is named."""
        found = [head.probabilities(embedding)[:, 1:] for head in self.heads.values()]
        return tf.concat(found, axis=1)

    def save(self, folder: Path) -> None:
        """Writes heads and names into an existing folder."""
        for place, head in enumerate(self.heads.values()):
            training.save_weights(head, folder / f"values_{place}.npz")
        training.save_weights(self.tagger, folder / "tagger.npz")
        hidden = {name: head.hidden[0].shape[1] if head.hidden else 0 for name, head in self.heads.items()}
        files.write_json(folder / "slots.json", {"kinds": list(self.kinds), "values": self.values, "hidden": hidden})

    @classmethod
    def load(cls, folder: Path, dim: int, hidden: int, pieces: Sequence[str]) -> "SlotModel":
        """Reads what `save` wrote.

        Raises:
          ValueError: a file is missing or does not fit.
        """
        about = files.read_json(folder / "slots.json")
        tagger = Head(dim, 1 + 2 * len(about["kinds"]), hidden)
        training.load_weights(tagger, folder / "tagger.npz")
        own = about.get("hidden", {})  # heads of few rows have no hidden layer
        heads = {name: Head(dim, 1 + len(values), own.get(name, hidden)) for name, values in about["values"].items()}
        for place, head in enumerate(heads.values()):
            training.load_weights(head, folder / f"values_{place}.npz")
        return cls(about["kinds"], tagger, heads, about["values"], pieces)


def with_bounds(embedding: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
    """[B, D] and [B, 2] -> [B, D + 2]: what `encode_text` hands to `decide`, as one tensor."""
    return tf.concat([embedding, BOUND_SCALE * tf.math.log1p(bounds)], axis=1)


def split_bounds(embedding: tf.Tensor, dim: int) -> tuple[tf.Tensor, tf.Tensor]:
    """[B, D] or [B, D + 2] -> the embedding [B, D] and the bounds [B, 2], 0 where none came with it."""
    padded = tf.pad(embedding, [[0, 0], [0, NUM_BOUNDS]])[:, : dim + NUM_BOUNDS]
    bounds = tf.math.expm1(padded[:, dim:] / BOUND_SCALE)
    return tf.ensure_shape(padded[:, :dim], [None, dim]), tf.where(bounds > 1e-3, bounds, 0.0)


def inside(prices: tf.Tensor, bounds: tf.Tensor) -> tf.Tensor:
    """Which items lie within the bounds.

    Args:
      prices: [N+2], nan where unknown: such an item lies inside only where nothing is bounded.
      bounds: [B, 2] least and most, 0 = none.

    Returns:
      [B, N+2] bool. A cent to either side counts as inside.
    """
    least, most = bounds[:, :1], bounds[:, 1:]
    return ((least <= 0) | (prices >= least - 0.01)) & ((most <= 0) | (prices <= most + 0.01))
