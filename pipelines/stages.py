"""The stages of a run, in the order of the flow: what each reads, what it calls, what it leaves behind."""

import dataclasses
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from pipelines import sessions
from pipelines.checks import check, check_exportable, check_folder
from pipelines.staging import inputs_of, make_stage
from tfrec_llm import behaviour, data, evaluation, fusion, ranking, retrieval, serving, text, training
from tfrec_llm import config as configs
from tfrec_llm.config import Config, ConfigError, to_table
from tfrec_llm.data import archives, known, sources
from tfrec_llm.serving import facts, questions
from tfrec_llm.serving import rows as logged
from tfrec_llm.serving.added import STAGE as ADDED
from tfrec_llm.serving.added import Added, read_added
from tfrec_llm.training import files
from tfrec_llm.types import Dataset, Rows

log = logging.getLogger(__name__)

UNTRAINED = ("serving", "learn", "gate", "simulate")  # sections that no stage of a run is made from
ORDER = ("data", "text", "behaviour", "retrieval", "fusion", "ranking", "export")


def run_stages(config: Config, run: Path, upto: str = "export", again: str = "all") -> None:
    """Runs the stages whose inputs have changed, in order.

    Args:
      config: the run's settings.
      run: the run folder.
      upto: the last stage to run.
      again: a stage to run again even if nothing has changed; "all" = only what has changed.

    Raises:
      ValueError: `again` names no stage, an input is bad, or the folder holds something that is no run's.
    """
    if again != "all" and again not in ORDER:
        raise ValueError(f"STAGE: expected all or one of {', '.join(ORDER)}, got {again!r}.")
    check(config)
    if upto == "export":
        check_exportable(config)
    if config.train.init_from and Path(config.train.init_from).resolve() == run.resolve():
        raise ConfigError(f"train.init_from: expected another run than {run} itself; name the one to start from.")
    training.find_origin(config.train)  # a bad one is refused before anything is fetched or written
    training.set_threads(config.train)
    check_folder(run, ORDER)
    begin = "export" if again == "export" and _is_added_to(config, run) else ORDER[0]
    files.write_text(run / "config.toml", tomli_w.dumps(to_table(config)))
    sources.fetch_all(archives.names_for(config))
    for name in ORDER[ORDER.index(begin) : ORDER.index(upto) + 1]:
        STAGES[name](config, run, again == name)


def _is_added_to(config: Config, run: Path) -> bool:
    """Whether items were added to what this config had trained: then an export trains nothing, whatever changed."""
    if not (run / ADDED).exists() or not (run / "config.toml").exists():
        return False
    ours, theirs = (to_table(one) for one in (config, configs.load(run / "config.toml")))
    same = all(ours[name] == theirs[name] for name in ours if name not in UNTRAINED)
    return same and read_added(config, load_dataset(run).domain, run) is not None


def load_dataset(run: Path) -> Dataset:
    """What `prepare` left in a run folder."""
    return data.read_dataset(run / "data")


def prepare(config: Config, run: Path, force: bool) -> None:
    """Raw files -> events, catalogue, split."""

    def build(stage: training.Stage) -> None:
        dataset = data.load_dataset(config.data, config.seed)
        data.write_dataset(dataset, stage.folder)
        counts = dataset.protocol
        log.info("%s: %s users, %s items, %s interactions", *(counts[k] for k in _COUNTS))

    make_stage(run, "data", inputs_of(config, "data", files=_own_files(config)), build, force)


_COUNTS = ("dataset", "users", "items", "interactions")


def _own_files(config: Config) -> dict[str, str]:
    """Hashes of the user's own files, so that a changed file is a changed input."""
    named = (config.data.interactions, config.data.items, config.data.users, config.data.utterances)
    return {path: files.sha256(path) for path in named if path and Path(path).is_file()}


def train_text(config: Config, run: Path, force: bool) -> None:
    """Utterances and item texts -> heads and item vectors."""

    def build(stage: training.Stage) -> Mapping:
        return text.train(config, load_dataset(run), stage)

    before = training.stage_fingerprint(run, "data")
    inputs = inputs_of(config, "text", "train", start="text", data=before, **text.outside_files(config))
    make_stage(run, "text", inputs, build, force)


def train_behaviour(config: Config, run: Path, force: bool) -> None:
    """Event sequences -> what comes next: the model, and those that `behaviour.ensemble` puts beside it."""
    for name, member in behaviour.members(config):
        _train_behaviour(member, run, name, behaviour.metric_key(name), force)


def train_rival(config: Config, run: Path) -> Path:
    """A behaviour model that only stands beside the served one: it lies in `<run>/rivals/<name>`.

    Args:
      config: the run's settings, with the rival as `behaviour.model`.
      run: the run folder; data and text are finished.

    Returns:
      The folder of the finished model.
    """
    name = config.behaviour.model.name
    _train_behaviour(config, run, f"rivals/{name}", f"baseline.{name}", False)
    return run / "rivals" / name


def _train_behaviour(config: Config, run: Path, stage: str, key: str, force: bool) -> None:
    """Trains a behaviour model as a stage; its figures begin with `key`."""

    def build(place: training.Stage) -> Mapping:
        metrics = behaviour.train(config, load_dataset(run), text.load_item_vectors(run / "text"), place)
        return {key + name.removeprefix("behaviour"): entry for name, entry in metrics.items()}

    before = training.stage_fingerprint(run, "text")
    make_stage(run, stage, inputs_of(config, "behaviour", "train", start="behaviour", text=before), build, force)


def train_retrieval(config: Config, run: Path, force: bool) -> None:
    """Event sequences -> two towers; both item tables -> one blended index."""

    def towers(stage: training.Stage) -> Mapping | None:
        dataset, language = load_dataset(run), text.load(config, run / "text")
        spoken = questions.spoken_of(language, dataset, config)
        return retrieval.train(config, dataset, language.item_vectors, stage, spoken=spoken)

    def neighbours(stage: training.Stage) -> Mapping | None:
        return retrieval.train_item_item(config, load_dataset(run), stage) if config.retrieval.item_item else {}

    before, data_mark = (training.stage_fingerprint(run, name) for name in ("text", "data"))
    inputs = inputs_of(config, "retrieval", "train", start="retrieval/towers", text=before, **towers_inputs(config))
    made = make_stage(run, "retrieval/towers", inputs, towers, force)
    make_stage(run, "retrieval/item_item", inputs_of(config, "retrieval", "export", data=data_mark), neighbours, force)
    before, *more = (training.stage_fingerprint(run, name) for name, _ in behaviour.members(config))
    inputs = inputs_of(config, "retrieval", "export", "evaluate", towers=made, behaviour=before, share=_share(config))
    inputs |= {"members": more} if more else {}
    make_stage(run, "retrieval/blend", inputs, lambda stage: blend(config, run, stage), force)


def towers_inputs(config: Config) -> dict[str, Any]:
    """The towers' own settings, those by default too: where a default changes, other towers are trained."""
    return {"own": dataclasses.asdict(retrieval.model_settings(config))}


def _share(config: Config) -> float:
    return config.data.utterances_share


def blend(config: Config, run: Path, stage: training.Stage) -> Mapping | None:
    """Learns how much to believe each source, on half B."""
    dataset = load_dataset(run)
    path = serving.load_unblended(config, dataset, run)
    asked = questions.half_b(path.text, dataset, config)
    metrics = retrieval.fit_blend(path.source, logged.blend_batches(path, dataset, asked, config), config, stage)
    path.source.save(stage.folder)
    return metrics


def read_known(config: Config, run: Path, force: bool) -> dict[str, str]:
    """Vectors of items and attributes of users, where the config uses any -> their fingerprint, as inputs."""
    dataset = load_dataset(run)
    if not facts.is_used(config, dataset.domain):
        return {}
    pictures = known.image_files(config.data, dataset.catalogue) if config.modalities.network else []
    marks = {path: files.sha256(path) for path in {*pictures, config.modalities.weights} if Path(path).is_file()}
    before = training.stage_fingerprint(run, "data")
    inputs = inputs_of(config, "modalities", data=before, files=_own_files(config) | marks)
    return {
        "known": make_stage(run, facts.STAGE, inputs, lambda stage: facts.make_known(config, dataset, stage), force)
    }


def log_rows(config: Config, run: Path, force: bool) -> str:
    """Signals of half B's queries -> the rows that fusion and ranker learn from; their fingerprint."""

    def rows(stage: training.Stage) -> None:
        dataset = load_dataset(run)
        path = serving.load_signal_path(config, dataset, run)
        asked = questions.half_b(path.text, dataset, config)
        logged.save_rows(logged.build_rows(path, dataset, asked, config), stage.folder)

    before = training.stage_fingerprint(run, "retrieval/blend")
    more = read_known(config, run, force)
    inputs = inputs_of(config, "retrieval", "export", "evaluate", blend=before, **more)
    return make_stage(run, "fusion/rows", inputs, rows, force)


def train_fusion(config: Config, run: Path, force: bool) -> None:
    """Those rows -> context."""
    made = log_rows(config, run, force)
    make_stage(
        run,
        "fusion/context",
        inputs_of(config, "fusion", "train", rows=made),
        lambda stage: fusion.train(config, logged.read_rows(run / "fusion" / "rows"), stage),
        force,
    )


def train_ranking(config: Config, run: Path, force: bool) -> None:
    """Context and candidates of half B -> an agent that decides."""

    def build(stage: training.Stage) -> Mapping | None:
        rows: Rows = logged.read_rows(run / "fusion" / "rows")
        joined, dataset = fusion.load(config, run / "fusion" / "context"), load_dataset(run)
        context = fusion.contexts(joined, rows)
        prior = retrieval.CandidateSource.load(run / "retrieval" / "blend").feature_names.index("blend_probability")
        practice, metrics = sessions.make_practice(config, dataset, run, joined)
        return metrics | ranking.train(config, dataset.domain, rows, context, prior, stage, practice)

    before = training.stage_fingerprint(run, "fusion/context")
    make_stage(run, "ranking", inputs_of(config, "ranking", "train", context=before), build, force)


def export(config: Config, run: Path, force: bool) -> None:
    """The finished stages -> the next version of the SavedModel, unless the newest was made from the same."""
    dataset, folder = load_dataset(run), run / "export"
    added = added_items(config, run)
    if not force and serving.is_exported(config, run, added):
        log.info("export: version %d is up to date in %s", serving.newest_version(folder), folder)
        return
    with serving.one_writer(folder), evaluation.measure() as used:
        version = serving.export_run(config, dataset, run, added)
    evaluation.merge_report(run / "metrics.json", evaluation.usage_entries("export", used))
    log.info("export: %s", version)


def added_items(config: Config, run: Path) -> Added | None:
    """Items that were added after the training; those of other stages than the finished ones go, and that is said."""
    added = read_added(config, load_dataset(run).domain, run)
    if added is None and (run / ADDED).exists():
        shutil.rmtree(run / ADDED)
        log.info("export: the run was trained anew, without the items added since; make update STAGE=items adds them")
    return added


STAGES: dict[str, Callable[[Config, Path, bool], None]] = {
    "data": prepare,
    "text": train_text,
    "behaviour": train_behaviour,
    "retrieval": train_retrieval,
    "fusion": train_fusion,
    "ranking": train_ranking,
    "export": export,
}
