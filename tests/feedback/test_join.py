"""The join by hand, whatever comes late, twice or in another order, and what is refused."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.feedback.conftest import make_decisions, make_events
from tfrec_llm.feedback import Events, JoinSettings, join

WINDOW = JoinSettings(window=50)


def test_rewards_of_the_domain_go_to_the_slots_that_showed_the_items(decided, domain):
    events = make_events(
        [("e1", "d1", "b", "click", 110), ("e2", "d1", "b", "purchase", 120), ("e3", "d2", "c", "cart", 201)]
    )
    joined = join(decided, events, domain, WINDOW)
    assert joined.decision_id.tolist() == ["d1", "d2", "d3"]  # by time
    assert joined.feedback.slate.tolist() == [[0, 1], [2, 0], [1, -1]]
    np.testing.assert_allclose(joined.feedback.rewards, [[0, 1.0], [0.4, 0], [0, 0]])  # the best event of each item
    np.testing.assert_allclose(joined.feedback.propensities, [[0.5, 0.5], [0.5, 0.5], [0.5, 0]])
    np.testing.assert_array_equal(joined.feedback.context, decided.context[[1, 0, 2]])
    np.testing.assert_array_equal(joined.feedback.candidates, decided.features[[1, 0, 2]])
    assert joined.counts["joined_events"] == 3
    assert all(part.dtype == np.float32 for part in (joined.feedback.rewards, joined.feedback.propensities))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (("e", "d1", "a", "purchase", 151), "late_events"),
        (("e", "d1", "a", "purchase", 99), "early_events"),
        (("e", "d1", "c", "purchase", 120), "not_shown_events"),
        (("e", "d1", "", "purchase", 120), "not_shown_events"),
        (("e", "d9", "a", "purchase", 120), "unknown_decisions"),
        (("e", "d1", "a", "wink", 120), "unknown_events"),
    ],
)
def test_what_does_not_count_is_left_out_and_counted(decided, domain, event, reason):
    joined = join(decided, make_events([event]), domain, WINDOW)
    assert joined.feedback.rewards.sum() == 0
    counted = {name for name, count in joined.counts.items() if count}
    assert counted == {reason}


def test_the_last_second_of_the_window_counts(decided, domain):
    joined = join(decided, make_events([("e", "d1", "a", "purchase", 150)]), domain, WINDOW)
    assert joined.feedback.rewards[0, 0] == 1


def test_duplicates_and_disorder_are_counted(decided, domain):
    late, early = ("e2", "d1", "b", "click", 120), ("e1", "d1", "a", "click", 110)
    joined = join(decided, make_events([late, early, late]), domain, WINDOW)
    assert joined.counts["duplicate_events"] == 1
    assert joined.counts["out_of_order_events"] == 1
    assert joined.counts["joined_events"] == 2
    np.testing.assert_allclose(joined.feedback.rewards[0], [0.1, 0.1])


def test_open_decisions_wait_for_their_rewards(decided, domain):
    events = make_events([("e1", "d1", "a", "purchase", 110), ("e2", "d3", "b", "purchase", 305)])
    first = join(decided, events, domain, WINDOW, now=310)
    assert first.decision_id.tolist() == ["d1", "d2"]
    assert (first.counts["open_decisions"], first.counts["waiting_events"]) == (1, 1)
    later = join(decided, events, domain, WINDOW, now=350)
    assert later.feedback.rewards[2, 0] == 1


def test_an_event_may_carry_its_reward(decided, domain):
    joined = join(decided, make_events([("e", "d1", "a", "reward", 110, 0.25)]), domain, WINDOW)
    assert joined.feedback.rewards[0, 0] == 0.25


@pytest.mark.parametrize("value", [1.5, -0.1])
def test_rewards_out_of_range_are_refused(decided, domain, value):
    with pytest.raises(ValueError, match=r"expected finite rewards in \[0, 1\], got .* of 'reward' in 'e'"):
        join(decided, make_events([("e", "d1", "a", "reward", 110, value)]), domain, WINDOW)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(decided, domain, value):
    with pytest.raises(ValueError, match=r"events: expected finite values, got (nan|inf) in 'e'"):
        join(decided, make_events([("e", "d1", "a", "reward", 110, value)]), domain, WINDOW)


def test_rewards_out_of_range_are_counted_where_they_may_be_skipped(decided, domain):
    told = [
        ("e", "d1", "a", "reward", 110, 5.0),
        ("f", "d1", "a", "reward", 111, 0.25),
        ("g", "d1", "a", "jump", 112, 1),
    ]
    joined = join(decided, make_events(told), domain, dataclasses.replace(WINDOW, skip=True))
    assert joined.feedback.rewards[0, 0] == 0.25
    assert [joined.counts[name] for name in ("bad_rewards", "unknown_events", "joined_events")] == [1, 1, 1]
    wrong = dataclasses.replace(domain, rewards={**domain.rewards, "purchase": np.nan})
    with pytest.raises(ValueError, match=r"expected finite rewards in \[0, 1\]"):
        join(
            decided, make_events([("e", "d1", "a", "purchase", 110, 1)]), wrong, dataclasses.replace(WINDOW, skip=True)
        )


def test_a_domain_whose_rewards_are_no_rewards_is_refused(decided, domain):
    wrong = dataclasses.replace(domain, rewards={**domain.rewards, "purchase": np.nan})
    with pytest.raises(ValueError, match=r"got nan of 'purchase' in 'e'"):
        join(decided, make_events([("e", "d1", "a", "purchase", 110)]), wrong, WINDOW)


@pytest.mark.parametrize("value", [0.0, 1.01, -0.5, np.nan])
def test_propensities_that_are_none_are_refused(decided, domain, value):
    p = decided.propensities.copy()
    p[1, 1] = value
    with pytest.raises(ValueError, match=r"propensities above 0 and at most 1, got .* in 'd1'"):
        join(dataclasses.replace(decided, propensities=p), make_events([]), domain, WINDOW)


def test_empty_slots_need_no_propensity(decided, domain):
    p = decided.propensities.copy()
    p[2, 1] = np.nan
    joined = join(dataclasses.replace(decided, propensities=p), make_events([]), domain, WINDOW)
    assert joined.feedback.propensities[2, 1] == 0


@pytest.mark.parametrize(
    ("items", "message"),
    [(["a", "z"], "items among the candidates, got z in 'd1'"), (["a", "a"], "an item once in a slate")],
)
def test_slates_that_cannot_be_are_refused(domain, items, message):
    with pytest.raises(ValueError, match=message):
        join(make_decisions([("d1", 100, items)]), make_events([]), domain, WINDOW)


def test_shapes_and_empty_candidate_sets_are_refused(decided, domain):
    with pytest.raises(ValueError, match="log all outputs of `decide` together"):
        join(dataclasses.replace(decided, propensities=decided.propensities[:, :1]), make_events([]), domain, WINDOW)
    none = {"candidate_ids": decided.candidate_ids[:, :0], "features": decided.features[:, :0]}
    with pytest.raises(ValueError, match="expected candidates, got K = 0"):
        join(dataclasses.replace(decided, **none), make_events([]), domain, WINDOW)


def test_decisions_that_showed_nothing_are_left_out(domain):
    masked = make_decisions([("d1", 100, ["", ""]), ("d2", 100, ["a", ""])])
    joined = join(masked, make_events([]), domain, WINDOW)
    assert joined.decision_id.tolist() == ["d2"]
    assert joined.counts["empty_decisions"] == 1


def test_a_decision_logged_twice_counts_once_and_two_with_one_id_are_refused(decided, domain):
    twice = type(decided)(*(np.concatenate([column, column[:1]]) for column in vars(decided).values()))
    joined = join(twice, make_events([]), domain, WINDOW)
    assert joined.counts["duplicate_decisions"] == 1
    assert joined.decision_id.tolist() == ["d1", "d2", "d3"]
    time = twice.time.copy()
    time[-1] += 1
    with pytest.raises(ValueError, match="got 'd2' for two different ones"):
        join(dataclasses.replace(twice, time=time), make_events([]), domain, WINDOW)


def test_no_decisions_and_no_events_give_no_feedback(domain):
    nothing = make_decisions([])
    joined = join(nothing, make_events([("e", "d1", "a", "purchase", 110)]), domain, WINDOW)
    assert joined.feedback.rewards.shape == (0, 1)
    assert joined.counts["unknown_decisions"] == 1


EVENT = st.tuples(
    st.sampled_from(["d1", "d2", "d3", "d9"]),
    st.sampled_from(["a", "b", "c", "d", ""]),
    st.sampled_from(["click", "cart", "purchase", "remove", "wink"]),
    st.integers(90, 360),
)
ABOUT_THE_LOG = {"duplicate_events", "out_of_order_events"}


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(EVENT, max_size=12), data=st.data())
def test_any_order_and_duplication_gives_the_same_feedback(decided, domain, rows, data):
    once = [(f"e{number}", *row) for number, row in enumerate(rows)]
    again = data.draw(st.lists(st.sampled_from(once), max_size=8)) if once else []
    shuffled = data.draw(st.permutations([*once, *again]))
    turn = np.array(data.draw(st.permutations(range(3))))
    others = type(decided)(*(column[turn] for column in vars(decided).values()))
    plain, mixed = join(decided, make_events(once), domain, WINDOW), join(others, make_events(shuffled), domain, WINDOW)
    for one, other in zip(plain.feedback, mixed.feedback, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(plain.decision_id, mixed.decision_id)
    assert mixed.counts["duplicate_events"] == len(again)
    for name in plain.counts.keys() - ABOUT_THE_LOG:
        assert plain.counts[name] == mixed.counts[name]
    found = [plain.counts[name] for name in plain.counts if name.endswith(("_events", "unknown_decisions"))]
    assert sum(found) - plain.counts["out_of_order_events"] == len(once)  # every event is accounted for


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(EVENT, min_size=2, max_size=6))
def test_unequal_events_with_one_id_are_told_apart_the_same_way(decided, domain, rows):
    named = [("e", *row) for row in rows]
    one, other = (join(decided, make_events(part), domain, WINDOW) for part in (named, named[::-1]))
    np.testing.assert_array_equal(one.feedback.rewards, other.feedback.rewards)


def test_columns_of_different_lengths_are_refused(decided, domain):
    events = make_events([("e", "d1", "a", "purchase", 110)])
    with pytest.raises(ValueError, match="columns of one length"):
        join(decided, Events(**{**vars(events), "time": events.time[:0]}), domain, WINDOW)
