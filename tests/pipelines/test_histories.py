"""Sparse histories: what is cut out of a source, and that the project reads it."""

import numpy as np
import pandas as pd

from pipelines import histories
from tfrec_llm.config import Data
from tfrec_llm.data import load_dataset
from tfrec_llm.data.raw import RawData
from tfrec_llm.data.split import DAY

WEEK = 7 * DAY


def whole(users: int = 40, items: int = 12, events: int = 60) -> pd.DataFrame:
    """Events a week apart, of every user on all items again and again."""
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "user_id": np.repeat([f"u{n}" for n in range(users)], events),
            "item_id": [f"i{n}" for n in rng.integers(0, items, users * events)],
            "timestamp": np.tile(np.arange(events) * WEEK, users),
            "event": "rated_4",
            "value": 4.0,
        }
    )


def test_a_stretch_is_what_followed_one_another():
    events = whole()
    short = histories.rating_stretches(events)
    lengths = short.groupby("user_id").size()
    assert lengths.between(5, 15).all()
    assert lengths.nunique() > 3
    assert (short.groupby("user_id")["timestamp"].diff().dropna() == WEEK).all()
    pd.testing.assert_frame_equal(short, histories.rating_stretches(events))


def test_three_weeks_are_a_user_of_their_own_with_different_products():
    events = whole(events=60)
    events["timestamp"] //= 10  # thirty events in three weeks
    visits = histories.short_visits(events)
    assert list(visits) == ["user_id", "item_id", "timestamp"]
    assert not visits.duplicated(["user_id", "item_id"]).any()
    assert visits.groupby("user_id").size().between(5, 12).all()
    spans = visits.groupby("user_id")["timestamp"].agg(lambda times: times.max() - times.min())
    assert (spans < 3 * WEEK).all()
    assert visits["user_id"].nunique() > events["user_id"].nunique()


def test_rare_items_and_users_go_until_none_is_left():
    rows = [("a", item) for item in "vwxyz"] * 5 + [("b", item) for item in "vwxy"] + [("b", "rare")]
    kept = histories.only_frequent(pd.DataFrame(rows, columns=["user_id", "item_id"]))
    assert set(kept["user_id"]) == {"a"}
    assert set(kept["item_id"]) == set("vwxyz")


def test_the_files_are_read_back(tmp_path):
    items = pd.DataFrame({"item_id": [f"i{n}" for n in range(12)]}).assign(title="A title", text="", price=np.nan)
    histories.write_history(tmp_path, "films", RawData(whole(), items), histories.rating_stretches)
    settings = Data(source="files", interactions=str(tmp_path / "films.csv"), items=str(tmp_path / "films_items.csv"))
    dataset = load_dataset(settings, seed=1)
    assert len(dataset.interactions.user) == len(pd.read_csv(tmp_path / "films.csv"))
