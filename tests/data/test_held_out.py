"""What training may not see: held-out items and left-out users leave no trace in anything that is learnt from."""

import dataclasses

import numpy as np
import pytest

from tfrec_llm.config import Data
from tfrec_llm.data import load_dataset, read_dataset, write_dataset
from tfrec_llm.data.incidence import training_counts, training_matrix
from tfrec_llm.data.pipeline import training_sequences

SETTINGS = Data(source="synthetic", synthetic_users=150, synthetic_items=40, synthetic_events=20)
COLD = dataclasses.replace(SETTINGS, held_out_items=0.2)
BASKETS = dataclasses.replace(COLD, protocol="first_basket", domain="retail", test_days=3, min_item_count=2)


@pytest.fixture(scope="module")
def plain():
    return load_dataset(SETTINGS, 1)


@pytest.fixture(scope="module")
def cold():
    return load_dataset(COLD, 1)


def answers(queries):
    return [set(queries.relevant[b:e]) for b, e in zip(queries.offsets[:-1], queries.offsets[1:], strict=True)]


def test_no_event_of_a_held_out_item_is_trained_on(plain, cold):
    held = cold.split.cold.items
    assert 2 <= held.sum() <= 16
    assert not held[:2].any()
    assert training_counts(cold)[held].sum() == 0
    assert training_matrix(cold)[:, held].nnz == 0
    assert not held[training_sequences(cold, 30).item].any()
    np.testing.assert_array_equal(cold.split.train, plain.split.train & ~held[cold.interactions.item])


def test_every_question_is_asked_once_here_or_there(plain, cold):
    held = cold.split.cold.items
    for part in ("validation", "test"):
        before, here, there = (getattr(s, part) for s in (plain.split, cold.split, cold.split.cold))
        assert not held[here.relevant].any()
        assert held[there.relevant].all()
        asked = [sorted(zip(q.user, q.end, q.relevant, strict=True)) for q in (before, here, there)]
        assert sorted(asked[1] + asked[2]) == asked[0]
    assert len(cold.split.half_b) == len(cold.split.stop_b) == len(cold.split.validation.user)
    kept = ~held[plain.split.validation.relevant]
    np.testing.assert_array_equal(cold.split.half_b, plain.split.half_b[kept])


def test_histories_keep_new_items(plain, cold):
    np.testing.assert_array_equal(plain.interactions.item, cold.interactions.item)
    asked = cold.split.test
    histories = (cold.interactions.item[b:e] for b, e in zip(asked.begin, asked.end, strict=True))
    assert any(cold.split.cold.items[items].any() for items in histories)


def test_baskets_are_divided_between_the_two():
    raw = load_dataset(dataclasses.replace(BASKETS, held_out_items=0.0), 1)
    cold = load_dataset(BASKETS, 1)
    held = cold.split.cold.items
    whole = dict(zip(raw.split.test.user, answers(raw.split.test), strict=True))
    here = dict(zip(cold.split.test.user, answers(cold.split.test), strict=True))
    there = dict(zip(cold.split.cold.test.user, answers(cold.split.cold.test), strict=True))
    assert there
    for user, basket in whole.items():
        assert here.get(user, set()) == {item for item in basket if not held[item]}
        assert there.get(user, set()) == {item for item in basket if held[item]}


def test_fewer_users_teach_and_all_are_asked(plain):
    few = load_dataset(dataclasses.replace(SETTINGS, train_users=0.3), 1)
    taught = np.unique(few.interactions.user[few.split.train])
    assert 0.2 < len(taught) / 150 < 0.4
    assert set(few.split.validation.user) <= set(taught)
    np.testing.assert_array_equal(few.split.test.user, plain.split.test.user)
    assert "30% of the users" in few.protocol["trained_on"]
    assert few.protocol["sha256"] != plain.protocol["sha256"]


def test_written_and_read_again(cold, plain, tmp_path):
    write_dataset(cold, tmp_path)
    again = read_dataset(tmp_path)
    np.testing.assert_array_equal(again.split.cold.items, cold.split.cold.items)
    np.testing.assert_array_equal(again.split.cold.test.relevant, cold.split.cold.test.relevant)
    assert "without 20% of the items" in again.protocol["trained_on"]
    assert again.protocol["sha256"] != plain.protocol["sha256"]


def test_nobody_to_learn_from_or_to_ask():
    with pytest.raises(ValueError, match=r"expected training events, got none with train_users=0.0001"):
        load_dataset(dataclasses.replace(SETTINGS, train_users=1e-4), 1)
    with pytest.raises(ValueError, match=r"held_out_items=0.001: expected questions"):
        load_dataset(dataclasses.replace(SETTINGS, held_out_items=1e-3), 1)


def test_the_choice_depends_on_the_id_alone():
    smaller = load_dataset(dataclasses.replace(COLD, synthetic_users=120), 2)
    larger = load_dataset(dataclasses.replace(COLD, synthetic_users=150), 1)
    held = [set(d.catalogue.item_ids[d.split.cold.items]) for d in (smaller, larger)]
    shared = set(smaller.catalogue.item_ids) & set(larger.catalogue.item_ids)
    assert held[0] & shared == held[1] & shared
