"""Versions are held against those before them once their decisions settle, however soon others have taken over."""

from dataclasses import replace

import numpy as np
import pytest

from tfrec_llm.config import Learn
from tfrec_llm.data import load_domain
from tfrec_llm.feedback import DecisionRow, EventLog, EventRow, sqlite_url
from tfrec_llm.serving import versions
from tfrec_llm.serving.labels import Labels
from tfrec_llm.serving.update.history import Learnt, descendants, origins
from tfrec_llm.serving.update.watch import Rewards, Watch, objection

NOW = 1_700_000_000
SETTINGS = replace(Learn(), watched=40)  # window 1800 seconds, tolerance .1


@pytest.fixture
def log(tmp_path):
    opened = EventLog(sqlite_url(tmp_path / "log.db"))
    yield opened
    opened.close()


@pytest.fixture
def watch(log):
    return Watch(log, load_domain("retail"), SETTINGS)


def decide(log, version, ago, bought, count=60):
    """So many decisions of a version, a second apart; each item shown is bought or not."""
    names = [f"{version}-{place}" for place in range(count)]
    shown = [(name, NOW - ago + place) for place, name in enumerate(names)]
    blank = (["a"], np.zeros([1, 2], np.float32), np.zeros(2, np.float32), ["a"], np.ones(1, np.float32))
    log.add_decisions([DecisionRow(name, when, "u" * 64, str(version), "f", [], *blank) for name, when in shown])
    events = [EventRow(f"{name} e", name, "a", "purchase", 1.0, when + 1) for name, when in shown]
    if bought:
        log.add_events(events)


def test_a_version_that_was_followed_before_its_decisions_settled_is_still_judged(log, watch):
    decide(log, 1, ago=9000, bought=True)
    decide(log, 2, ago=3000, bought=False)
    decide(log, 3, ago=600, bought=False)  # serves, and nothing of it has settled
    known, version, reason = watch(Labels(stable=3, before=(1, 2)), NOW)
    assert (known, version) == (0, 2)
    assert "live reward: 0.0000 per decision (60 decisions) after 1.0000 (60)" in reason


def test_one_that_served_too_briefly_is_passed_over_and_the_next_is_held_against_the_last_good_one(log, watch):
    decide(log, 1, ago=9000, bought=True)
    decide(log, 2, ago=6000, bought=False, count=39)
    assert watch(Labels(stable=2, before=(1,)), NOW) == (0, 0, "")
    decide(log, 3, ago=5000, bought=False)
    assert watch(Labels(stable=3, before=(1, 2)), NOW)[1] == 3


def test_a_version_that_is_known_well_is_what_the_next_ones_are_held_against(log, watch, monkeypatch):
    decide(log, 1, ago=9000, bought=True)
    decide(log, 2, ago=6000, bought=True, count=5 * SETTINGS.watched)
    assert watch(Labels(stable=2, before=(1,)), NOW) == (2, 0, "")
    decide(log, 3, ago=3000, bought=False)
    labels = Labels(stable=3, before=(1, 2), judged=2)
    assert labels.unjudged == (2, 3)
    assert watch(labels, NOW)[:2] == (2, 3)
    assert watch(replace(labels, refused={"3": "worse"}), NOW) == (2, 0, "")
    monkeypatch.setattr(EventLog, "latest_decisions", lambda *arguments: pytest.fail("read again"))
    assert watch(Labels(stable=2, before=(1,), judged=2), NOW) == (2, 0, "")


def test_what_was_made_from_a_bad_version_goes_with_it_and_nothing_else(tmp_path):
    for version in (1, 2, 3, 4, 5):
        (tmp_path / str(version)).mkdir()
        versions.promote(tmp_path, version)
    done = [Learnt(0, 0, source, version, 9, "") for source, version in ((1, 2), (2, 3), (3, 0), (3, 4))]
    assert descendants(done, 2) == {3, 4}
    kept = versions.roll_back(tmp_path, "worse", 2, descendants(done, 2))  # 5 is another export
    assert kept.stable == 5
    assert kept.refused == dict.fromkeys("234", "worse")
    (tmp_path / "6").mkdir()
    versions.promote(tmp_path, 6)
    back = versions.roll_back(tmp_path, "worse", 5, {6})
    assert (back.stable, back.canary, back.before) == (1, 1, ())


def test_versions_that_a_rollback_may_end_at_are_not_deleted(tmp_path):
    for version in range(1, 9):
        (tmp_path / str(version)).mkdir()
        versions.promote(tmp_path, version)
    assert versions.prune(tmp_path, 2) == []  # nothing is known of any
    versions.note_judged(tmp_path, 5)
    labels = versions.read_labels(tmp_path)
    assert (labels.judged, labels.unjudged) == (5, (5, 6, 7, 8))
    told = set(map(int, labels.listed))
    assert set(versions.prune(tmp_path, 2)) == {1, 2, 3, 4} - told


def test_only_what_is_surely_worse_by_more_than_the_tolerance_is_objected_to():
    old = Rewards(1.0, 0.01, 100)
    assert objection(Rewards(0.8, 0.01, 100), old, SETTINGS)
    assert not objection(Rewards(0.8, 0.01, 39), old, SETTINGS)  # too few
    assert not objection(Rewards(0.8, 0.2, 100), old, SETTINGS)  # not sure
    assert not objection(Rewards(0.92, 0.001, 100), old, SETTINGS)  # within the tolerance
    # -.12 + 1.96 * sqrt(.01^2 + .01^2) = -.0923 is above -.1: not sure
    assert not objection(Rewards(0.88, 0.01, 100), old, SETTINGS)


def test_replays_start_from_the_versions_that_no_batch_made():
    steps = [(1, 2), (2, 0), (2, 3), (10, 11), (11, 12)]  # a later export came between
    assert origins(Learnt(0, 0, source, version, 9, "") for source, version in steps) == {1, 10}
