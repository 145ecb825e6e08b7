"""A small shop of one's own files, where users keep to one genre: events, items with prices and vectors, a config."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd

from tfrec_llm import config as configs
from tfrec_llm.config import Config, Modalities

ROOT = Path(__file__).parents[3]
SMALL = (
    "data.source=files", "data.min_item_count=1", "text.epochs=3", "text.slots.rows=300", "behaviour.min_steps=0",
    "behaviour.epochs=2", "retrieval.epochs=6", "retrieval.item_item=false", "fusion.epochs=2", "ranking.epochs=1",
    "ranking.simulate_sessions=0", "evaluate.bootstrap=20", "export.max_history=20", "retrieval.candidates=30",
)  # fmt: skip
GENRES = {
    "Western": ("horses", "dust", "saddle", "canyon", "sheriff"),
    "Space": ("rocket", "orbit", "comet", "airlock", "nebula"),
    "Romance": ("letters", "dancing", "kiss", "wedding", "moonlight"),
    "Crime": ("detective", "alibi", "robbery", "evidence", "gangster"),
}
EACH, USERS, EVENTS = 15, 120, 10
LOYAL = 0.97  # odds of a film of the own genre


def items() -> pd.DataFrame:
    """Fifteen items of each genre, whose texts share its words."""
    draw = np.random.default_rng(5)
    rows = []
    for place, (genre, words) in enumerate(GENRES.items()):
        for number in range(EACH):
            said = " ".join(draw.permutation(words)[:3])
            rows.append((f"{genre.lower()}-{number:02d}", f"{said.title()} {number}", said, genre, place))
    frame = pd.DataFrame(rows, columns=["item_id", "title", "text", "genre", "place"])
    frame["price"] = np.round(draw.uniform(5, 100, len(frame)), 2)
    vectors = np.eye(len(GENRES))[frame["place"]] + draw.normal(0, 0.1, (len(frame), len(GENRES)))
    frame["sound"] = [" ".join(f"{v:.3f}" for v in row) if n % 9 else "" for n, row in enumerate(vectors)]
    return frame.drop(columns="place")


def events() -> pd.DataFrame:
    """Users who mostly watch films of one genre, a day apart."""
    draw = np.random.default_rng(6)
    ids = items()["item_id"].to_numpy()
    likely = np.where(np.arange(len(ids))[None] // EACH == np.arange(len(GENRES))[:, None], LOYAL, 1 - LOYAL)
    chances = likely / likely.sum(axis=1, keepdims=True)
    parts = [
        pd.DataFrame(
            {
                "user_id": f"user-{user:03d}",
                "item_id": draw.choice(ids, EVENTS, False, chances[user % len(GENRES)]),
                "timestamp": 1_000_000_000 + 86_400 * np.arange(EVENTS) + user,
                "value": draw.integers(3, 6, EVENTS),
            }
        )
        for user in range(USERS)
    ]
    return pd.concat(parts)


def new_items() -> pd.DataFrame:
    """A film like the westerns, one like none, and one that is not to be had."""
    return pd.DataFrame(
        {
            "item_id": ["new-western", "another", "away"],
            "title": ["Dust Saddle Canyon", "Gardening at Night", "Rocket Orbit"],
            "text": ["dust saddle canyon horses", "tulips and spades", "rocket orbit comet"],
            "genre": ["Western", "", "Space"],
            "price": [12.5, np.nan, 20],
            "sound": ["1 0 0 0", "", ""],
            "available": ["", "", "no"],
        }
    )


def write(folder: Path) -> Config:
    """Writes the files and says the config over them."""
    events().to_csv(folder / "events.csv", index=False)
    items().to_csv(folder / "items.csv", index=False)
    config = configs.load(ROOT / "pipelines" / "configs" / "smoke.toml", SMALL)
    data = dataclasses.replace(
        config.data, interactions=str(folder / "events.csv"), items=str(folder / "items.csv"), domain="video"
    )
    own = Modalities(columns={"audio": "sound"}, item_attributes=True, dim=3)
    return dataclasses.replace(config, data=data, modalities=own)
