"""Utterance -> TextSignals; item text -> item vectors. Public names of the text stage."""

from tfrec_llm.text.encoders.bulk import encode_texts
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.registry import ENCODERS
from tfrec_llm.text.finetuning import FINETUNING
from tfrec_llm.text.items import item_vectors
from tfrec_llm.text.later import with_later
from tfrec_llm.text.learning import check_members
from tfrec_llm.text.model import TextModel, load, load_item_vectors, load_language_axes
from tfrec_llm.text.outside import outside_files
from tfrec_llm.text.train import train

__all__ = [
    "ENCODERS",
    "FINETUNING",
    "TextEncoder",
    "TextModel",
    "check_members",
    "encode_texts",
    "item_vectors",
    "load",
    "load_item_vectors",
    "load_language_axes",
    "outside_files",
    "train",
    "with_later",
]
