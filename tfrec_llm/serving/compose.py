"""Puts a run's finished stages together: the signal path, and the recommender around it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfrec_llm import behaviour, fusion, ranking, retrieval, text
from tfrec_llm.config import Config
from tfrec_llm.serving import facts
from tfrec_llm.serving.recommender import Recommender
from tfrec_llm.serving.signals import SignalPath
from tfrec_llm.types import Dataset


def load_unblended(config: Config, dataset: Dataset, run: Path) -> SignalPath:
    """Text, behaviour and towers of a run, with a candidate source that believes all of them alike.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
    """
    language, lstm, towers = _models(config, dataset, run)
    tables = {
        "behaviour": lstm.item_table().numpy(),
        "towers": towers.item_table().numpy(),
        "text": language.item_vectors.text,
    }
    named = language.slot_table()
    if named is not None and named.any() and config.text.slots.boost:
        tables["slots"] = named
    unboosted = replace(config.text.slots, boost=1.0)  # the blend learns what a named value is worth
    neighbours = retrieval.load_neighbours(run / "retrieval" / "item_item")
    source = retrieval.CandidateSource.build(tables, dataset, text.load_language_axes(run / "text"), neighbours)
    return SignalPath(language, lstm, towers, source, unboosted)


def load_signal_path(config: Config, dataset: Dataset, run: Path) -> SignalPath:
    """Text, behaviour, towers and blend of a run.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
    """
    source = retrieval.CandidateSource.load(run / "retrieval" / "blend")
    language, lstm, towers = _models(config, dataset, run)
    known = facts.load_known(config, dataset.domain, language.item_vectors, run)
    return SignalPath(language, lstm, towers, source, config.text.slots, known)


def _models(config: Config, dataset: Dataset, run: Path) -> tuple[Any, Any, Any]:
    language = text.load(config, run / "text")
    items = language.item_vectors
    lstm = behaviour.load(config, dataset, items, run / "behaviour")
    return language, lstm, retrieval.load(config, dataset, items, run / "retrieval" / "towers")


def load_recommender(config: Config, dataset: Dataset, run: Path, scratch: Path) -> Recommender:
    """Everything of a run that answers requests.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder.
      scratch: a folder for the vocabulary file, which must live as long as the recommender.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
    """
    path = load_signal_path(config, dataset, run)
    joined = fusion.load(config, run / "fusion" / "context")
    agent = ranking.load(config, run / "ranking")
    return Recommender(path, joined, agent, dataset.catalogue, dataset.domain, config, scratch)
