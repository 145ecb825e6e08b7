"""The cells of a user's own table as ids, seconds, numbers, flags and attribute values, checked row by row."""

import logging

import numpy as np
import pandas as pd

from tfrec_llm.data.tables import Table
from tfrec_llm.data.vocabulary import UNKNOWN_ID

log = logging.getLogger(__name__)

_LAST_SECOND = 253_402_300_799  # end of the year 9999: beyond, it is milliseconds
NESTED = (np.ndarray, list, tuple, dict, bytes)  # what a cell of Parquet may be that is no single value
_CURRENCY = r"^(?:[$€£¥￥₹₩]|[A-Z]{2,3}[$¥]?)\s*|\s*(?:[$€£¥₹₩元]|[A-Z]{3})$"  # a sign or a code, before or behind
_LONGEST_ID = 1_000  # characters: every id has room for the longest
_FLAGS = {"true": True, "1": True, "yes": True, "": True, "false": False, "0": False, "no": False}


def read_ids(table: Table, column: str) -> pd.Series:
    """Ids as str; whole numbers in Parquet become their digits.

    Raises:
      ValueError: an id is empty or too long, holds a line break or NUL, or is the reserved "[unknown]".
    """
    nested = np.array([isinstance(cell, NESTED) for cell in table.frame[column]])
    table.refuse(column, nested, "an id", "write one text or whole number in each cell")
    codes, values = pd.factorize(table.frame[column], use_na_sentinel=True)
    texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values]
    bad = [not 0 < len(text) <= _LONGEST_ID or text == UNKNOWN_ID or any(c in text for c in "\n\r\0") for text in texts]
    bad = np.array([*bad, True])
    expected = f"an id (1 to {_LONGEST_ID} characters, no line break, not {UNKNOWN_ID!r})"
    table.refuse(column, bad[codes], expected, "correct or remove these rows")
    return pd.Series(np.array(texts, dtype=object)[codes], index=table.frame.index)


def read_seconds(table: Table, column: str) -> np.ndarray:
    """[rows] int64 seconds since 1970 (UTC), from numbers, ISO 8601 or Parquet timestamps.

    Raises:
      ValueError: a cell is none of these, negative or beyond the year 9999.
    """
    cells = table.frame[column]
    if pd.api.types.is_datetime64_any_dtype(cells):
        seconds = _seconds_since_1970(cells)
    else:
        seconds = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if _are_days(seconds):  # written as 20230110, which in seconds would be a day of 1970
            cells = pd.Series([f"{day:.0f}" for day in seconds], index=cells.index)
            cells = cells.str[:4] + "-" + cells.str[4:6] + "-" + cells.str[6:]
            seconds = np.full(len(cells), np.nan)
        words = np.isnan(seconds)
        if words.any():
            seconds = seconds.copy()
            seconds[words] = _seconds_since_1970(cells[words].astype(str))
    seconds = _in_seconds(seconds, f"{table.path}: {column}")
    good = (seconds >= 0) & (seconds <= _LAST_SECOND)  # False for NaN
    remedy = "correct or remove these rows (milliseconds beside seconds: divide by 1000)"
    table.refuse(column, ~good, "seconds since 1970 or ISO 8601", remedy)
    seconds = np.floor(seconds).astype(np.int64)
    if len(seconds) and seconds.max() > 0:
        first, last = (np.datetime64(int(s), "s") for s in (seconds.min(), seconds.max()))
        log.info("%s: %s from %s to %s (UTC)", table.path, column, first, last)
    return seconds


def _in_seconds(numbers: np.ndarray, label: str) -> np.ndarray:
    """Times in seconds, where all are in another unit too; of the years 1973 to 2286 none looks like another's."""
    for unit, parts in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
        if len(numbers) and np.nanmin(numbers, initial=np.inf) >= 1e8 * parts and np.nanmax(numbers) < 1e10 * parts:
            log.warning("%s: read as %s since 1970", label, unit)
            return numbers / parts
    return numbers


def read_prices(table: Table, column: str) -> np.ndarray:
    """[rows] float32; as `read_numbers`, with a currency sign and commas between thousands too.

    What is no price, such as a range, is unknown; a warning counts it.

    Raises:
      ValueError: most of the filled cells are none.
    """
    if column not in table.frame.columns:
        return np.full(len(table.frame), np.nan, np.float32)
    words = read_words(table, column).str.replace(_CURRENCY, "", regex=True)
    grouped = words.str.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?").to_numpy(bool)
    words = words.where(~grouped, words.str.replace(",", ""))
    prices = pd.to_numeric(words, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    wrong = ~(np.abs(prices) <= np.finfo(np.float32).max) & (words != "").to_numpy(bool)
    if wrong.sum() > 0.5 * (words != "").sum():
        table.refuse(column, wrong, "a price such as 12.99", "correct the cells, or leave them empty")
    if wrong.any():
        example = table.frame[column][wrong].iloc[0]
        log.warning(
            "%s: %s: %d cells such as %r are no price and count as unknown", table.path, column, wrong.sum(), example
        )
    return np.where(wrong, np.nan, prices).astype(np.float32)


def read_numbers(table: Table, column: str, unknown: float) -> np.ndarray:
    """[rows] float32; empty cells become `unknown`, and so does every cell of a column that is not there.

    Raises:
      ValueError: a cell is not a finite number of single precision.
    """
    if column not in table.frame.columns:
        return np.full(len(table.frame), unknown, np.float32)
    cells = table.frame[column]
    empty = (cells.isna() | (cells.astype(str) == "")).to_numpy(bool)
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    table.refuse(column, ~np.isfinite(numbers) & ~empty, "a number", "correct the cells, or leave them empty")
    large = np.abs(numbers) > np.finfo(np.float32).max  # False for NaN
    table.refuse(column, large, "a number of at most 3.4e38", "correct the cells, or leave them empty")
    return np.where(empty, unknown, numbers).astype(np.float32)


def read_flags(table: Table, column: str) -> np.ndarray:
    """[rows] bool from true/false, 1/0, yes/no; empty and a missing column count as true.

    Raises:
      ValueError: a cell is none of these.
    """
    if column not in table.frame.columns:
        return np.ones(len(table.frame), bool)
    words = read_words(table, column).str.lower()
    table.refuse(column, ~words.isin(list(_FLAGS)).to_numpy(bool), "true or false", "correct these cells")
    return words.map(_FLAGS).to_numpy(bool)


def read_words(table: Table, column: str) -> pd.Series:
    """Cells as str without space around them; "" where unknown or where the column is not there."""
    if column not in table.frame.columns:
        return pd.Series("", index=table.frame.index, dtype=object)
    return table.frame[column].map(lambda cell: "" if _is_unknown(cell) else str(cell).strip()).astype(object)


def read_values(table: Table, column: str) -> list[tuple[str, ...]]:
    """Attribute values per row: a list in Parquet, or text with "|" between values."""
    return [_values_of(cell) for cell in table.frame[column]]


def read_vectors(table: Table, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Vectors per row: a list in Parquet, or numbers with spaces or commas between them, in brackets or not.

    Returns:
      [rows, width] float32, zero where the cell is empty, and [rows] bool, where it is not.

    Raises:
      ValueError: a cell holds anything but finite numbers, or another number of them than most others.
    """
    vectors = [_numbers_of(cell) for cell in table.frame[column]]
    present = np.array([vector is None or len(vector) > 0 for vector in vectors], bool)
    wrong = np.array([vector is None or not np.isfinite(vector).all() for vector in vectors], bool)
    table.refuse(column, wrong, "finite numbers", "correct the cells, or leave them empty")
    lengths = np.array([len(vector) for vector in vectors])
    width = int(np.bincount(lengths[present]).argmax()) if present.any() else 0
    table.refuse(column, present & (lengths != width), f"{width} numbers, as in most rows", "make the vectors anew")
    values = np.zeros((len(vectors), width), np.float32)
    for row in np.flatnonzero(present):
        values[row] = vectors[row]
    return values, present


def is_measure(table: Table, column: str) -> bool:
    """Whether a column holds measurements, counts or vectors rather than names.

    Such are numbers not all of which are whole, several numbers in every cell, and whole numbers of which more than
    a tenth are different, and more than 50: years and codes are names, reviews are counted.
    """
    cells = table.frame[column]
    if isinstance(next((c for c in cells if not _is_unknown(c)), ""), np.ndarray | list):
        return any(len(cell) and not isinstance(cell[0], str) for cell in cells if not _is_unknown(cell))
    filled = cells[(cells.astype(str) != "") & cells.notna()]
    lengths = {0 if vector is None else len(vector) for vector in map(_numbers_of, filled)}
    if len(lengths) == 1 and lengths.pop() > 1:
        return True
    numbers = pd.to_numeric(filled, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if not len(numbers) or not np.isfinite(numbers).all():
        return False
    return bool((numbers % 1 != 0).any() or len(np.unique(numbers)) > max(50, len(numbers) / 10))


def holds_links(table: Table, column: str) -> bool:
    """Whether most filled cells of a column are addresses on the web, which say nothing about an item."""
    words = read_words(table, column)
    return bool(words[words != ""].str.match(r"(?i)(https?:)?//|www\.").mean() > 0.5)  # False where all are empty


def _values_of(cell: object) -> tuple[str, ...]:
    if _is_unknown(cell):
        return ()
    parts = cell if isinstance(cell, np.ndarray | list | tuple) else str(cell).split("|")
    return tuple(text for text in (str(part).strip() for part in parts) if text)


def _numbers_of(cell: object) -> np.ndarray | None:
    """[*] float64, empty where unknown, None where it is no list of numbers."""
    if _is_unknown(cell):
        return np.zeros(0)
    parts = cell if isinstance(cell, np.ndarray | list | tuple) else str(cell).strip(" []").replace(",", " ").split()
    try:
        return np.array([float(part) for part in parts])
    except (TypeError, ValueError):
        return None


def _is_unknown(cell: object) -> bool:
    return not isinstance(cell, np.ndarray | list | tuple) and bool(pd.isna(cell))


def _are_days(numbers: np.ndarray) -> bool:
    """Whether all of some numbers are days from 1900 to 2100 as YYYYMMDD."""
    if not np.isfinite(numbers).all():
        return False
    day, month, year = numbers % 100, numbers // 100 % 100, numbers // 10_000
    days = (
        (numbers % 1 == 0) & (day >= 1) & (day <= 31) & (month >= 1) & (month <= 12) & (year >= 1900) & (year <= 2100)
    )
    return len(numbers) > 0 and bool(days.all())


def _seconds_since_1970(cells: pd.Series) -> np.ndarray:
    """[rows] float64, NaN where a cell is no time."""
    if not pd.api.types.is_datetime64_any_dtype(cells):
        cells = cells.where(cells.str.match(r"\d{4}-|\d{8}T"), "")  # pandas would take "today" for a time
    times = pd.to_datetime(cells, format="ISO8601", utc=True, errors="coerce")
    stamps = times.dt.tz_localize(None).to_numpy("datetime64[us]")  # nanoseconds end in 2262
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)
