"""Every program's `main` on `smoke.toml`: what it leaves behind, what it skips, how it fails."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pipelines import arguments, evaluate, export, prepare, publish, recommend, simulate, stages, train
from tfrec_llm import config as configs
from tfrec_llm import data

STAGES = ("data", "text", "behaviour", "retrieval", "fusion", "ranking", "export")


@pytest.fixture
def run(smoke_run, tmp_path):
    """A copy of the finished run, to be changed at will."""
    return shutil.copytree(smoke_run, tmp_path / "run")


def figures(run):
    return json.loads((run / "metrics.json").read_text("utf-8"))


def test_train_leaves_the_folders_of_the_design(smoke_run):
    for stage in STAGES:
        assert (smoke_run / stage).is_dir()
        assert figures(smoke_run)["metrics"][f"seconds.{stage}"]["value"] > 0
    assert not list(smoke_run.rglob("*.partial"))
    assert configs.load(smoke_run / "config.toml").data.source == "synthetic"
    assert list((smoke_run / "tensorboard" / "behaviour").rglob("events.out.tfevents*"))
    assert list((smoke_run / "tensorboard" / "retrieval").rglob("projector_config.pbtxt"))


def test_the_query_tower_has_heard_utterances(smoke_run):
    dataset = stages.load_dataset(smoke_run)
    weights = np.load(smoke_run / "retrieval" / "towers" / "towers.npz")
    assert data.can_name(dataset)
    assert np.abs(weights["heard/centre"]).max() > 0
    assert np.abs(weights["heard/_out/kernel"]).max() > 0  # nothing before training


def test_a_second_run_does_nothing_again(run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*.npz")}
    train.main(["--config", "smoke", "--run", str(run)])
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*.npz")} == before
    assert [p.name for p in (run / "export").iterdir() if p.name.isdigit()] == ["1"]


def test_evaluate_prints_the_protocols_figures(run, capsys):
    evaluate.main(["--config", "smoke", "--run", str(run), "--set", "evaluate.split=test"])
    report = figures(run)
    metrics = report["metrics"]
    for name in ("behaviour", "retrieval", "system", "system_with_utterance", "control.utterance_only",
                 "control.utterance_random", "baseline.random", "baseline.popularity", "baseline.item_knn",
                 "baseline.matrix_factorisation", "baseline.ease", "baseline.ease_recency",
                 "baseline.text_knn"):  # fmt: skip
        entry = metrics[f"{name}.ndcg@10"]
        assert entry["split"] == "test"
        assert entry["ci95"][0] <= entry["value"] <= entry["ci95"][1]
        assert 0 < metrics[f"{name}.novelty@10"]["value"] < 20
        assert 0 <= metrics[f"{name}.diversity@10"]["value"] <= 2
    shown = capsys.readouterr().out
    assert "ease_recency" in shown
    assert "the system against it" in shown
    assert f"protocol {report['protocol']['sha256'][:12]}" in shown
    gain = metrics["gain.system.over.baseline.popularity.ndcg@10"]
    difference = metrics["system.ndcg@10"]["value"] - metrics["baseline.popularity.ndcg@10"]["value"]
    assert gain["value"] == pytest.approx(difference)
    assert gain["ci95"][0] > 0
    assert report["run"]["diversity_by"] == "text"
    assert "baseline.own_frequent.ndcg@10" not in metrics
    assert metrics["system.ndcg@10"]["value"] > 3 * metrics["baseline.popularity.ndcg@10"]["value"]
    assert metrics["system.ndcg@10"]["value"] >= metrics["behaviour.ndcg@10"]["value"]
    assert report["protocol"]["dataset"] == "synthetic"
    assert report["protocol"]["seeds"] == [1]
    assert report["run"]["seed"] == 1


def test_recommend_prints_titles_reasons_and_propensities(smoke_run, capsys):
    user = str(stages.load_dataset(smoke_run).interactions.user_ids[0])
    recommend.main(["--config", "smoke", "--run", str(smoke_run), "--user", user, "--text", "very funny", "--k", "4"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("heard: intent ")
    assert [line.split()[0] for line in lines[-4:]] == ["1", "2", "3", "4"]
    assert any("<-" in line for line in lines[-4:])


def test_recommend_to_a_stranger_who_says_nothing(smoke_run, capsys):
    recommend.main(["--config", "smoke", "--run", str(smoke_run), "--user", "nobody"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 11
    assert not any("<-" in line for line in lines[1:])


def test_recommend_without_an_export_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="make train CONFIG=smoke"):
        recommend.main(["--config", "smoke", "--run", str(tmp_path)])


def test_simulate_learns_in_the_linear_world(run):
    simulate.main(["--config", "smoke", "--run", str(run), "--set", "simulate.rounds=150"])
    metrics = figures(run)["metrics"]
    learnt = metrics["ranking.linear.session_values.reward"]["value"]
    assert learnt > metrics["ranking.linear.random.reward"]["value"]


def test_simulate_judges_sessions_of_the_run(run):
    simulate.main(["--config", "smoke", "--run", str(run), "--set", "simulate.worlds=[]"])
    metrics = figures(run)["metrics"]
    for name in ("trainer", "judge"):
        assert metrics[f"ranking.simulator.{name}.auc"]["value"] > 0.5
        assert 0 <= metrics[f"ranking.simulator.{name}.ece"]["value"] < 0.2
    for factor in "012":
        gain = metrics[f"ranking.session.gain|drift_{factor}"]
        assert gain["ci95"][0] <= gain["value"] <= gain["ci95"][1]
        ours, blend = (
            metrics[f"ranking.session.{who}.reward|drift_{factor}"]["value"] for who in ("session_values", "blend")
        )
        assert ours / blend - 1 == pytest.approx(gain["value"], abs=1e-5)
    assert metrics["ranking.session.blend.requests|drift_0"]["value"] == 10  # nobody leaves
    assert metrics["ranking.session.blend.requests|drift_2"]["value"] < 10
    assert 0 < metrics["ranking.session.changed_share"]["value"] <= 1
    assert 0 < metrics["ranking.session.session_values.ndcg@10"]["value"] <= 1


def test_export_writes_the_next_version(run):
    export.main(["--config", "smoke", "--run", str(run)])
    assert sorted(p.name for p in (run / "export").iterdir() if p.name.isdigit()) == ["1", "2"]


def test_prepare_stops_after_the_data(tmp_path):
    prepare.main(["--config", "smoke", "--run", str(tmp_path / "run")])
    assert (tmp_path / "run" / "data" / "stage.json").exists()
    assert not (tmp_path / "run" / "text").exists()


def test_an_unknown_stage_is_refused_before_anything_is_done(tmp_path):
    with pytest.raises(ValueError, match="expected all or one of data, text"):
        train.main(["--config", "smoke", "--run", str(tmp_path / "run"), "--stage", "texts"])
    assert not (tmp_path / "run").exists()


def test_an_unknown_component_is_refused_before_anything_is_done(tmp_path):
    for override in (
        "behaviour.model=lstn", "text.encoder.width=3", "ranking.agent.epsilon=2.0", "fusion.layer=sum",
        "text.rows={snipz=5}", "text.rows={files=-5}", "text.augment.back_translation={fr=['a','b']}",
        "text={finetuning='lora', regularise={ensemble=2}}",
    ):  # fmt: skip
        with pytest.raises(configs.ConfigError):
            train.main(["--config", "smoke", "--run", str(tmp_path / "run"), "--set", override])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["data", "text", "behaviour", "fusion/rows"])
def test_a_damaged_stage_is_named_and_nothing_is_lost(run, stage):
    victim = max((run / stage).glob("*.npz"), key=lambda p: p.stat().st_size)
    damaged = bytearray(victim.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    victim.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=victim.name) as caught:
        train.main(["--config", "smoke", "--run", str(run)])
    assert f"make train STAGE={stage.partition('/')[0]}" in str(caught.value)
    assert victim.read_bytes() == bytes(damaged)
    assert (run / "export" / "1").exists()


def test_a_stage_with_a_missing_file_is_named(run):
    os.remove(run / "behaviour" / "weights.npz")
    with pytest.raises(ValueError, match=r"weights\.npz"):
        train.main(["--config", "smoke", "--run", str(run)])


def test_the_named_remedy_mends_a_damaged_stage(run):
    (run / "ranking" / "weights.npz").write_bytes(b"")
    train.main(["--config", "smoke", "--run", str(run), "--stage", "ranking"])
    assert (run / "ranking" / "weights.npz").stat().st_size


def test_programs_end_with_one_sentence(tmp_path, capsys):
    def failing(_):
        raise ValueError("events.csv: column time: expected seconds")

    with pytest.raises(SystemExit) as caught:
        arguments.program(failing)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: events.csv: column time: expected seconds\n"


def test_the_tables_are_those_of_the_results():
    for path, text in publish.written().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `python -m pipelines.publish`"


def test_history_of_a_user_is_padded_to_the_width(smoke_run):
    dataset = stages.load_dataset(smoke_run)
    items, events, times = recommend.history_of(dataset, str(dataset.interactions.user_ids[0]), 7)
    assert len(items) == len(events) == len(times) == 7
    assert set(items) <= set(dataset.catalogue.item_ids)
    assert set(events) <= set(dataset.domain.events)
    assert np.all(np.diff(times) >= 0)


def test_a_program_that_imports_tensorflow_first_starts_in_a_process_of_its_own():
    command = [sys.executable, "-m", "pipelines.recommend", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=publish.ROOT)
    assert answer.returncode == 0, answer.stderr
    assert "--config" in answer.stdout


def test_a_folder_where_a_file_is_expected_and_the_other_way_round(tmp_path):
    with pytest.raises(configs.ConfigError, match="expected a path to a TOML or one of"):
        prepare.main(["--config", str(tmp_path)])
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="--run: expected a folder"):
        prepare.main(["--config", "smoke", "--run", str(tmp_path / "run")])
    own = ["--set", "data.source=files", f"data.interactions={tmp_path}", f"data.items={tmp_path}"]
    with pytest.raises(ValueError, match=str(tmp_path)):
        prepare.main(["--config", "smoke", "--run", str(tmp_path / "other"), *own])
