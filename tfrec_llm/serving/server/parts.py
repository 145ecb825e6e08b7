"""What the routes share: settings, model, event log, names, measures."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfrec_llm import data, feedback
from tfrec_llm.config import Serving
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.model import Model
from tfrec_llm.serving.server.page.facts import PageFacts, read_page_facts
from tfrec_llm.serving.server.recorder import Recorder
from tfrec_llm.serving.server.remote import RemoteModel
from tfrec_llm.serving.server.secret import read_secret
from tfrec_llm.serving.versions import ADDED, servable_versions

REMOTE = "TF_SERVING_URL"  # host:port of a TensorFlow Serving's gRPC, asked instead of a worker of ours
LOG = "TFREC_LLM_LOG"  # the event log's URL, which may hold a password
KEYS = "TFREC_LLM_API_KEYS"  # separated by commas


@dataclass(frozen=True)
class Parts:
    """Everything that answers requests."""

    settings: Serving
    model: Model | RemoteModel
    recorder: Recorder
    measures: Measures
    secret: bytes
    events: tuple[str, ...]  # that feedback may report
    titles: dict[str, str]  # item id -> title, "" where there is none
    page: PageFacts = field(default_factory=PageFacts)


def compose(run: Path, settings: Serving, environment: Mapping[str, str] = os.environ) -> Parts:
    """The parts of a run's server; nothing is started yet.

    Args:
      run: a finished run folder.
      settings: `[serving]`.
      environment: what of it is secret or of this place: `TF_SERVING_URL`, `TFREC_LLM_LOG`, `TFREC_LLM_API_KEYS`.

    Raises:
      ValueError: no export, a bad database URL, a secret that could be guessed, or data that `prepare` did not write.
    """
    settings = _completed(settings, environment)
    measures = Measures()
    model = _model(run, settings, environment.get(REMOTE, ""), measures)
    events, titles = data.read_names(run / "data", run / ADDED)
    return Parts(
        settings,
        model,
        Recorder(log_url(run, settings, environment), settings, measures),
        measures,
        read_secret(run, environment),
        (*events, feedback.REWARD),
        titles,
        read_page_facts(run),
    )


def look_again(parts: Parts, run: Path) -> None:
    """Takes over what items are called by now, where some came with the version that is served.

    Args:
      parts: of the server.
      run: the run folder.

    Raises:
      ValueError: a file is missing or damaged.
    """
    parts.titles.update(data.read_names(run / "data", run / ADDED)[1])
    parts.page.item_attributes.update(read_page_facts(run).item_attributes)


def log_url(run: Path, settings: Serving, environment: Mapping[str, str] = os.environ) -> str:
    """Where a run's event log is: as the config says, else the environment, else SQLite in the run folder."""
    return settings.log or environment.get(LOG, "") or feedback.sqlite_url(run / "log.db")


def _completed(settings: Serving, environment: Mapping[str, str]) -> Serving:
    """What the config leaves empty may come from the environment.

    Raises:
      ValueError: an empty key, as a template leaves it whose variable is not set: it would open to everybody.
    """
    if not all(settings.api_keys):
        raise ValueError(
            f"serving.api_keys: expected keys, got an empty one; remove it, or give keys by {KEYS}, a comma between."
        )
    keys = tuple(key for key in environment.get(KEYS, "").split(",") if key)
    return replace(settings, api_keys=settings.api_keys or keys)


def _model(run: Path, settings: Serving, url: str, measures: Measures) -> Model | RemoteModel:
    if url:
        if not url.rpartition(":")[2].isdigit():
            raise ValueError(f"{REMOTE}: expected host:port of a TensorFlow Serving's gRPC, got {url!r}; correct it.")
        return RemoteModel(url, run / "export", settings, measures)

    def servable() -> list[str]:
        return [str((run / "export" / str(version)).absolute()) for version in servable_versions(run / "export")]

    if not (folders := servable()):
        raise ValueError(f"{run / 'export'}: expected an export, found none; run `make train` or `make export` first.")
    order = {
        "model": folders[0],
        "run": str(run.absolute()),
        "engine": settings.engine,
        "threads": settings.threads,
        "log_candidates": settings.log_candidates,
        "golden_overlap": settings.golden_overlap,
    }
    return Model(order, settings, measures, servable)
