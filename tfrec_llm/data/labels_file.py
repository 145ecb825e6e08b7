"""Labelled sentences of a user's own: the file that `data.utterances` names."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from tfrec_llm.config import Data
from tfrec_llm.data.cells import NESTED
from tfrec_llm.data.tables import Table, read_table
from tfrec_llm.data.texts import SENTIMENTS, SPLITS, collect, every_label_learnt, fine_form, hash_split, normalise
from tfrec_llm.types import Utterances

log = logging.getLogger(__name__)
KINDS = ("intent", "emotion", "sentiment")
SEVERAL = ("intent", "emotion")  # kinds of which a text may have several at once
AND = "|"  # between the labels of a cell that has several
OTHERS = re.compile("[,;/、，；｜]")  # what else people write between labels
SPACES, NUMBERS = re.compile(r"\s+"), re.compile(r"\[\s*(\d+\s*)*\]")
BRACKETS, QUOTES = " []", " \"'"  # around a list of JSON, and around what is in it
SPLIT = "split"
WAYS = {  # how a split may be written, case folded
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MOST_EMPTY = 0.2  # share of rows that may have no text
SHOWN = 5  # labels that a message names


def read_utterances(settings: Data) -> Utterances:
    """Reads `text` with any of `intent`, `emotion` and `sentiment`; an empty cell means that a row has no such label.

    The names of labels are the different cells of a column, sorted; where some differ in case alone the commonest of
    them stands for all. Sentiments that are all negative, neutral or positive keep that order. A cell of intent or
    emotion such as "joy|love" has several labels at once: then the whole column is multi-label, [R, names] bool. Rows
    of one text add their labels up. Labels written as lists, or parted by other signs where each part is a label
    elsewhere too, are taken for several at once. Language is looked up in each text. A column `split` (train,
    validation, test) says what is learnt from and what is judged on; without it a text's hash decides, but a label that
    would have no training row keeps all its rows for training. Rows without a text are left out.

    Args:
      settings: `utterances` (path to CSV, TSV or Parquet) and `columns` (our name -> the name in the file).

    Returns:
      Utterances of the corpus "files", one row for each different text.

    Raises:
      ValueError: the file can't be read, a column is missing, many texts are empty, a column has fewer than two labels,
        or a split is none of the three, or leaves nothing to learn from.
    """
    if not settings.utterances:
        raise ValueError("data.utterances: expected the path of a CSV, TSV or Parquet file, got none; set it.")
    table = read_table(settings.utterances, ("text",), settings.columns)
    table = with_texts(table)
    texts = _cells(table, "text")
    labels = {kind: _labels(table, kind) for kind in KINDS if kind in table.frame.columns}
    if not labels:
        raise ValueError(
            f"{table.path}: expected a column intent, emotion or sentiment beside text, got "
            f"{', '.join(map(str, table.frame.columns))}; add one, or map its name in [data.columns]."
        )
    _tell_swallowed_rows(table, texts, {name for names, _ in labels.values() for name in names})
    told = SPLIT in table.frame.columns
    # texts that differ in signs alone are two, but never one of them learnt and the other judged
    split = _split(table) if told else hash_split([normalise(text) or fine_form(text) for text in texts])
    corpus = collect("files", list(texts), labels, split=split, where=str(table.path), form=fine_form)
    return corpus if told else _all_learnt(corpus, table)


def with_texts(table: Table) -> Table:
    """The table without the rows that have no text.

    Raises:
      ValueError: these are too many.
    """
    empty = _cells(table, "text") == ""
    if empty.mean() > MOST_EMPTY:
        table.refuse("text", empty, "a sentence", "fill the cells or delete the rows")
    if not empty.any():
        return table
    first = table.place(int(np.flatnonzero(empty)[0]))
    log.warning("%s: %d rows have no text and are left out, the first at %s", table.path, empty.sum(), first)
    return replace(table, frame=table.frame[~empty], rows=np.flatnonzero(~empty))


def _all_learnt(corpus: Utterances, table: Table) -> Utterances:
    """The corpus with a training row of every label, whatever the hashes of its texts say."""
    split, moved = every_label_learnt(corpus, np.ones(len(corpus.split), bool))
    if moved:
        shown = ", ".join(map(repr, moved[:SHOWN])) + (f" and {len(moved) - SHOWN:,} more" if moved[SHOWN:] else "")
        log.info("%s: all rows of %s are learnt from and none is judged, since they are few.", table.path, shown)
    return replace(corpus, split=split)


def read_texts(path: str, columns: Mapping[str, str]) -> list[str]:
    """The different texts of a file without labels, in the order of the first; empty cells are left out.

    Args:
      path: CSV, TSV or Parquet with a column `text`.
      columns: our name -> the name in the file.

    Raises:
      ValueError: the file can't be read, the column is missing, or no cell of it holds a text.
    """
    table = read_table(path, ("text",), columns)
    texts = list(dict.fromkeys(cell for cell in _cells(table, "text").tolist() if cell))
    if not texts:
        raise ValueError(f"{table.path}: column 'text': expected sentences, got empty cells only; fill them.")
    return texts


def _cells(table: Table, column: str) -> np.ndarray:
    """[rows] object of str; a long one does not widen the others. Whole numbers of Parquet become their digits."""
    cells = table.frame[column]
    table.refuse(
        column, np.array([isinstance(cell, NESTED) for cell in cells]), "a text", "write one text in each cell"
    )
    return np.array(["" if pd.isna(cell) else _written(cell) for cell in cells], dtype=object)


def _written(cell: object) -> str:
    whole = isinstance(cell, float | np.floating) and float(cell).is_integer()  # a gap makes a column of integers float
    return str(int(cell) if whole else cell).strip()


def _split(table: Table) -> np.ndarray:
    """[R] str of `SPLITS`."""
    cells = np.array([WAYS.get(cell.casefold(), "") for cell in _cells(table, SPLIT)], dtype=object)
    wanted = f"one of {', '.join(SPLITS)}"
    table.refuse(SPLIT, cells == "", wanted, "correct the cells, or remove the column to split by hash")
    if not (cells == "train").any():
        raise ValueError(f"{table.path}: column 'split': expected rows of train, got none; mark what is to be learnt.")
    return cells.astype("<U10")


def _labels(table: Table, kind: str) -> tuple[tuple[str, ...], np.ndarray]:
    cells = _cells(table, kind)
    if kind in SEVERAL:
        cells = _parted(table, kind, cells)
    several = kind in SEVERAL and any(AND in cell for cell in cells)
    said = [{part.strip() for part in cell.split(AND)} - {""} if several else {cell} - {""} for cell in cells]
    said = _one_spelling(table, kind, said)
    names = tuple(sorted(set().union(*said)))
    if len(names) < 2:
        raise ValueError(
            f"{table.path}: column {table.names.get(kind, kind)!r}: expected at least two different labels, got "
            f"{', '.join(names) or 'none'}; add rows with other labels, or remove the column."
        )
    if kind == "sentiment" and set(names) <= set(SENTIMENTS):
        names = SENTIMENTS
    if several:
        return names, np.array([[name in own for name in names] for own in said], dtype=bool)
    places = {name: place for place, name in enumerate(names)}
    return names, np.array([places[min(own)] if own else -1 for own in said], dtype=np.int32)


def _tell_swallowed_rows(table: Table, texts: np.ndarray, names: set[str]) -> None:
    """Warns of texts of CSV with lines that begin or end as rows do: a stray quote runs on to the next quote."""
    if table.path.suffix.lower() != ".csv":
        return
    lines = [(row, line.split(",")) for row, text in enumerate(texts) if "\n" in text for line in text.split("\n")]
    rows = sorted({row for row, cells in lines if cells[1:] and not names.isdisjoint((cells[0], cells[-1].strip()))})
    if rows:
        log.warning(
            "%s: %d texts span several lines that look like rows, the first at %s; if a stray quote begins them, "
            "remove it or write it twice inside quotes.",
            table.path,
            len(rows),
            table.place(rows[0]),
        )


def _one_spelling(table: Table, kind: str, said: list[set[str]]) -> list[set[str]]:
    """The labels of each row, those that differ in case alone as most rows write them."""
    counts, written = Counter(name for own in said for name in own), {}
    for name in sorted(counts):
        written.setdefault(name.casefold(), []).append(name)
    commonest = {name: max(ways, key=counts.__getitem__) for ways in written.values() for name in ways}
    several = [ways for ways in written.values() if len(ways) > 1]
    if several:
        shown = "; ".join(f"{', '.join(map(repr, ways))} as {commonest[ways[0]]!r}" for ways in several[:SHOWN])
        where = f"{table.path}: column {table.names.get(kind, kind)!r}"
        log.warning("%s: labels that differ in case alone count as one (%d): %s.", where, len(several), shown)
    return [{commonest[name] for name in own} for own in said]


def _parted(table: Table, kind: str, cells: np.ndarray) -> np.ndarray:
    """[rows] cells with `AND` between the labels of those that have several, written as lists or parted by other signs.

    Signs part a cell only where each part is a label alone in some other row: "home, garden" may be one label.
    """
    names = set(cells.tolist()) - {""}
    parts = {name: _parts(name) for name in sorted(names)}
    alone = {part for found in parts.values() if len(found) == 1 for part in found}
    lists = all(name.startswith("[") and name.endswith("]") for name in names)
    joined = {
        name: AND.join(sorted(found))
        for name, found in parts.items()
        if (found or lists)
        and found != {name}
        and (lists or (found <= alone if len(found) > 1 else found <= parts.keys()))
    }
    if joined:
        log.warning(
            "%s: column %r: %d cells such as %s are taken for %s; write %s between several labels at once.",
            table.path, table.names.get(kind, kind), sum(cell in joined for cell in cells),
            ", ".join(map(repr, sorted(joined)[:SHOWN])), "lists of labels" if lists else "several labels", AND,
        )  # fmt: skip
    return np.array([joined.get(cell, cell) for cell in cells], dtype=object)


def _parts(name: str) -> set[str]:
    """What a label would be if it were several, written in another way: parted by other signs, or a list of JSON."""
    return {part.strip(QUOTES) for part in _separator(name).split(name.strip(BRACKETS))} - {""}


def _separator(name: str) -> re.Pattern:
    """What parts the labels of a cell: in a list of numbers, as numpy prints one, spaces do."""
    return SPACES if NUMBERS.fullmatch(name) else OTHERS
