"""What the later stages and the export see of the text stage: utterance -> TextSignals. I(X) of the article."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfrec_llm import training
from tfrec_llm.config import Config, choose
from tfrec_llm.text.attributes import ItemAttributes
from tfrec_llm.text.classification.answers import Answers
from tfrec_llm.text.classification.ensemble import Ensemble
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.registry import ENCODERS, fingerprint
from tfrec_llm.text.finetuning import FINETUNING, Finetuning
from tfrec_llm.text.slots import NUM_BOUNDS, SlotModel, item_table, load_slots, with_bounds
from tfrec_llm.training import files
from tfrec_llm.types import ItemVectors, TextSignals

FINETUNED = "finetuned.npz"  # the trained share of the encoder
SIGNALS = ("intent", "emotion", "sentiment")
ENCODER = "encoder"  # in labels.json: the fingerprint of the encoder that the heads were trained on


class TextModel(tf.Module):
    """The encoder with its three heads.

    Args:
      encoder: the encoder.
      heads: "intent", "emotion" and "sentiment".
      labels: the names of each head's labels, e.g. those of the domain's intents.
      items: the item vectors that the same encoder made.
      max_tokens: utterances are cut after so many tokens.
      slots: what hears attributes and prices, None where there are none to hear.
      attributes: what the items have of them.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        heads: Mapping[str, Answers],
        labels: dict[str, tuple[str, ...]],
        items: ItemVectors,
        max_tokens: int,
        slots: SlotModel | None = None,
        attributes: ItemAttributes | None = None,
    ):
        super().__init__(name="text_model")
        self.encoder, self.heads = encoder, dict(heads)
        self.intents, self.emotions, self.sentiments = (labels[name] for name in SIGNALS)
        self._items, self._max_tokens = items, max_tokens
        self.slots, self._attributes = slots, attributes

    @property
    def item_vectors(self) -> ItemVectors:
        """Vectors of the items, numpy."""
        return self._items

    def take_items(self, items: ItemVectors, attributes: ItemAttributes | None) -> None:
        """Answers over other items from now on, as where some came after the training."""
        self._items, self._attributes = items, attributes

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        return self.encoder.dim

    @property
    def request_dim(self) -> int:
        """Width of what `encode_request` makes."""
        return self.dim + (0 if self.slots is None else NUM_BOUNDS)

    @property
    def max_tokens(self) -> int:
        """The longest row that `tokenize` makes."""
        return min(self._max_tokens, self.encoder.bert.max_length)

    def tokenize(self, texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Utterances [B] -> ids [B, L] int32, mask [B, L] bool."""
        return self.encoder.tokenize(texts, "query", self._max_tokens)

    def encode(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Tokenized utterances -> embeddings [B, D] float32 of unit length."""
        return self.encoder.encode(ids, mask)

    def encode_request(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Tokenized utterances -> [B, D] as of `encode`, followed by their price bounds where there is a slot model.

        The bounds are two columns so small that no cosine feels them; `slots.split_bounds` takes them apart again.
        """
        return self.request_of(ids, mask, self.encoder.tokens(ids, mask))

    def request_of(self, ids: tf.Tensor, mask: tf.Tensor, tokens: tf.Tensor) -> tf.Tensor:
        """As `encode_request`, from the vectors of the tokens [B, L, D] float32."""
        embedding = self.encoder.pool(tokens, mask)
        return embedding if self.slots is None else with_bounds(embedding, self.slots.bounds(ids, mask, tokens))

    @property
    def attributes(self) -> ItemAttributes | None:
        """What the items have, known or predicted, numpy."""
        return self._attributes

    def slot_table(self) -> np.ndarray | None:
        """[N+2, V] what each item has of the values that `slots.named` hears, None where there is no slot model."""
        return None if self.slots is None else item_table(self.slots, self._attributes)

    def signals(self, embedding: tf.Tensor) -> TextSignals:
        """What utterances say, from their embeddings [B, D]."""
        return TextSignals(*(self.heads[name].probabilities(embedding) for name in SIGNALS), embedding)

    def signals_of(self, embedding: tf.Tensor, has_text: tf.Tensor) -> TextSignals:
        """As `signals`, but nothing is computed where no row of the batch has a text; rows without mean nothing."""
        labels = [len(names) for names in (self.intents, self.emotions, self.sentiments)]
        batch = tf.shape(embedding)[0]
        said = tf.cond(
            tf.reduce_any(has_text),
            lambda: tuple(self.signals(embedding)[:-1]),
            lambda: tuple(tf.zeros([batch, count]) for count in labels),
        )
        return TextSignals(*said, embedding)

    def known_intent_of(self, embedding: tf.Tensor, has_text: tf.Tensor) -> tf.Tensor:
        """As `known_intent`, but nothing is computed where no row of the batch has a text."""
        return tf.cond(tf.reduce_any(has_text), lambda: self.known_intent(embedding), lambda: tf.zeros_like(has_text))

    def named_in(self, embedding: tf.Tensor, has_text: tf.Tensor) -> tf.Tensor:
        """[B, V] as `slots.named`, but nothing is computed where no row of the batch has a text."""
        shape = [tf.shape(embedding)[0], len(self.slots.names)]
        return tf.cond(tf.reduce_any(has_text), lambda: self.slots.named(embedding), lambda: tf.zeros(shape))

    def known_intent(self, embedding: tf.Tensor) -> tf.Tensor:
        """[B, D] embeddings -> [B] bool: False where the evidence is for none of the intents."""
        return self.heads["intent"].known(embedding)


def load(config: Config, folder: Path) -> TextModel:
    """The text stage's result.

    Args:
      config: the config that it was trained with.
      folder: the stage's folder.

    Raises:
      ValueError: the folder does not fit the config; the message says how to train again.
    """
    labels, items = files.read_json(folder / "labels.json"), load_item_vectors(folder)
    encoder, finetuning = build_encoder(config)
    if items.text.shape[1] != encoder.dim:
        raise ValueError(
            f"{folder}: expected item vectors of {encoder.dim} numbers, as {config.text.encoder.name} makes, "
            f"got {items.text.shape[1]}; run `make train STAGE=text`."
        )
    if finetuning.variables:
        finetuning.load(folder / FINETUNED)
        serve_finetuned(encoder, finetuning, folder)
    if labels.get(ENCODER, encoder.fingerprint) != encoder.fingerprint:  # absent in runs of earlier versions
        raise ValueError(
            f"{folder}: expected the encoder that the heads were trained on ({labels[ENCODER]}), got another "
            f"({encoder.fingerprint}): its checkpoint or settings have changed; put them back, or run "
            "`make train STAGE=text`."
        )
    heads = {name: _head(config, folder, name, labels[name], encoder.dim) for name in SIGNALS}
    names = {n: tuple(labels[n]["labels"]) for n in SIGNALS}
    return TextModel(
        encoder, heads, names, items, config.text.max_tokens, *load_slots(folder, encoder, config.text.hidden)
    )


def build_encoder(config: Config) -> tuple[TextEncoder, Finetuning]:
    """The encoder of a config as it comes, and the method that may train it, hung on it.

    Raises:
      ConfigError: no such encoder or method, or settings that do not fit.
    """
    settings, builder = choose(ENCODERS, config.text.encoder, "text.encoder")
    method, hang = choose(FINETUNING, config.text.finetuning, "text.finetuning")
    encoder = builder(settings)
    return encoder, hang(method, encoder, config.seed)


def serve_finetuned(encoder: TextEncoder, finetuning: Finetuning, folder: Path) -> None:
    """Folds trained weights in and gives the encoder a fingerprint of its own, so that cached vectors are not mixed up.

    Args:
      encoder: that `finetuning` hangs on.
      finetuning: trained, or loaded.
      folder: the stage's folder, where its weights lie.
    """
    finetuning.merge()
    encoder.fingerprint = fingerprint(encoder.fingerprint.encode(), (folder / FINETUNED).read_bytes())


def load_language_axes(folder: Path) -> np.ndarray:
    """[2, D] what `languages.language_axes` found, numpy."""
    return files.read_npz(folder / "item_vectors.npz")["language_axes"]


def load_item_vectors(folder: Path) -> ItemVectors:
    """The item vectors alone, numpy: for stages that need no encoder."""
    stored = files.read_npz(folder / "item_vectors.npz")
    return ItemVectors(stored["text"], None, None, None, stored["present"])


def _head(config: Config, folder: Path, name: str, about: dict, dim: int) -> Answers:
    heads = [
        Head(dim, len(about["labels"]), about.get("hidden", config.text.hidden), multi_label=about["multi_label"])
        for _ in range(about.get("members", 1))
    ]
    head = heads[0] if len(heads) == 1 else Ensemble(heads)
    training.load_weights(head, folder / "heads" / f"{name}.npz")
    return head
