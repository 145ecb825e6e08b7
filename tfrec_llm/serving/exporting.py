"""A run's finished stages -> the next version of its SavedModel, with what travels beside it."""

import json
from pathlib import Path
from typing import Any

from tfrec_llm import training
from tfrec_llm.config import Config, to_table
from tfrec_llm.serving.added import Added
from tfrec_llm.serving.compose import load_recommender
from tfrec_llm.serving.golden import golden_rows
from tfrec_llm.serving.reference import typical_rows
from tfrec_llm.serving.saved_model import Beside, export
from tfrec_llm.serving.versions import newest_version
from tfrec_llm.training import files
from tfrec_llm.types import Dataset

NOTE = "made_from.json"


def export_run(config: Config, dataset: Dataset, run: Path, added: Added | None = None, agent: Any = None) -> Path:
    """Exports a run.

    Args:
      config: the run's settings.
      dataset: what `prepare` left.
      run: the run folder, its stages finished.
      added: items that came after the training; None = without any.
      agent: that decides; None = the run's own.

    Returns:
      The version's folder.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
      OSError: the disk is full; earlier versions are left as they were.
    """
    folder, made_from = run / "export", _made_from(config, run, added)
    folder.mkdir(parents=True, exist_ok=True)
    recommender = load_recommender(config, dataset, run, folder, added, agent)
    golden = golden_rows(dataset, config.export.max_history)
    typical = typical_rows(dataset, config.export.max_history, config.seed)
    beside = Beside(golden, typical, made_from["fusion"], added.mark if added else "")
    version = export(recommender, folder, config.export, beside)
    files.write_json(folder / NOTE, made_from)
    return version


def is_exported(config: Config, run: Path, added: Added | None = None) -> bool:
    """Whether the newest version was made from the same."""
    note = run / "export" / NOTE
    there = newest_version(run / "export") and note.exists()
    return bool(there) and json.loads(note.read_text("utf-8")) == _made_from(config, run, added)


def _made_from(config: Config, run: Path, added: Added | None) -> dict[str, Any]:
    made_from = {
        "ranking": training.stage_fingerprint(run, "ranking"),
        "fusion": training.stage_fingerprint(run, "fusion/context"),
        "export": to_table(config.export),
        "ranking_settings": to_table(config.ranking),
    }
    return made_from | ({"added": added.mark} if added else {})
