"""New items on a run of one's own files: served without a training, the rest as before, and nothing lost on the way."""

import dataclasses
import shutil
import time
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from pipelines import export, stages
from pipelines import update as program
from tests.serving.server.running import whole
from tests.serving.update import shop
from tests.serving.update.test_update import serve
from tfrec_llm import config as configs
from tfrec_llm import data, retrieval, training
from tfrec_llm.data import files
from tfrec_llm.feedback import EventLog, EventRow, sqlite_url
from tfrec_llm.retrieval import blend
from tfrec_llm.serving import bundle, saved_model, versions
from tfrec_llm.serving.added import read_added
from tfrec_llm.serving.manifest import fusion_of, items_of
from tfrec_llm.serving.saved_model import export_policy
from tfrec_llm.serving.server.answering import load
from tfrec_llm.serving.update import Updates, items, replay, update_items
from tfrec_llm.serving.update.history import read_history

NEW = ["another", "away", "new-western"]
BLANK = {"user_id": "", "request_id": "", "utterance": "", "request_time": 10**9 + 10**6, "k": 10,
         **{name: [] for name in ("history", "history_event", "history_time", "attributes", "exclude")}}  # fmt: skip


def alike(source, batches, *_):
    """A blend that believes all sources alike: one learnt from so few users believes a single one."""
    rows = blend.join_rows(batches)
    blend.calibrate(source, rows, np.arange(len(rows.target)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run whose policy has learnt since: version 2 serves."""
    folder = tmp_path_factory.mktemp("shop")
    run = folder / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "fit_blend", alike)
        stages.run_stages(shop.write(folder), run)
    draw, before = np.random.default_rng(1), bundle.read_policy(run / "export" / "1")
    moved = {name: value + draw.normal(0, 1e-3, value.shape).astype(value.dtype) for name, value in before.items()}
    export_policy(run / "export" / "1", moved)
    versions.promote(run / "export", 2)
    return run


@pytest.fixture(scope="module")
def grown(trained):
    """The same run after three new items, without one that was there, and with one renamed: version 3 serves."""
    table = shop.items()
    table.loc[table["item_id"] == "crime-03", ["title", "price"]] = ["Renamed", 7.25]
    pd.concat([table[table["item_id"] != "crime-07"], shop.new_items()]).to_csv(items_file(trained), index=False)
    update_items(config_of(trained), trained)
    return trained


@pytest.fixture(scope="module")
def answers(grown):
    return {version: load(grown / "export" / str(version), grown, "export", 1, 50) for version in (2, 3)}


@pytest.fixture
def copy(grown, tmp_path):
    """The grown run in a place of its own, with its files, to be changed at will."""
    shutil.copytree(grown.parent, tmp_path / "shop")
    config = config_of(grown)
    return moved_config(config, tmp_path / "shop"), tmp_path / "shop" / "run"


def config_of(run):
    return configs.load(run / "config.toml")


def items_file(run):
    return run.parent / "items.csv"


def moved_config(config, folder):
    return dataclasses.replace(config, data=dataclasses.replace(config.data, items=str(folder / "items.csv")))


def ask(answering, rows):
    return answering([{**BLANK, **row} for row in rows])


def watched(genre, count):
    """The history of somebody who keeps to a genre."""
    ids = [f"{genre}-{number:02d}" for number in range(count)]
    times = [10**9 + 86_400 * number for number in range(count)]
    return {"history": ids, "history_event": ["rated_5"] * count, "history_time": times}


def test_known_items_score_as_before_where_no_new_one_is_in_the_way(answers):
    said = ("", "something funny", "a western with horses", "under 30 dollars")
    some = [("western", 3), ("space", 9), ("crime", 5), ("romance", 0), ("space", 1)]
    rows = [{**watched(*one), "utterance": text, "exclude": [*NEW, "crime-07"]} for one in some for text in said]
    (before, earlier), (after, later) = (ask(answers[version], rows) for version in (2, 3))
    assert before["rows"]["candidate_ids"] == after["rows"]["candidate_ids"]
    assert before["rows"]["item_ids"] == after["rows"]["item_ids"]
    for name in ("scores", "propensities"):
        np.testing.assert_allclose(after["rows"][name], before["rows"][name], atol=1e-6)
    for name in ("context", "features"):
        assert earlier[name].shape == later[name].shape
        np.testing.assert_allclose(later[name], earlier[name], atol=1e-6)


def test_who_likes_the_like_gets_the_new_item_and_who_does_not_does_not(answers):
    found, _ = ask(answers[3], [watched("western", 9), watched("space", 9), watched("crime", 9)])
    places = [ids.index("new-western") if "new-western" in ids else 99 for ids in found["rows"]["candidate_ids"]]
    assert places[0] < 15
    assert places[0] < min(places[1:])
    assert not any("away" in ids or "crime-07" in ids for ids in found["rows"]["candidate_ids"])


def test_who_asks_for_it_gets_it(answers):
    texts = ["Gardening at Night. tulips and spades", "Dust Saddle Canyon. dust saddle canyon horses"]
    found, _ = ask(answers[3], [{"utterance": text, **watched("crime", 2)} for text in texts])
    first, second = found["rows"]["candidate_ids"]
    assert first.index("another") < (second.index("another") if "another" in second else 99)
    assert second.index("new-western") < (first.index("new-western") if "new-western" in first else 99)


def test_a_history_that_holds_new_and_gone_items_is_understood(answers):
    rows = [{"history": [item]} for item in ("new-western", "crime-07", "nobody knows this")] + [{}]
    heard, arrays = ask(answers[3], rows)
    contexts = arrays["context"]
    assert np.abs(contexts[0] - contexts[3]).max() > 1e-4
    assert np.abs(contexts[1] - contexts[3]).max() > 1e-4
    np.testing.assert_allclose(contexts[2], contexts[3], atol=1e-6)
    assert "new-western" not in heard["rows"]["candidate_ids"][0]  # it was seen


def test_what_the_policy_had_learnt_stays_and_the_contexts_are_of_the_same_fusion(grown):
    before, after = (bundle.read_policy(grown / "export" / version) for version in ("2", "3"))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert fusion_of(grown / "export" / "3") == fusion_of(grown / "export" / "2")
    assert items_of(grown / "export" / "3")
    assert not items_of(grown / "export" / "2")
    assert versions.read_labels(grown / "export").before == (1, 2)


def test_a_second_look_finds_nothing_new_and_says_so(grown, capsys):
    program.main(["--config", str(grown / "config.toml"), "--run", str(grown), "--stage", "items"])
    assert "nothing new; version 3 goes on" in capsys.readouterr().out
    assert versions.newest_version(grown / "export") == 3


def test_titles_and_what_was_trained(grown):
    assert data.read_names(grown / "data", grown / "added")[1]["new-western"] == "Dust Saddle Canyon"
    assert data.read_names(grown / "data", grown / "added")[1]["crime-03"] == "Renamed"
    added = read_added(config_of(grown), stages.load_dataset(grown).domain, grown)
    place = added.catalogue.item_ids.tolist().index("crime-03")
    assert added.of("text")["price"][place] == np.float32(7.25)
    assert len(stages.load_dataset(grown).catalogue.item_ids) == 62  # what is judged is what was trained


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("item_id,name\na,A\n", "column 'title' is missing"),
        ("item_id,title,price\na,A,cheap\n", r"expected a price such as 12\.99, got at line 2: 'cheap'"),
        ("item_id,title,price\na,A,-3\n", "expected a price of at least 0"),
        ("", "got an empty file"),
        (None, "expected a file, got none"),
    ],
)
def test_a_bad_file_is_one_sentence_and_changes_nothing(grown, tmp_path, content, message):
    before = {path: path.stat().st_mtime_ns for path in grown.rglob("*")}
    if content is not None:
        (tmp_path / "items.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        update_items(moved_config(config_of(grown), tmp_path), grown)
    assert {path: path.stat().st_mtime_ns for path in grown.rglob("*")} == before


def test_without_files_or_an_export_or_another_stage_it_says_what_to_do(grown, tmp_path):
    with pytest.raises(configs.ConfigError, match="source = 'synthetic'"):
        update_items(dataclasses.replace(config_of(grown), data=configs.Data(source="synthetic")), grown)
    with pytest.raises(ValueError, match="STAGE: expected one of all, items, got 'item'"):
        program.main(["--config", "smoke", "--run", str(tmp_path), "--stage", "item"])
    shutil.copytree(grown / "data", tmp_path / "run" / "data")
    with pytest.raises(ValueError, match="expected an export, found none"):
        update_items(config_of(grown), tmp_path / "run")


def test_killed_on_the_way_the_old_version_serves_and_the_next_call_makes_up_for_it(copy, monkeypatch):
    config, run = copy
    with items_file(run).open("a") as file:
        file.write("late,Comet Kiss,comet kiss,Space,3,\n")
    before = sorted(path.name for path in (run / "export").iterdir())

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(saved_model, "signatures", killed)
    with pytest.raises(KeyboardInterrupt):
        update_items(config, run)
    assert versions.served_version(run / "export") == 3
    assert sorted(path.name for path in (run / "export").iterdir()) == before
    monkeypatch.undo()
    done = update_items(config, run)
    assert (done.change.added, done.version) == (("late",), 4)
    assert update_items(config, run).version == 0
    versions.roll_back(run / "export", "a person said so")
    monkeypatch.setattr(items, "export_run", killed)
    with pytest.raises(KeyboardInterrupt):  # whoever asks once more after a rollback gets them again
        update_items(config, run)


def test_learning_goes_on_and_a_replay_finds_its_way(copy, answers):
    config, run = copy
    learn = dataclasses.replace(config.learn, batch_events=400, window=10, least_decisions=32, watched=50)
    gate = dataclasses.replace(config.gate, min_effective_sample=15.0, margin=0.5, bootstrap=100)
    config = dataclasses.replace(config, learn=learn, gate=gate)
    log = EventLog(sqlite_url(run / "log.db"))
    serve(answers[2], run, log, 200)  # before the new items, and after
    serve(answers[3], run, log, 200, start=1_700_000_500)
    log.add_events([EventRow("later", "1700000500-199", "x", "reward", 0.0, 1_700_001_000)])
    log.close()
    done = list(iter(Updates(config, run).step, None))
    assert max(learnt.decisions for learnt in done) > 100
    assert sum(learnt.left_out for learnt in done) == 0
    version = versions.served_version(run / "export")
    assert version > 3
    assert items_of(run / "export" / str(version)) == items_of(run / "export" / "3")
    shutil.rmtree(run / "export" / "3")  # as after many versions
    assert [learnt.only_items for learnt in read_history(run / "export")][:2] == [True, False]
    assert replay(config, run) < 1e-5


def test_make_export_keeps_the_items_and_trains_nothing_and_a_training_ends_them(copy, capsys):
    config, run = copy
    toml = run / "config.toml"
    toml.write_text(toml.read_text().replace(config_of(run).data.items, config.data.items))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.npz")}
    export.main(["--config", str(toml), "--run", str(run)])
    assert "version 4" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.npz")} == before
    assert items_of(run / "export" / "4") == items_of(run / "export" / "3")
    place = run / "retrieval" / "blend"

    def anew(stage):
        for path in place.glob("source.*"):
            shutil.copy(path, stage.folder)
        (stage.folder / "more").write_text("trained anew")

    training.run_stage(run, "retrieval/blend", {}, anew)
    assert stages.added_items(config, run) is None
    assert not (run / "added").exists()


def test_a_running_server_takes_them_over_with_their_titles(grown, tmp_path):
    run = Path(shutil.copytree(grown, tmp_path / "run"))
    versions.roll_back(run / "export", "to begin with")
    kept = shutil.move(run / "added", tmp_path / "added")
    with whole(run, tmp_path) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/healthz").json()["model_version"] == "2"
        shutil.move(kept, run / "added")
        (run / "export" / "labels.json").unlink()
        versions.promote(run / "export", 3)
        wait_for(lambda: client.get("/healthz").json()["model_version"] == "3")
        body = {"user_id": "u", "k": 30, "request_id": "", "history": [["western-01", "rated_5", 10**9]]}
        shown = client.post("/recommend", json=body).json()["items"]
        assert {item["id"]: item["title"] for item in shown}["new-western"] == "Dust Saddle Canyon"
        assert 'way="full"} 1.0' in client.get("/metrics").text


def wait_for(what, seconds=60):
    for _ in range(10 * seconds):
        if what():
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


def test_the_report_names_what_changed(grown):
    change = items.look_again(stages.load_dataset(grown).catalogue, 62, files.read_catalogue(config_of(grown).data))
    said = program.told(items.ItemsUpdate(change, 3, 4.2), grown)
    assert "  3 added: another, away, new-western" in said
    assert "  1 no longer shown (not in the file, or not available): crime-07" in said
    assert "  1 with another title or price, taken over: crime-03" in said
    assert "version 3" in said
