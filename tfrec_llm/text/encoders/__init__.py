"""Strings -> vectors: tokenizers, BERT and GPT-2 graphs, weights from archives and checkpoints, engines."""

from tfrec_llm.text.encoders.bulk import encode_texts
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.registry import ENCODERS

__all__ = ["ENCODERS", "TextEncoder", "encode_texts"]
