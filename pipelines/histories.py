"""Short histories as a stranger would bring them: `python -m pipelines.histories` writes CSVs for source = "files".

Made from two public archives, so that the default settings are judged on short histories too:

- films: of each user of MovieLens-1M one stretch of 5 to 15 ratings (user_id, item_id, timestamp, value).
- shop: a household's three weeks of The Complete Journey as one user, with up to 12 different products in random order
  where they were bought together (user_id, item_id, timestamp and nothing else).

Both keep items and users with at least five events. Beside each stand its items, with title and text.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfrec_llm.config import Data
from tfrec_llm.data import complete_journey, movielens_1m
from tfrec_llm.data.raw import RawData
from tfrec_llm.data.split import DAY
from tfrec_llm.training import files

log = logging.getLogger(__name__)
FOLDER = Path("runs") / "histories"
FEWEST, SHORTEST, LONGEST = 5, 5, 15  # events of an item and a user; a stretch of ratings
VISIT_DAYS, BASKET, SHOPPERS = 21, 12, 20_000
SEED = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER, help=f"a folder; default {FOLDER}")
    out = parser.parse_args(arguments).out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, (load, shorten) in HISTORIES.items():
        write_history(out, name, load(Data(), SEED), shorten)


def write_history(out: Path, name: str, raw: RawData, shorten: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Writes `<name>.csv` and `<name>_items.csv`.

    Args:
      out: the folder, made where it is not there.
      name: of the history.
      raw: the whole source.
      shorten: its events -> the short histories' events and columns.
    """
    out.mkdir(parents=True, exist_ok=True)
    events = only_frequent(shorten(raw.interactions))
    items = raw.items[raw.items["item_id"].isin(events["item_id"])][["item_id", "title", "text"]]
    files.write_bytes(out / f"{name}_items.csv", items.to_csv(index=False).encode())
    files.write_bytes(out / f"{name}.csv", events.to_csv(index=False).encode())
    users, products = events["user_id"].nunique(), events["item_id"].nunique()
    log.info("%s: %d events of %d users and %d items in %s", name, len(events), users, products, out)


def rating_stretches(events: pd.DataFrame) -> pd.DataFrame:
    """Of each user 5 to 15 ratings that follow one another."""
    rng, stretches = np.random.default_rng(SEED), []
    for _, own in events.sort_values("timestamp", kind="stable").groupby("user_id", sort=True):
        length = min(len(own), int(rng.integers(SHORTEST, LONGEST + 1)))
        first = int(rng.integers(0, len(own) - length + 1))
        stretches.append(own.iloc[first : first + length])
    return pd.concat(stretches)[["user_id", "item_id", "timestamp", "value"]]


def short_visits(events: pd.DataFrame) -> pd.DataFrame:
    """Of each household and three weeks up to 12 different products, the order of a basket's lines random."""
    rng = np.random.default_rng(SEED)
    weeks = (events["timestamp"] - events["timestamp"].min()) // (VISIT_DAYS * DAY)
    visits = events.assign(user_id=events["user_id"] + "_" + weeks.astype(str))
    visits = visits.iloc[rng.permutation(len(visits))].drop_duplicates(["user_id", "item_id"])
    visits = visits.groupby("user_id").head(BASKET)
    shoppers = visits["user_id"].value_counts().loc[lambda counts: counts >= SHORTEST].index.sort_values()
    chosen = rng.permutation(shoppers)[:SHOPPERS]
    visits = visits[visits["user_id"].isin(chosen)].sort_values(["user_id", "timestamp"], kind="stable")
    return visits[["user_id", "item_id", "timestamp"]]


def only_frequent(events: pd.DataFrame) -> pd.DataFrame:
    """The largest part in which every item and every user has five events or more."""
    before = -1
    while before != len(events):
        before = len(events)
        for column in ("item_id", "user_id"):
            events = events[events.groupby(column)[column].transform("size") >= FEWEST]
    return events


HISTORIES = {
    "films": (movielens_1m.load, rating_stretches),
    "shop": (complete_journey.load, short_visits),
}

if __name__ == "__main__":
    main()
