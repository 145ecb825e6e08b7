"""What the routes share: settings, model, event log, names, measures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfrec_llm import data, feedback
from tfrec_llm.config import Serving
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.model import Model
from tfrec_llm.serving.server.page.facts import PageFacts, read_page_facts
from tfrec_llm.serving.server.recorder import Recorder
from tfrec_llm.serving.server.secret import read_secret
from tfrec_llm.serving.versions import newest_version


@dataclass(frozen=True)
class Parts:
    """Everything that answers requests."""

    settings: Serving
    model: Model
    recorder: Recorder
    measures: Measures
    secret: bytes
    events: tuple[str, ...]  # that feedback may report
    titles: Mapping[str, str]  # item id -> title, "" where there is none
    page: PageFacts = field(default_factory=PageFacts)


def compose(run: Path, settings: Serving) -> Parts:
    """The parts of a run's server; nothing is started yet.

    Args:
      run: a finished run folder.
      settings: `[serving]`.

    Raises:
      ValueError: no export, a bad database URL, a secret that could be guessed, or data that `prepare` did not write.
    """
    version = newest_version(run / "export")
    if not version:
        raise ValueError(f"{run / 'export'}: expected an export, found none; run `make train` or `make export` first.")
    order = {
        "model": str((run / "export" / str(version)).absolute()),
        "run": str(run.absolute()),
        "engine": settings.engine,
        "threads": settings.threads,
        "log_candidates": settings.log_candidates,
    }
    events, titles = data.read_names(run / "data")
    measures = Measures()
    return Parts(
        settings,
        Model(order, settings, measures),
        Recorder(settings.log or feedback.sqlite_url(run / "log.db"), settings, measures),
        measures,
        read_secret(run),
        (*events, feedback.REWARD),
        titles,
        read_page_facts(run),
    )
