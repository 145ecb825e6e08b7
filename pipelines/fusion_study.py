"""What a fusion is worth: on the same candidates for all, trained anew with its ranker, judged without each modality.

Data, text, behaviour, towers and blend are trained once, in `runs/shared/<fingerprint>`, and so are made the rows that
fusions learn from and the questions that they are judged by. A cell adds `context` and `ranking`, in its own folder
there.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pipelines import checks, stages
from tfrec_llm import data, evaluation, fusion, ranking, retrieval, serving, training
from tfrec_llm.config import Component, Config, Evaluate, Ranking, to_table
from tfrec_llm.config import Fusion as FusionSection
from tfrec_llm.serving import questions as asked
from tfrec_llm.serving import rows as logged
from tfrec_llm.training import files
from tfrec_llm.training.fingerprint import fingerprint
from tfrec_llm.types import Candidates, Dataset, Modalities, Queries, Rows

log = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]
SHARED = ROOT / "runs" / "shared"
SPLITS = ("validation", "test")
CASES = ("system", "system_with_utterance")  # what is asked: in silence, or with a synthetic utterance
REFERENCE = "concatenation"
SHARED_SEED = 1


class Posed(NamedTuple):
    """Questions as a fusion and an agent see them."""

    modalities: Modalities  # name -> (values [R, *], present [R] bool)
    candidates: Candidates  # [R, K]


class Deciding(NamedTuple):
    """A cell's own parts."""

    fusion: tf.keras.Model
    agent: Any


def check(config: Config) -> None:
    """Refuses a cell whose names or settings do not fit."""
    checks.check(config)


def study(config: Config) -> dict[str, Any]:
    """One fusion with one seed, as the report of a suite's cell.

    Args:
      config: everything but `fusion`, `ranking` and the seed is shared with the other cells.

    Returns:
      NDCG and the other metrics of the protocol on `test`, those on validation as `validation.<key>`; what the fusion
      gains over concatenation of the same seed and over the blend's own order; and for each modality
      `fusion.without_<modality>.ndcg@10` with `fusion.cost_of_<modality>.ndcg@10`, what is lost without it. Text and
      what it says are taken from rows with an utterance, the others from silent ones.
    """
    shared = dataclasses.replace(config, seed=SHARED_SEED, fusion=FusionSection(), ranking=Ranking())
    run = SHARED / fingerprint(to_table(shared))[:12]
    training.set_threads(config.train)
    stages.run_stages(shared, run, upto="retrieval")
    stages.log_rows(shared, run, force=False)
    dataset = stages.load_dataset(run)
    metrics: dict[str, Any] = {}
    with evaluation.measure() as used:
        ours = make(config, shared, run)
        plain = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, layer=Component(REFERENCE)))
        theirs = make(plain, shared, run) if config.fusion.layer.name != REFERENCE else None
        metrics |= files.read_json(folder_of(config, run) / "context" / "metrics.json")
        for split in SPLITS:
            metrics |= judge(ours, theirs, dataset, dataclasses.replace(shared.evaluate, split=split), shared, run)
    protocol = {**dataset.protocol, "seeds": [config.seed]}
    return {"metrics": metrics | evaluation.usage_entries("fusion_study", used), "protocol": protocol, "run": {}}


def folder_of(config: Config, run: Path) -> Path:
    """Where a cell's own stages lie."""
    return run / "cells" / f"{config.fusion.layer.name}-{fingerprint(to_table(config))[:12]}"


def make(config: Config, shared: Config, run: Path) -> Deciding:
    """Trains fusion and ranker of a cell, unless they lie there from before.

    Args:
      config: the cell's.
      shared: the settings of what all cells share.
      run: the shared run folder.
    """
    own = folder_of(config, run)
    mark = training.stage_fingerprint(run, "fusion/rows")
    inputs = {"seed": config.seed, "train": to_table(config.train), "rows": mark, "fusion": to_table(config.fusion)}

    def context(stage: training.Stage) -> None:
        fusion.train(config, logged.read_rows(run / "fusion" / "rows"), stage)

    def agent(stage: training.Stage) -> None:
        rows: Rows = logged.read_rows(run / "fusion" / "rows")
        contexts = fusion.contexts(fusion.load(config, own / "context"), rows)
        prior = retrieval.CandidateSource.load(run / "retrieval" / "blend").feature_names.index("blend_probability")
        ranking.train(config, dataset.domain, rows, contexts, prior, stage)

    dataset = stages.load_dataset(run)
    made = training.run_stage(own, "context", inputs, context)
    training.run_stage(own, "ranking", {"context": made, "ranking": to_table(config.ranking)}, agent)
    return Deciding(fusion.load(config, own / "context"), ranking.load(config, own / "ranking"))


def judge(
    ours: Deciding, theirs: Deciding | None, dataset: Dataset, settings: Evaluate, shared: Config, run: Path
) -> dict[str, Any]:
    """Every figure of one split.

    Args:
      ours: the cell's fusion and agent.
      theirs: those of the reference with the same seed, None where that is the cell itself.
      dataset: what `prepare` left.
      settings: cut-offs, resamples and the split.
      shared: the settings of what all cells share.
      run: the shared run folder.
    """
    queries, prefix = getattr(dataset.split, settings.split), "validation." if settings.split == "validation" else ""
    key, facts, found = f"ndcg@{settings.k}", evaluation.item_facts(dataset), {}

    def ndcg(top: np.ndarray) -> np.ndarray:
        return evaluation.judge(top, queries, settings.k, settings.recall_at)[key]

    def mean(values: np.ndarray) -> evaluation.Entry:
        figure = evaluation.summarise(values, settings.bootstrap, shared.seed)
        return evaluation.entry(figure.value, figure.n, settings.split, figure.ci95)

    for case in CASES:
        posed = pose(dataset, queries, case, settings.split, shared, run)
        top = order(ours, posed, settings.recall_at)
        figures = evaluation.figures(case, top, dataset, queries, settings, shared.seed, facts)
        found |= {name: value for name, value in figures.items() if "|" not in name}
        others = {"blend": blend_order(posed, settings.recall_at)}
        others |= {} if theirs is None else {REFERENCE: order(theirs, posed, settings.recall_at)}
        for name, other in others.items():
            found[evaluation.gain_key(f"{name}.{key}", case)] = mean(ndcg(top) - ndcg(other))
        for name, without in removed(posed, case):
            left = ndcg(order(ours, without, settings.recall_at))
            found[f"fusion.without_{name}.{key}"] = mean(left)
            found[f"fusion.cost_of_{name}.{key}"] = mean(ndcg(top) - left)  # query by query
    return {f"{prefix}{name}": value for name, value in found.items()}


def removed(posed: Posed, case: str) -> Iterator[tuple[str, Posed]]:
    """Each modality that the case has, with the questions as they are without it."""
    spoken = case == "system_with_utterance"
    for name, (values, present) in posed.modalities.items():
        if (name in ("text", "signals")) == spoken and present.any():
            yield name, posed._replace(modalities={**posed.modalities, name: (values, np.zeros_like(present))})


def order(deciding: Deciding, posed: Posed, width: int, batch_size: int = 512) -> np.ndarray:
    """[R, width] item indices, best first, of the greedy agent; 0 where none is left."""

    @tf.function(reduce_retracing=True)
    def scores(modalities: Mapping, candidates: Candidates) -> tf.Tensor:
        return deciding.agent.scores(deciding.fusion(modalities), candidates)

    parts = []
    for start in range(0, len(posed.candidates.item_ids), batch_size):
        batch = tf.nest.map_structure(lambda values, at=start: tf.constant(values[at : at + batch_size]), posed)
        parts.append(scores(dict(batch.modalities), batch.candidates).numpy())
    return _ranked(np.concatenate(parts), posed.candidates, width)


def blend_order(posed: Posed, width: int) -> np.ndarray:
    """[R, width] the candidates as the blend orders them."""
    return _ranked(posed.candidates.scores, posed.candidates, width)


def _ranked(scores: np.ndarray, candidates: Candidates, width: int) -> np.ndarray:
    place = np.argsort(-np.where(candidates.allowed, scores, -np.inf), axis=1, kind="stable")[:, :width]
    items = np.take_along_axis(np.where(candidates.allowed, candidates.item_ids, 0), place, axis=1)
    return np.pad(items, [(0, 0), (0, width - items.shape[1])]).astype(np.int32)


def pose(dataset: Dataset, queries: Queries, case: str, split: str, shared: Config, run: Path) -> Posed:
    """The questions of a split through the shared signal path; computed once and kept."""

    def build(stage: training.Stage) -> None:
        path = serving.load_signal_path(shared, dataset, run)
        said = np.zeros((len(queries.user), path.text.dim), np.float32)
        if case == "system_with_utterance":
            texts = data.synthesise(dataset, asked.first_relevant(queries, np.arange(len(said))), "test", shared.seed)
            said = asked.encode_utterances(path.text, texts, shared)
        posed = asked.Asked(np.arange(len(said)), said, (said != 0).any(axis=1))
        logged.save_signals(*logged.signals_of(path, dataset, queries, posed, shared), stage.folder)

    name = f"judged/{split}_{case}"
    training.run_stage(run, name, {"blend": training.stage_fingerprint(run, "fusion/rows")}, build)
    return Posed(*logged.read_signals(run / name))
