"""Raw files -> interactions, catalogue, utterances, splits: the nouns that every later stage reads.

Names are loaded when they are first used, so that reading a domain does not import TensorFlow.
"""

import importlib
from typing import Any

_PLACES = {
    "CORPORA": "corpora",
    "DATASETS": "datasets",
    "EMOTIONS": "emotions",
    "SENTIMENTS": "texts",
    "SENTIMENT_OF": "emotions",
    "SourceError": "archives",
    "cache_dir": "archives",
    "can_name": "utterances",
    "domain_names": "domains",
    "domain_utterances": "utterances",
    "emotion_words": "emotions",
    "histories": "history",
    "load_dataset": "datasets",
    "load_domain": "domains",
    "names_for": "archives",
    "read_dataset": "storage",
    "read_names": "storage",
    "read_shown": "storage",
    "read_texts": "labels_file",
    "read_utterances": "labels_file",
    "sequence_batches": "pipeline",
    "synthesise": "utterances",
    "synthesise_named": "utterances",
    "training_sequences": "pipeline",
    "weak_emotion": "emotions",
    "with_validation": "split",
    "write_dataset": "storage",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
