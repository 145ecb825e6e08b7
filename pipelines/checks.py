"""Refuses a config or a folder that does not fit, before anything is fetched, trained or written."""

from collections.abc import Sequence
from pathlib import Path

import tomli_w

from tfrec_llm import behaviour, data, fusion, ranking, retrieval, text
from tfrec_llm.config import Component, Config, ConfigError, choose, load, to_table
from tfrec_llm.evaluation import policies
from tfrec_llm.serving import facts

MADE = ("files", "domain")  # corpora that are made: of `data.utterances`, of the domain's templates
LANGUAGES = ("en", "zh")  # that texts are told apart by


def check(config: Config) -> None:
    """Looks every exchangeable part up and builds its settings.

    Args:
      config: the run's settings.

    Raises:
      ConfigError: an unknown name, a setting that its part does not have or that is out of range, or settings that
        do not go together.
    """
    facts.check_known(config, data.load_domain(config.data.domain))
    choose(text.ENCODERS, config.text.encoder, "text.encoder")
    choose(text.FINETUNING, config.text.finetuning, "text.finetuning")
    text.check_members(config)
    choose(behaviour.MODELS, config.behaviour.model, "behaviour.model")
    for model in config.behaviour.ensemble:
        choose(behaviour.MODELS, model, "behaviour.ensemble")
    _check_rivals(config.evaluate.rivals)
    choose(retrieval.MODELS, config.retrieval.model, "retrieval.model")
    choose(retrieval.INDEXES, config.retrieval.index, "retrieval.index")
    choose(fusion.FUSIONS, config.fusion.layer, "fusion.layer")
    choose(ranking.AGENTS, config.ranking.agent, "ranking.agent")
    policies.check_gate(config.gate)
    for world in config.simulate.worlds:
        choose({**ranking.WORLDS, **ranking.SESSION_WORLDS}, Component(world), "simulate.worlds")
    _check_names((config.data.source,), data.DATASETS, "data.source")
    _check_names(config.text.corpora, data.CORPORA, "text.corpora")
    _check_names(config.text.rows, {*data.CORPORA, *MADE}, "text.rows")
    _check_names(config.text.augment.back_translation, LANGUAGES, "text.augment.back_translation")
    for corpus, rows in config.text.rows.items():
        if rows < 1:
            raise ConfigError(f"text.rows.{corpus}: expected at least 1, got {rows}.")


def _check_rivals(rivals: tuple[Component, ...]) -> None:
    for rival in rivals:
        choose(behaviour.MODELS, rival, "evaluate.rivals")
    names = [rival.name for rival in rivals]
    if len(set(names)) < len(names):
        raise ConfigError(f"evaluate.rivals: expected each model once, got {', '.join(names)}.")


def check_exportable(config: Config) -> None:
    """Refuses what no stock server could load, before hours of training that would end in no export.

    Args:
      config: the run's settings.

    Raises:
      ConfigError: an index whose operations are not TensorFlow's own.
    """
    if config.retrieval.index.name != "exact":
        raise ConfigError(
            f"retrieval.index: expected exact for an export, got {config.retrieval.index.name}: a stock server lacks "
            "its operations. Train and export with exact; then `make eval SET=retrieval.index="
            f"{config.retrieval.index.name}` measures the other index on that run."
        )


def _check_names(names, known, where: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{where}: expected one of {', '.join(sorted(known))}, got {name!r}.")


def check_folder(run: Path, stages: Sequence[str]) -> None:
    """Refuses a folder with things of a user's own that a run would write over.

    Args:
      run: where a run is to be.
      stages: names of the folders that it makes there.

    Raises:
      ValueError: a config.toml that no run wrote, or a folder with a stage's name that is none.
    """
    kept, made = run / "config.toml", [name for name in stages if (run / name).exists()]
    strange = [name for name in made if name != "export" and not (run / name / "stage.json").exists()]
    if strange and not kept.exists():
        raise ValueError(
            f"--run: expected a run folder or a new name, got {run}, whose {strange[0]} is none of a run; name another."
        )
    if kept.exists() and not made and not _is_ours(kept):
        raise ValueError(
            f"--run: expected a run folder or a new name, got {run} with a config.toml of your own, where a run keeps "
            "its settings; name another folder, or rename the file."
        )


def _is_ours(path: Path) -> bool:
    try:
        return tomli_w.dumps(to_table(load(path))) == path.read_text(encoding="utf-8")
    except (ValueError, OSError):
        return False
