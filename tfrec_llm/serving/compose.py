"""Puts a run's finished stages together: the signal path, and the recommender around it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tfrec_llm import behaviour, fusion, ranking, retrieval, text
from tfrec_llm.config import Config
from tfrec_llm.serving import facts
from tfrec_llm.serving.added import Added, take_items
from tfrec_llm.serving.recommender import Recommender
from tfrec_llm.serving.signals import SignalPath
from tfrec_llm.types import FIRST_ITEM, Dataset


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


def load_signal_path(config: Config, dataset: Dataset, run: Path, added: Added | None = None) -> SignalPath:
    """Text, behaviour, towers and blend of a run.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder.
      added: items that came after the training; None = without any.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
    """
    blend = run / "retrieval" / "blend"
    if added is None:
        source = retrieval.CandidateSource.load(blend)
    else:
        source = retrieval.load_with(blend, added.of("source"), added.catalogue, dataset.domain)
    language, lstm, towers = _models(config, dataset, run, added)
    later = None if added is None else added.of("known")
    known = facts.load_known(config, dataset.domain, text.load_item_vectors(run / "text"), run, later)
    return SignalPath(language, lstm, towers, source, config.text.slots, known)


def _models(config: Config, dataset: Dataset, run: Path, added: Added | None = None) -> tuple[Any, Any, Any]:
    language, later = text.load(config, run / "text"), (None, None)
    if added is not None:
        take_items(language, added)
        dataset = replace(dataset, catalogue=added.catalogue)
        later = added.of("behaviour"), added.of("towers")
    items = language.item_vectors
    lstm = behaviour.load(config, dataset, items, run / "behaviour", later[0])
    return language, lstm, retrieval.load(config, dataset, items, run / "retrieval" / "towers", later[1])


def load_recommender(
    config: Config, dataset: Dataset, run: Path, scratch: Path, added: Added | None = None, agent: Any = None
) -> Recommender:
    """Everything of a run that answers requests.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder.
      scratch: a folder for the vocabulary file, which must live as long as the recommender.
      added: items that came after the training; None = without any.
      agent: that decides; None = the run's own.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
    """
    path = load_signal_path(config, dataset, run, added)
    joined = fusion.load(config, run / "fusion" / "context")
    agent = agent or ranking.load(config, run / "ranking")
    catalogue = dataset.catalogue if added is None else added.catalogue
    most = len(dataset.catalogue.item_ids) - FIRST_ITEM  # what the agent was trained for, however many items there are
    few = replace(config.retrieval, candidates=min(config.retrieval.candidates, most))
    settings = replace(config, retrieval=few)
    return Recommender(path, joined, agent, catalogue, dataset.domain, settings, scratch)
