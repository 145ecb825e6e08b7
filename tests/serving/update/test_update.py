"""Learning from the log of a real export: what ships, what is taken back, and that a replay is equal."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipelines import update as program
from tfrec_llm import config as configs
from tfrec_llm.feedback import DecisionRow, EventLog, EventRow, sqlite_url
from tfrec_llm.serving import bundle, golden, versions
from tfrec_llm.serving.manifest import fusion_of
from tfrec_llm.serving.saved_model import export_policy
from tfrec_llm.serving.server.answering import load
from tfrec_llm.serving.update import loop
from tfrec_llm.serving.update.history import Learnt, add, read_history
from tfrec_llm.serving.update.loop import Updates, replay, update

T0 = 1_700_000_000
LIKED = 0.6  # chance that a shown item of the liked half is taken


@pytest.fixture(scope="module")
def config(smoke_run):
    found = configs.load(smoke_run / "config.toml")
    learn = replace(found.learn, batch_events=400, window=10, least_decisions=32, watched=50, overlap=0.8)
    gate = replace(found.gate, min_effective_sample=15.0, margin=0.5, bootstrap=100)
    return replace(found, learn=learn, gate=gate)


@pytest.fixture(scope="module")
def answering(smoke_run):
    return load(smoke_run / "export" / "1", smoke_run, "export", 1, 50)


@pytest.fixture
def run(smoke_run, tmp_path):
    """A copy of the smoke run with an empty log."""
    return Path(shutil.copytree(smoke_run, tmp_path / "run"))


@pytest.fixture
def log(run):
    opened = EventLog(sqlite_url(run / "log.db"))
    yield opened
    opened.close()


def serve(answering, run, log, count, start=T0, liked=lambda item: hash_of(item) % 2 == 0, version=None, fusion=None):
    """Decisions of the export and what users did who like half of the items; one a second."""
    draw = np.random.default_rng(start)
    fusion = fusion or fusion_of(run / "export" / "1")
    blank = {"user_id": "", "utterance": "", "request_time": start, "k": 10}
    blank |= {name: [] for name in ("history", "history_event", "history_time", "attributes", "exclude")}
    for first in range(0, count, 50):
        names = [f"{start}-{place}" for place in range(first, min(first + 50, count))]
        heard, arrays = answering([{**blank, "request_id": name} for name in names])
        rows, events = [], []
        for place, name in enumerate(names):
            when, lists = start + first + place, {key: values[place] for key, values in heard["rows"].items()}
            rows.append(
                DecisionRow(
                    name,
                    when,
                    "k" * 64,
                    version or lists["model_version"],
                    fusion,
                    [],
                    lists["candidate_ids"],
                    arrays["features"][place],
                    arrays["context"][place],
                    lists["item_ids"],
                    lists["propensities"],
                )
            )
            taken = [item for item in lists["item_ids"] if liked(item) and draw.random() < LIKED]
            events += [EventRow(f"{name} {item}", name, item, "reward", 1.0, when + 1) for item in taken]
        log.add_decisions(rows)
        log.add_events(events)


def hash_of(item):
    return int.from_bytes(item.encode()) % 7


def golden_slates(answering, folder, policy):
    """What a policy shows at the golden queries of a version."""
    rows = json.loads((folder / golden.NAME).read_text("utf-8"))
    before = answering.policy()
    answering.take_policy(policy, int(folder.name))
    try:
        shown = answering.lists([{name: value for name, value in row.items() if name != "item_ids"} for row in rows])
    finally:
        answering.take_policy(before, 1)
    return shown["item_ids"]


def test_a_batch_becomes_a_version_that_says_so_and_a_replay_is_equal(config, run, answering, log, monkeypatch):
    serve(answering, run, log, 400)
    log.add_events([EventRow("later", f"{T0}-399", "x", "reward", 0.0, T0 + 500)])  # settles all of them
    updates = Updates(config, run)
    done = list(iter(updates.step, None))
    shipped = [learnt for learnt in done if learnt.version]
    assert len(shipped) >= 2
    assert done == read_history(run / "export")
    assert versions.served_version(run / "export") == shipped[-1].version
    assert {learnt.source for learnt in shipped[1:]} <= {1, *(learnt.version for learnt in shipped)}
    assert shipped[-1].decisions > 100
    again, learn = [], Updates.learn

    def learnt_again(*asked):
        again.append(learn(*asked))
        return again[-1]

    monkeypatch.setattr(Updates, "learn", learnt_again)
    assert replay(config, run) < 1e-5
    policies = [policy for policy, verdict, _ in again if verdict.ships]
    for one, policy in zip(shipped, policies, strict=True):
        folder = run / "export" / str(one.version)
        slates = golden_slates(answering, folder, bundle.read_policy(folder))
        assert len(slates) == golden.QUERIES
        assert golden_slates(answering, folder, policy) == slates


def second_version(run, log, answering):
    """Version 2 serves, as version 1 did, and there is something to learn."""
    source = run / "export" / "1"
    export_policy(source, bundle.read_policy(source))
    versions.promote(run / "export", 2)
    serve(answering, run, log, 400)
    log.add_events([EventRow("later", f"{T0}-399", "x", "reward", 0.0, T0 + 500)])


def until_it_ships(updates):
    """The batch after which something would serve."""
    while not (learnt := updates.step()).version and not learnt.dropped:
        pass
    return learnt


def test_what_is_taken_back_while_it_is_learnt_from_stays_so(config, run, answering, log, monkeypatch):
    second_version(run, log, answering)
    updates = Updates(config, run)
    real = updates.learn

    def learn(*asked):
        result = real(*asked)
        if result[1].ships:
            versions.roll_back(run / "export", "a person said so")
        return result

    monkeypatch.setattr(updates, "learn", learn)
    learnt = until_it_ships(updates)
    assert (learnt.source, learnt.version, learnt.dropped) == (2, 0, True)
    assert "version 2, which it was made from, was taken back meanwhile (a person said so)" in learnt.reason
    assert (versions.served_version(run / "export"), versions.newest_version(run / "export")) == (1, 2)
    monkeypatch.undo()
    assert updates.step() is None or read_history(run / "export")[-1].source == 1
    assert replay(config, run) < 1e-5


def test_what_is_taken_back_while_its_child_is_written_stays_so(config, run, answering, log, monkeypatch):
    second_version(run, log, answering)

    def exported(source, policy):
        folder = export_policy(source, policy)
        versions.roll_back(run / "export", "a person said so", 2)
        return folder

    monkeypatch.setattr(loop, "export_policy", exported)
    assert until_it_ships(Updates(config, run)).version == 3
    labels = versions.read_labels(run / "export")
    assert (labels.stable, labels.canary) == (1, 1)
    assert "was taken back meanwhile (a person said so)" in labels.refused["3"]


def test_what_answers_its_golden_queries_badly_is_never_labelled_stable(config, run, answering, log, monkeypatch):
    def exported(source, policy):
        return export_policy(source, {name: np.full_like(value, np.nan) for name, value in policy.items()})

    second_version(run, log, answering)
    monkeypatch.setattr(loop, "export_policy", exported)
    updates = Updates(config, run)
    assert until_it_ships(updates).version == 3
    labels = versions.read_labels(run / "export")
    assert (labels.stable, labels.before, labels.canary) == (2, (1,), 2)
    assert "golden queries: expected finite scores" in labels.refused["3"]
    monkeypatch.undo()
    assert until_it_ships(updates).version == 4  # tried by the same graph
    assert versions.served_version(run / "export") == 4


def test_it_goes_on_where_a_killed_process_stopped(config, run, answering, log):
    serve(answering, run, log, 400)
    updates = Updates(config, run)
    while not (learnt := updates.step()).version:
        pass
    lines = (run / "export" / "learning.jsonl").read_text()
    versions.roll_back(run / "export", "undone")  # as if it had been killed before the label was set
    labels = run / "export" / "labels.json"
    labels.write_text(json.dumps({**json.loads(labels.read_text()), "refused": {}}))
    (run / "export" / "learning.jsonl").write_text(lines + '{"event": 1, "ti')
    more = Updates(config, run).step()
    assert versions.read_labels(run / "export").stable >= learnt.version
    assert more is None or more.event > learnt.event


def test_too_few_decisions_and_another_fusion_teach_nothing_and_are_counted(config, run, answering, log):
    serve(answering, run, log, 200, fusion="another")
    log.add_events([EventRow("later", f"{T0}-1", "x", "reward", 0.0, T0 + 500)])
    learnt = Updates(config, run).step()
    assert (learnt.version, learnt.decisions) == (0, 0)
    assert "fewer than 32 settled decisions" in learnt.reason
    assert versions.served_version(run / "export") == 1


def test_without_events_nothing_happens_and_the_program_ends(config, run, log, capsys):
    update(config, run, once=True)
    program.main(["--config", str(run / "config.toml"), "--run", str(run), "--once"])
    assert "version 1 serves" in capsys.readouterr().out
    assert not (run / "export" / "learning.jsonl").exists()


def test_a_version_whose_reward_falls_is_taken_back(config, run, answering, log):
    start = int(time.time()) - 1000
    shutil.copytree(run / "export" / "1", run / "export" / "2")
    versions.promote(run / "export", 2)
    serve(answering, run, log, 100, start, version="1")
    serve(answering, run, log, 100, start + 200, liked=lambda item: False, version="2")
    Updates(config, run).step()
    labels = versions.read_labels(run / "export")
    assert labels.stable == 1
    assert "live reward: 0.0000 per decision (100 decisions)" in labels.refused["2"]


def test_rollback_by_hand(run, capsys):
    shutil.copytree(run / "export" / "1", run / "export" / "2")
    versions.promote(run / "export", 2)
    command = ["--config", str(run / "config.toml"), "--run", str(run), "--rollback"]
    program.main(command)
    assert "version 1" in capsys.readouterr().out
    with pytest.raises(ValueError, match="before 1 to go back to"):
        program.main(command)


def test_history_is_read_as_it_was_written(tmp_path):
    kept = [Learnt(256, T0, 1, 2, 99, "gain"), Learnt(512, T0 + 9, 2, 0, 120, "refused", 0.5, -0.1, 3)]
    for one in kept:
        add(tmp_path, one)
    assert read_history(tmp_path) == kept
    (tmp_path / "learning.jsonl").write_text('{"event": 3}\n')
    with pytest.raises(ValueError, match="delete it to learn anew"):
        read_history(tmp_path)


def test_a_history_that_cannot_be_written_stays_as_it_was(tmp_path, monkeypatch):
    kept = Learnt(256, T0, 1, 2, 99, "gain")
    add(tmp_path, kept)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        add(tmp_path, Learnt(512, T0 + 9, 2, 3, 99, "gain"))
    assert read_history(tmp_path) == [kept]
    assert [path.name for path in tmp_path.iterdir()] == ["learning.jsonl"]
