"""What every loader returns: two tables in one form, before filters, vocabularies and splits."""

from dataclasses import dataclass

import pandas as pd

ITEM_COLUMNS = ("item_id", "title", "text", "price", "available")


@dataclass(frozen=True)
class RawData:
    """A source's events and items.

    interactions: user_id, item_id (str), timestamp (int64 seconds), event (str), value (float32), rows in the
      source's order.
    items: item_id, title, text (str), price (float32, nan where unknown), available (bool); every other column is an
      attribute and holds tuples of str. Each item of the interactions has exactly one row.
    value_is_price: an event's value is what one piece cost; unknown prices of items come from there.
    """

    interactions: pd.DataFrame
    items: pd.DataFrame
    value_is_price: bool = False


def passage(*parts: str) -> str:
    """One item text from its parts: empty ones are left out, each ends with a full stop."""
    return " ".join(f"{part.strip().rstrip('.')}." for part in parts if part.strip())
