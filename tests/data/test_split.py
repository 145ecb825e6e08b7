"""The two protocols: numbers by hand, and nothing learnt from what comes later."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm import data
from tfrec_llm.config import Data
from tfrec_llm.data import load_domain
from tfrec_llm.data.datasets import assemble
from tfrec_llm.data.history import histories, training_waits
from tfrec_llm.data.raw import RawData

DAY = 86_400
VIDEO, RETAIL = load_domain("video"), load_domain("retail")
BASKETS = Data(protocol="first_basket", test_days=10, min_item_count=2, domain="retail")


def raw(*events, value_is_price=False):
    """Events (user, item, time[, value]) and the items they name."""
    frame = pd.DataFrame([(*e, 1.0)[:4] for e in events], columns=["user_id", "item_id", "timestamp", "value"])
    frame["event"] = "purchase" if value_is_price else "rated_4"
    ids = sorted(set(frame["item_id"]))
    items = pd.DataFrame({"item_id": ids, "title": ids, "text": ids, "price": np.nan, "available": True})
    items["genre"] = [(i.upper(),) for i in ids]
    return RawData(frame, items, value_is_price)


def named(dataset, queries):
    """{user id: (history item ids, relevant item ids, time)}."""
    ids, data = dataset.catalogue.item_ids, dataset.interactions
    return {
        str(data.user_ids[user]): (
            "".join(ids[data.item[queries.begin[r] : queries.end[r]]]),
            "".join(ids[queries.relevant[queries.offsets[r] : queries.offsets[r + 1]]]),
            int(queries.time[r]),
        )
        for r, user in enumerate(queries.user)
    }


def test_last_item_by_hand():
    events = [("v", "c", 9), ("u", "b", 2), ("u", "a", 1), ("v", "a", 3), ("u", "c", 4), ("u", "d", 4), ("w", "a", 5)]
    events += [("v", "b", 7), ("w", "d", 6), ("v", "d", 8)]
    dataset = assemble(raw(*events), VIDEO, Data(min_item_count=2), seed=1)
    assert dataset.interactions.user_ids.tolist() == ["u", "v", "w"]
    assert named(dataset, dataset.split.validation) == {"u": ("ab", "c", 4), "v": ("ab", "d", 8)}
    assert named(dataset, dataset.split.test) == {"u": ("abc", "d", 4), "v": ("abd", "c", 9)}  # ties in file order
    assert dataset.split.train.tolist() == [True, True, False, False, True, True, False, False, True, True]
    assert training_waits(dataset).tolist() == [1, 4, 1]
    with_validation = data.with_validation(dataset.split)
    assert with_validation.train.tolist() == [True, True, True, False, True, True, True, False, True, True]
    assert dataset.protocol["interactions"] == 10
    assert dataset.protocol["ties"] == "in the file's order"


@pytest.mark.parametrize(("domain", "told"), [(VIDEO, True), (dataclasses.replace(VIDEO, repeat=True), False)])
def test_answers_that_were_had_before_are_told_where_nothing_is_shown_again(domain, told, caplog):
    events = [(user, item, t) for user in "uvwx" for t, item in enumerate("abcab" if user in "uv" else "abcde")]
    assemble(raw(*events), domain, Data(min_item_count=1), seed=1)
    assert ("50 % of the validation's answers" in caplog.text) == told


@pytest.mark.parametrize(("time", "step"), [(lambda t: 5, "event"), (lambda t: 5 + t, "basket")])
def test_baskets_that_last_item_would_split_up_are_no_steps(time, step, caplog):
    events = [(user, item, time(t)) for user in "uvwx" for t, item in enumerate("aabcd")]
    dataset = assemble(raw(*events), RETAIL, Data(min_item_count=1), seed=1)
    assert (dataset.domain.step, dataset.domain.repeat) == (step, True)
    assert ("each line is a step of its own here" in caplog.text) == (step == "event")


def test_where_nobody_has_anything_twice_nothing_is_shown_again(caplog):
    events = [(user, item, t) for user in "uvwx" for t, item in enumerate("abcde")]
    dataset = assemble(raw(*events), RETAIL, Data(min_item_count=1), seed=1)
    assert not dataset.domain.repeat
    assert dataset.protocol["candidates"] != "all items"
    assert "no user has an item twice" in caplog.text


def test_rare_items_go_before_the_split():
    events = [("u", i, t) for t, i in enumerate("abcx")] + [("v", i, t) for t, i in enumerate("abc")]
    dataset = assemble(raw(*events), VIDEO, Data(min_item_count=2), seed=1)
    assert dataset.catalogue.item_ids.tolist() == ["", "[unknown]", "a", "b", "c"]
    assert named(dataset, dataset.split.test)["u"] == ("ab", "c", 2)


def test_shuffled_ties_depend_on_the_seed_alone():
    data = raw(*[(u, i, 5) for u in "uvw" for i in "abcdef"])
    shuffled = Data(min_item_count=2, shuffle_ties=True)
    orders = [tuple(assemble(data, VIDEO, shuffled, seed).interactions.item) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert tuple(assemble(data, VIDEO, Data(min_item_count=2), 1).interactions.item) == tuple(range(2, 8)) * 3


def test_nobody_with_enough_events():
    with pytest.raises(ValueError, match=r"at least 3 events, got none \(most: 2\).*lower data\.min_user_count"):
        assemble(raw(*[(u, i, 1) for u in "uv" for i in "ab"]), VIDEO, Data(min_item_count=1), seed=1)


def baskets():
    """Test begins at day 30, validation at day 20; x is bought too rarely before day 30, z only afterwards."""
    events = [("u", "a", 1), ("u", "b", 1), ("v", "a", 2), ("v", "b", 3), ("u", "c", 4), ("w", "c", 5)]
    events += [("u", "a", 21), ("u", "x", 21), ("u", "b", 22), ("v", "c", 25)]  # validation
    events += [("u", "c", 31), ("u", "x", 31), ("u", "a", 33), ("w", "a", 32), ("w", "b", 32), ("w", "z", 32)]
    events += [("n", "z", 35), ("v", "z", 36), ("v", "a", 37), ("w", "c", 40)]
    return [(u, i, int(t * DAY)) for u, i, t in events]


def test_first_basket_by_hand():
    dataset = assemble(raw(*baskets()), RETAIL, BASKETS, seed=1)
    assert dataset.catalogue.item_ids[2:].tolist() == ["a", "b", "c"]
    assert named(dataset, dataset.split.validation) == {"u": ("abc", "a", 21 * DAY), "v": ("ab", "c", 25 * DAY)}
    assert named(dataset, dataset.split.test) == {
        "n": ("", "", 35 * DAY),  # a query, though nothing of the basket can be ranked
        "u": ("abcab", "c", 31 * DAY),
        "v": ("abc", "", 36 * DAY),  # the first basket counts, not the first that can be ranked
        "w": ("c", "ab", 32 * DAY),
    }
    assert (dataset.interactions.time[dataset.split.train] < 20 * DAY).all()
    assert dataset.split.train.sum() == 6
    assert dataset.protocol["users"] == 4
    assert dataset.protocol["candidates"] == "all items"


def test_periods_longer_than_the_data():
    with pytest.raises(ValueError, match=r"all lie in the last 50 days, .* lower data\.test_days"):
        assemble(raw(*baskets()), RETAIL, dataclasses.replace(BASKETS, test_days=25), seed=1)


def test_prices_are_medians_of_training_events():
    events = [(*e, p) for e, p in zip(baskets(), [1, 5, 2, 7, 9, 9, 100, 100, 100, 100] + [1000] * 10, strict=True)]
    catalogue = assemble(raw(*events, value_is_price=True), RETAIL, BASKETS, seed=1).catalogue
    assert catalogue.price[2:].tolist() == [1.5, 6.0, 9.0]


def test_few_users_are_in_both_halves():
    for users in ("1234", "12", "ab"):  # the hashes of 1 to 4 are all of half B
        events = [(user, item, t) for user in users for t, item in enumerate("abc")]
        split = assemble(raw(*events), VIDEO, Data(min_item_count=1), seed=1).split
        assert 0 < split.half_b.sum() < len(users)


def test_too_little_to_learn_from_is_refused_at_once():
    one = [("u", i, t) for t, i in enumerate("abc")] + [("v", "a", 1)]
    with pytest.raises(ValueError, match="expected at least 2 users who are asked in the validation, got 1"):
        assemble(raw(*one), VIDEO, Data(min_item_count=1), seed=1)
    short = [(u, i, t) for u in "uv" for t, i in enumerate("ab")]
    with pytest.raises(ValueError, match=r"expected events to learn from, got none .* raise data\.min_user_count"):
        assemble(raw(*short), VIDEO, Data(min_item_count=1, min_user_count=2), seed=1)


def test_lines_of_a_basket_asked_for_beside_the_others_are_told(caplog):
    events = [(user, item, day * DAY) for user in "uvwx" for day, pair in enumerate(("ab", "cd")) for item in pair]
    assemble(raw(*events), RETAIL, Data(min_item_count=1, domain="retail"), seed=1)
    assert "100 % of the validation's answers are lines of a basket" not in caplog.text  # c: the first of its basket
    events = [(user, item, day * DAY) for user in "uvwx" for day, lines in enumerate(("a", "bcd")) for item in lines]
    assemble(raw(*events), RETAIL, Data(min_item_count=1, domain="retail"), seed=1)
    assert "100 % of the validation's answers are lines of a basket" in caplog.text
    assert "data.protocol = 'first_basket'" in caplog.text


def test_halves_depend_on_the_id_alone():
    users = [f"user {n}" for n in range(400)]
    events = [(u, i, t) for u in users for t, i in enumerate("abc")]
    split = assemble(raw(*events), VIDEO, Data(), seed=1).split
    again = assemble(raw(*events[: 3 * 200]), VIDEO, Data(), seed=2)
    ids = np.array(sorted(users))
    assert dict(zip(ids[split.half_b], [True] * 400, strict=False)).keys() >= set(
        again.interactions.user_ids[again.split.half_b].tolist()
    )
    assert 160 < split.half_b.sum() < 240
    assert 5 < split.stop_b.sum() < 40
    assert not (split.stop_b & ~split.half_b).any()


def derived(dataset):
    """Bytes of all that is learnt from: catalogue, training events, histories and halves of validation."""
    data, split = dataset.interactions, dataset.split
    digest = hashlib.sha256(json.dumps(dataset.catalogue.item_ids.tolist()).encode())
    catalogue = dataset.catalogue
    words = [catalogue.titles.tolist(), catalogue.texts.tolist(), dict(catalogue.attributes)]
    digest.update(json.dumps(words).encode())
    columns = [data.user, data.item, data.time, data.event, data.value]
    history = histories(data, split.validation, np.arange(len(split.validation.user)), 5)
    arrays = [catalogue.price, catalogue.available, *(c[split.train] for c in columns), *history]
    for array in [*arrays, split.validation.user, split.half_b, split.stop_b]:
        digest.update(array.tobytes())
    return data.user_ids.tolist(), digest.hexdigest()


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_last_item_learns_nothing_from_later_events(random):
    events = [(f"u{u}", "abcdef"[(u + 2 * t) % 6], 10 * t) for u in range(6) for t in range(5)]
    later = [n for n in range(30) if n % 5 >= 3]
    moved = random.sample(later, len(later))
    shuffled = list(events)
    for target, source in zip(later, moved, strict=True):
        shuffled[target] = (events[target][0], events[source][1], events[target][2])
    config = Data(min_item_count=3)
    assert derived(assemble(raw(*events), VIDEO, config, 1)) == derived(assemble(raw(*shuffled), VIDEO, config, 1))


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_first_basket_learns_nothing_from_later_events(random):
    events = [(*e, 1.0 + n) for n, e in enumerate(baskets())]
    later = [n for n, e in enumerate(events) if e[2] >= 30 * DAY and n < len(events) - 1]  # the last one sets the cut
    changed = list(events)
    for n in later:
        changed[n] = (events[n][0], random.choice("abcxz"), random.randrange(30 * DAY, 40 * DAY), random.random())
    one, other = (assemble(raw(*e, value_is_price=True), RETAIL, BASKETS, 1) for e in (events, changed))
    assert derived(one) == derived(other)


def test_histories_are_the_newest_events_padded_on_the_right():
    dataset = assemble(raw(*baskets()), RETAIL, BASKETS, seed=1)
    rows = np.array([1, 0, 3])  # u, n, w
    item, event, time = histories(dataset.interactions, dataset.split.test, rows, 4)
    assert item.tolist() == [[3, 4, 2, 3], [0, 0, 0, 0], [4, 0, 0, 0]]
    assert (event.tolist(), event.dtype) == ([[1, 1, 1, 1], [0] * 4, [1, 0, 0, 0]], np.int32)  # no rating in retail
    assert time[:, 0].tolist() == [DAY, 0, 5 * DAY]
    assert [a.dtype for a in (item, time)] == [np.int32, np.int64]
