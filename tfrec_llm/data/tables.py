"""CSV and Parquet files of a user's own, read strictly: every complaint names file, column, rows and what to do."""

import csv
import difflib
import gzip
import io
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

GZIP, TEXTS = ".gz", (".csv", ".tsv")
KNOWN = (  # columns that are read under these names
    "user_id", "item_id", "timestamp", "event", "value", "title", "text", "price", "categories", "available",
    "image_path", "intent", "emotion", "sentiment", "split",
)  # fmt: skip
_SHOWN = 5  # bad rows that a message names
_STRAY_QUOTE = re.compile(r'(?m)(?:^|\t)"(?!(?:[^"\t\r\n]|"")*"(?:\t|\r?$))')  # a cell of TSV begins with it alone


@dataclass(frozen=True)
class Table:
    """A file's rows, columns under our names; CSV cells are str, Parquet cells what the file holds."""

    path: Path
    frame: pd.DataFrame
    names: Mapping[str, str]  # our column name -> the name in the file, where they differ
    rows: np.ndarray | None = None  # [rows] their places in the file, where some of its rows were left out

    def refuse(self, column: str, bad: np.ndarray, expected: str, remedy: str) -> None:
        """Raises a ValueError if any row is bad.

        Args:
          column: ours.
          bad: [rows] bool.
          expected: what belongs into the column.
          remedy: what to do.
        """
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        noun, numbers = _row_numbers(self.path, self._places(rows[:_SHOWN]))
        named = ", ".join(
            f"{number}: {_short(self.frame[column].iloc[row])}" for number, row in zip(numbers, rows, strict=False)
        )
        more = f" and {len(rows) - _SHOWN:,} more" if len(rows) > _SHOWN else ""
        where = f"{self.path}: column {self.names.get(column, column)!r}"
        raise ValueError(f"{where}: expected {expected}, got at {noun} {named}{more}; {remedy}.")

    def place(self, row: int) -> str:
        """Where a person finds a row, counted from 0: "line 3"."""
        noun, (number,) = _row_numbers(self.path, self._places(np.array([row])))
        return f"{noun} {number}"

    def _places(self, rows: np.ndarray) -> np.ndarray:
        return rows if self.rows is None else self.rows[rows]


def read_table(path: str | Path, required: Iterable[str], columns: Mapping[str, str] | None = None) -> Table:
    """Reads a CSV, TSV or Parquet file. Where some cell of a TSV begins with a quote that it does not end with, quotes
    are plain text there; else they are as in CSV.

    Args:
      path: the suffix decides how it is read: .csv, .tsv (each with .gz behind it too), .parquet or .pq.
      required: columns that must be there, under our names.
      columns: our column name -> the name in the file; what the file lacks is looked for under our name, whatever its
        case and the space around it.

    Raises:
      ValueError: no such file, not readable as what its suffix says, no rows, or a column is missing.
    """
    path = Path(path)
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".parquet": _read_parquet, ".pq": _read_parquet}
    kind = _kind(path)
    if kind not in readers or (kind not in TEXTS and path.suffix.lower() == GZIP):
        raise ValueError(f"{path}: expected a file ending in {', '.join(readers)}, got {path.suffix!r}; convert it.")
    try:
        frame = readers[kind](path)
    except FileNotFoundError as error:
        raise ValueError(f"{path}: expected a file, got none; correct the path in [data].") from error
    except (IsADirectoryError, PermissionError) as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give a readable file.") from error
    names = {ours: theirs for ours, theirs in (columns or {}).items() if theirs in frame.columns}
    frame = frame.rename(columns={theirs: ours for ours, theirs in names.items()})
    loose = {str(column).strip().casefold(): column for column in frame.columns}
    near = {name: loose[name] for name in KNOWN if name not in frame.columns and name in loose}
    frame = frame.rename(columns={theirs: ours for ours, theirs in near.items()})
    names |= near
    table = Table(path, frame, names)
    _check_columns(table, required)
    if frame.empty:
        raise ValueError(f"{path}: expected rows, got only a header; give a file with data.")
    return table


def _kind(path: Path) -> str:
    """The suffix that says how a file is read, without that of its compression."""
    return (path.with_suffix("") if path.suffix.lower() == GZIP else path).suffix.lower()


def _check_columns(table: Table, required: Iterable[str]) -> None:
    doubled = table.frame.columns[table.frame.columns.duplicated()].unique()
    if len(doubled):
        raise ValueError(f"{table.path}: column {doubled[0]!r} is there twice; rename one, or correct data.columns.")
    for name in required:
        if name not in table.frame.columns:
            close = difflib.get_close_matches(name, map(str, table.frame.columns), n=1)
            theirs = close[0] if close else "its name in the file"
            raise ValueError(
                f"{table.path}: column {name!r} is missing, got {', '.join(map(repr, table.frame.columns))}; rename "
                f"a column, or say [data.columns] {name} = {theirs!r}."
            )


def _read_csv(path: Path) -> pd.DataFrame:
    text = _decode(path)
    if not text.strip():
        raise ValueError(f"{path}: expected a header and rows, got an empty file; give a file with data.")
    try:
        form = {"sep": _delimiter(path), "quoting": _quoting(path, text)}
        frame = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, **form)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path}: expected as many cells as the header has, got {error}; correct the file.") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes surplus cells for row names
        raise ValueError(f"{path}: expected as many cells as the header has, got more in each row; correct the header.")
    return frame.fillna("")  # rows that are too short


def _decode(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark."""
    data = path.read_bytes()
    if path.suffix.lower() == GZIP:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: expected a file packed by gzip, got {error}; pack or copy it again.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: line {line}: expected UTF-8, got the byte 0x{data[error.start]:02x}; save the file as UTF-8."
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ValueError(f"{path}: line {line}: expected text, got a NUL character; remove it, or save as UTF-8.")
    return text


def _read_parquet(path: Path) -> pd.DataFrame:
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: expected Parquet, got an empty file; give a file with data.")
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: expected Parquet, got a damaged file ({reason}); write it again.") from error


def _delimiter(path: Path) -> str:
    return "\t" if _kind(path) == ".tsv" else ","


def _quoting(path: Path, text: str) -> int:
    plain = _kind(path) == ".tsv" and _STRAY_QUOTE.search(text)
    return csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL


def _row_numbers(path: Path, rows: np.ndarray) -> tuple[str, list[int]]:
    """How a person finds rows: lines of a text file (quoted cells may span several), row numbers of Parquet."""
    if _kind(path) not in TEXTS:
        return "row", [int(row) + 1 for row in rows]
    delimiter = _delimiter(path)
    csv.field_size_limit(sys.maxsize)  # pandas has read the cells already, however long they are
    text = _decode(path)
    lines = io.StringIO(text, newline="").readlines()
    reader = csv.reader(lines, delimiter=delimiter, quoting=_quoting(path, text))
    wanted, found, row, begin = set(rows.tolist()), [], -1, 0
    for _ in reader:
        if lines[begin].strip(" \t\r\n".replace(delimiter, "")):  # blank lines are no rows
            if row in wanted:
                found.append(begin + 1)
            row += 1
        begin = reader.line_num
        if len(found) == len(wanted):
            break
    return "line", found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:36]}...{text[0] if text[0] in chr(39) + chr(34) else ''}"
