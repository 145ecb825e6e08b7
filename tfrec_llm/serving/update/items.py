"""New items without a training: the items file is read again, and the next version knows what is in it by now.

What the served version has learnt stays; only the tables of items change.
"""

import logging
import time
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tfrec_llm import data, training
from tfrec_llm.config import Config
from tfrec_llm.data import files
from tfrec_llm.data.additions import Change, look_again
from tfrec_llm.serving import bundle, versions
from tfrec_llm.serving.added import add_items, read_added
from tfrec_llm.serving.exporting import export_run
from tfrec_llm.serving.manifest import fusion_of, items_of
from tfrec_llm.serving.update.batches import Cut
from tfrec_llm.serving.update.history import Learnt, add, origins, read_history
from tfrec_llm.serving.update.learner import with_policy
from tfrec_llm.serving.vocabulary import VOCABULARY
from tfrec_llm.types import FIRST_ITEM, Catalogue

log = logging.getLogger(__name__)


class ItemsUpdate(NamedTuple):
    """What became of another look into the items file."""

    change: Change  # since the version that was served
    version: int  # that knows it, 0 = there was nothing new
    seconds: float


def update_items(config: Config, run: Path, items: pd.DataFrame | None = None) -> ItemsUpdate:
    """Exports a version that knows the items of the file, if the served one does not; it is served from then on.

    Args:
      config: as the run was trained with.
      run: a finished run folder with an export.
      items: in the form of `raw.RawData`; None = those of `data.items`.

    Raises:
      ConfigError: the data has no items file.
      ValueError: bad input, no export, or one that was made from other stages than those of the run folder.
    """
    began = time.monotonic()
    found = files.read_catalogue(config.data) if items is None else items
    folder, dataset = run / "export", data.read_dataset(run / "data")
    _served(run)  # what is missing is said before anything is written
    with versions.one_writer(folder):
        served = _served(run)
        before, mark = read_added(config, dataset.domain, run), items_of(folder / str(served))
        known, trained = before.catalogue if before else dataset.catalogue, len(dataset.catalogue.item_ids)
        change = look_again(known, trained, found)
        if change.is_none and mark == (before.mark if before else ""):
            return ItemsUpdate(change, 0, time.monotonic() - began)
        told = change if before and mark == before.mark else look_again(dataset.catalogue, trained, found)
        told = told._replace(added=_unknown_to(folder / str(served), change.catalogue))
        log.info("items: %d are new, %d are gone; the next version is made", len(told.added), len(told.gone))
        added = add_items(config, dataset, run, change.catalogue)
        agent = with_policy(config, run, bundle.read_policy(folder / str(served)))
        version = int(export_run(config, dataset, run, added, agent).name)
        _remember(folder, served, version, told)
        versions.prune(folder, config.learn.keep_versions, but=origins(read_history(folder)))  # replays start there
        return ItemsUpdate(told, version, time.monotonic() - began)


def _unknown_to(folder: Path, catalogue: Catalogue) -> tuple[str, ...]:
    """Items that a version's own vocabulary lacks: an earlier call may have been killed, or been taken back."""
    known = set((folder / "assets" / VOCABULARY).read_text("utf-8").split("\n"))
    return tuple(str(item) for item in catalogue.item_ids[FIRST_ITEM:] if item not in known)


def _served(run: Path) -> int:
    """The served version, whose policy goes with the stages of the run folder."""
    folder = run / "export"
    served = versions.served_version(folder)
    if not served:
        raise ValueError(f"{folder}: expected an export, found none; run `make train` or `make export` first.")
    if fusion_of(folder / str(served)) != training.stage_fingerprint(run, "fusion/context"):
        raise ValueError(
            f"{folder}: expected version {served} to come from the stages of {run}, got one of others; run "
            "`make export` first."
        )
    return served


def _remember(folder: Path, served: int, version: int, change: Change) -> None:
    """The policy that goes on in another version is a line of what was learnt, so that a replay finds its way."""
    done = read_history(folder)
    cut = done[-1].cut if done else Cut()
    add(folder, Learnt(cut.event, cut.time, served, version, 0, f"items: {len(change.added)} added"))
