"""The study of fusions on tiny synthetic data: what is shared, what a cell trains, what its report says."""

import dataclasses

import numpy as np
import pytest

from pipelines import fusion_study, suite
from tfrec_llm import config as configs
from tfrec_llm.config import Component
from tfrec_llm.evaluation.report import check_report
from tfrec_llm.types import Candidates

SMALL = ("data.synthetic_users=150", "data.synthetic_items=40", "behaviour.min_steps=0", "behaviour.epochs=1",
         "retrieval.epochs=1", "fusion.epochs=1", "ranking.epochs=1", "evaluate.bootstrap=20", "evaluate.recall_at=20",
         "text.epochs=1", "text.slots.rows=0", "retrieval.item_item=false")  # fmt: skip


@pytest.fixture
def config(monkeypatch, tmp_path):
    monkeypatch.setattr(fusion_study, "SHARED", tmp_path)
    return configs.load(suite.ROOT / "pipelines" / "configs" / "smoke.toml", SMALL)


def with_fusion(config, name, seed):
    return dataclasses.replace(config, seed=seed, fusion=dataclasses.replace(config.fusion, layer=Component(name)))


def test_cells_share_all_but_fusion_and_ranker_and_are_judged_without_each_modality(config, tmp_path):
    report = fusion_study.study(with_fusion(config, "softmax", 2))
    check_report(report)
    metrics = report["metrics"]
    for prefix in ("", "validation."):
        for name in ("behaviour", "time", "text", "signals"):
            whole = "system_with_utterance" if name in ("text", "signals") else "system"
            cost = metrics[f"{prefix}fusion.cost_of_{name}.ndcg@10"]["value"]
            without = metrics[f"{prefix}fusion.without_{name}.ndcg@10"]["value"]
            assert metrics[f"{prefix}{whole}.ndcg@10"]["value"] - without == pytest.approx(cost, abs=1e-9)
        assert metrics[f"{prefix}gain.system.over.concatenation.ndcg@10"]["ci95"]
    assert metrics["system.ndcg@10"]["split"] == "test"
    assert metrics["validation.system.ndcg@10"]["split"] == "validation"
    assert metrics["fusion.context.log_likelihood"]["value"] < 0
    (run,) = tmp_path.iterdir()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.npz")}
    plain = fusion_study.study(with_fusion(config, "concatenation", 2))["metrics"]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.npz")} == before  # the reference was made already
    assert list(tmp_path.iterdir()) == [run]
    ours, theirs, gap = (
        metrics["system.ndcg@10"], plain["system.ndcg@10"], metrics["gain.system.over.concatenation.ndcg@10"],
    )  # fmt: skip
    assert ours["value"] - theirs["value"] == pytest.approx(gap["value"], abs=1e-9)
    assert "gain.system.over.concatenation.ndcg@10" not in plain


def test_orders_leave_out_what_is_not_allowed_and_keep_ties_in_the_order_of_the_blend():
    candidates = Candidates(
        np.array([[5, 6, 7]]), np.array([[2.0, 2.0, 3.0]]), np.zeros((1, 3, 1)), np.array([[True, True, False]])
    )
    posed = fusion_study.Posed({}, candidates)
    assert fusion_study.blend_order(posed, 4).tolist() == [[5, 6, 0, 0]]


def test_each_case_is_judged_without_what_it_has():
    there, nowhere = np.array([True, False]), np.zeros(2, bool)
    posed = fusion_study.Posed(
        {"behaviour": (np.ones((2, 3)), there), "text": (np.ones((2, 2)), there), "time": (np.ones((2, 1)), nowhere)},
        None,
    )
    silent = dict(fusion_study.removed(posed, "system"))
    assert list(silent) == ["behaviour"]
    assert not silent["behaviour"].modalities["behaviour"][1].any()
    assert silent["behaviour"].modalities["text"] is posed.modalities["text"]
    assert list(dict(fusion_study.removed(posed, "system_with_utterance"))) == ["text"]


def test_the_suite_asks_for_every_fusion():
    from tfrec_llm.fusion import FUSIONS

    assert set(suite.load_suite("fusion_study").cells) == set(FUSIONS)
