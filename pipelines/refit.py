"""`train.refit`: the models trained once more, on the validation events too, and judged on the test as a row.

What was learnt by asking validation users stays: how many passes were best, penalty and decay of the neighbours, the
weights of the blend. So nothing of it is chosen anew, and nothing sees the test. It is judged by the blend's order:
fusion and ranker read states that other weights mean otherwise. The refit lies in `<run>/refit`, a run folder whose
other stages are links to the run's own; it is judged and never exported.
"""

import dataclasses
import functools
import logging
from pathlib import Path

from pipelines.stages import load_dataset, towers_inputs
from pipelines.staging import inputs_of, make_stage
from tfrec_llm import behaviour, data, evaluation, retrieval, serving, text, training
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.serving import facts, questions
from tfrec_llm.serving.recommender import Recommender
from tfrec_llm.types import Dataset

FOLDER = "refit"
NEIGHBOURS = Path("retrieval") / "item_item"
LINKED = ("data", "text", "fusion", "ranking", facts.STAGE)
log = logging.getLogger(__name__)


def is_asked(config: Config) -> bool:
    """Whether the row is to be made: the validation cannot judge what has learnt from it."""
    if config.train.refit and config.evaluate.split != "test":
        log.info("train.refit: judged on the test alone, add SET=evaluate.split=test")
    return config.train.refit and config.evaluate.split == "test"


def check(config: Config, run: Path) -> None:
    """Refuses what cannot be refitted, before anything is judged.

    Args:
      config: the run's settings.
      run: a finished run folder.

    Raises:
      ConfigError: events are held out on purpose.
      ValueError: the run is of a version that did not write down how many passes were best.
    """
    if config.data.held_out_items or config.data.train_users < 1:
        raise ConfigError(
            "train.refit: expected data.held_out_items = 0 and data.train_users = 1, since it learns from all users "
            f"and items, got {config.data.held_out_items:g} and {config.data.train_users:g}; change one of them."
        )
    figures = evaluation.read_report(run / "metrics.json")["metrics"]
    for name in ("retrieval", *(behaviour.metric_key(name) for name, _ in behaviour.members(config))):
        _passes(figures, name)
    if config.retrieval.item_item and retrieval.load_choice(run / NEIGHBOURS) is None:
        raise _older("retrieval")


def load_refit(config: Config, run: Path) -> Recommender:
    """The recommender of the refit, whose stages are made where they are missing.

    Args:
      config: the run's settings.
      run: a finished run folder.

    Raises:
      ConfigError, ValueError: see `check`.
    """
    check(config, run)
    place, dataset = _linked(run), load_dataset(run)
    dataset = dataclasses.replace(dataset, split=data.with_validation(dataset.split))
    marks = _train(config, run, place, dataset)
    blend = run / "retrieval" / "blend"

    def reweigh(stage: training.Stage) -> None:
        path = serving.load_unblended(config, dataset, place)
        fitted = retrieval.CandidateSource.load(blend)
        for name in ("scale", "weights", "by_length", "utterance_centre"):
            getattr(path.source, name).assign(getattr(fitted, name))
        path.source.save(stage.folder)

    before = training.stage_fingerprint(run, "retrieval/blend")
    make_stage(place, "retrieval/blend", {"blend": before, "models": marks}, reweigh, False)
    return serving.load_recommender(config, dataset, place, place)


def _linked(run: Path) -> Path:
    place = run / FOLDER
    place.mkdir(exist_ok=True)
    for name in LINKED:
        if (run / name).exists() and not (place / name).is_symlink():
            (place / name).symlink_to(Path("..") / name, target_is_directory=True)
    return place


def _train(config: Config, run: Path, place: Path, dataset: Dataset) -> list[str]:
    """Behaviour models, towers and neighbours; the fingerprints of what they are made from and of."""
    language, figures = text.load(config, run / "text"), evaluation.read_report(run / "metrics.json")["metrics"]
    items, spoken = language.item_vectors, questions.spoken_of(language, dataset, config)
    before, marks = training.stage_fingerprint(run, "text"), []
    for name, member in behaviour.members(config):
        passes = _passes(figures, behaviour.metric_key(name))
        inputs = inputs_of(member, "behaviour", "train", start="behaviour", text=before, passes=passes)
        build = functools.partial(behaviour.train, member, dataset, items, passes=passes)
        marks.append(make_stage(place, name, inputs, build, False))
    passes = _passes(figures, "retrieval")
    inputs = inputs_of(
        config, "retrieval", "train", start="retrieval/towers", text=before, passes=passes, **towers_inputs(config)
    )
    build = functools.partial(retrieval.train, config, dataset, items, passes=passes, spoken=spoken)
    marks.append(make_stage(place, "retrieval/towers", inputs, build, False))
    choice = retrieval.load_choice(run / NEIGHBOURS) if config.retrieval.item_item else None
    inputs = inputs_of(config, "retrieval", "export", text=before, choice=list(choice or ()))
    build = functools.partial(retrieval.train_item_item, config, dataset, choice=choice) if choice else lambda _: {}
    return [*marks, make_stage(place, str(NEIGHBOURS), inputs, build, False)]


def _passes(figures: dict, key: str) -> int:
    if f"{key}.passes" not in figures:
        raise _older(key.partition(".")[0])
    return int(figures[f"{key}.passes"]["value"])


def _older(stage: str) -> ValueError:
    return ValueError(
        "train.refit: expected a run that knows what half A chose, got one that an earlier version trained; "
        f"run make train STAGE={stage}."
    )
