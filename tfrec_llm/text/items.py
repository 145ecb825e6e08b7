"""Item texts -> item vectors, one row per item index: F(Y) of the article."""

import numpy as np

from tfrec_llm.config import Text
from tfrec_llm.text.encoders.bulk import encode_texts
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.types import FIRST_ITEM, Catalogue, ItemVectors

MODALITIES = ("text", "image", "audio", "attributes")  # columns of `present`


def item_vectors(encoder: TextEncoder, catalogue: Catalogue, settings: Text) -> ItemVectors:
    """Encodes the catalogue's texts as passages; cached on disk by content.

    Args:
      encoder: the encoder.
      catalogue: N+2 rows.
      settings: lengths, batch size and precision.

    Returns:
      Vectors [N+2, D] of unit length, so that a product with an utterance's embedding is their cosine; zero and not
      present in rows 0 and 1 and for items without text. `present` has the columns text, image, audio, attributes.
    """
    texts = [str(text) for text in catalogue.texts]
    rows = np.array([i for i, text in enumerate(texts) if i >= FIRST_ITEM and text.strip()], np.int64)
    vectors = np.zeros((len(texts), encoder.dim), np.float32)
    vectors[rows] = encode_texts(
        encoder,
        [texts[i] for i in rows],
        "passage",
        settings.max_item_tokens,
        settings.batch_size,
        settings.precision,
        settings.engine,
    )
    present = np.zeros((len(texts), len(MODALITIES)), bool)
    present[rows, 0] = True
    return ItemVectors(vectors, None, None, None, present)
