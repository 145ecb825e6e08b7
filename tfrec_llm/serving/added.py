"""The stage `added`: items that came after the training, as rows that follow those of the trained ones in every table.

The trained stages stay as they are. What is trained anew makes it obsolete.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrec_llm import behaviour, retrieval, text, training
from tfrec_llm.config import Config, to_table
from tfrec_llm.data import additions, known, storage
from tfrec_llm.data.content import ContentColumns
from tfrec_llm.data.incidence import training_counts
from tfrec_llm.retrieval.columns import SLOTS
from tfrec_llm.serving import facts
from tfrec_llm.serving.versions import ADDED as STAGE
from tfrec_llm.training import Stage, files
from tfrec_llm.training.fingerprint import fingerprint
from tfrec_llm.training.resume import verify
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Domain, ItemVectors

ROWS, NOTE = "rows.npz", "made_from.json"
TOWERS = "retrieval/towers"
Arrays = Mapping[str, np.ndarray]


class Added(NamedTuple):
    """Items that came after the training."""

    catalogue: Catalogue  # that is served: N+2+M rows
    rows: Arrays  # table -> [M, *] its further rows; `text/price` of all items
    mark: str  # fingerprint

    def of(self, part: str) -> dict[str, np.ndarray]:
        """The rows of one part of the model, by its own names."""
        return {name.removeprefix(f"{part}/"): rows for name, rows in self.rows.items() if name.startswith(f"{part}/")}


def read_added(config: Config, domain: Domain, run: Path) -> Added | None:
    """What `add_items` left; None where nothing was added, or where a stage was trained anew since.

    Raises:
      ValueError: a file is missing or damaged.
    """
    folder = run / STAGE
    if not folder.is_dir():
        return None
    mark = training.stage_fingerprint(run, STAGE)
    verify(run, STAGE)
    if files.read_json(folder / NOTE) != _trained(config, domain, run):
        return None
    return Added(storage.read_catalogue(folder), files.read_npz(folder / ROWS), mark)


def add_items(config: Config, dataset: Dataset, run: Path, catalogue: Catalogue) -> Added:
    """Makes the stage, unless it is there: encodes new texts and foretells the vectors of new items.

    Args:
      config: as the run was trained with.
      dataset: as it was trained on.
      run: the run folder.
      catalogue: N+2+M rows, those of the dataset first.

    Raises:
      ValueError: a stage's output is missing or does not fit the config.
    """
    trained = _trained(config, dataset.domain, run)

    def build(stage: Stage) -> None:
        storage.write_catalogue(catalogue, stage.folder)
        files.write_npz(stage.folder / ROWS, _rows(config, dataset, run, catalogue))
        files.write_json(stage.folder / NOTE, trained)

    vectors = known.item_columns(config.data, config.modalities.columns, _later(dataset, catalogue))
    inputs = {"trained": trained, "catalogue": catalogue, "vectors": vectors} | {
        name: to_table(getattr(config, name)) for name in ("text", "modalities")
    }
    mark = training.run_stage(run, STAGE, inputs, build)
    return Added(catalogue, files.read_npz(run / STAGE / ROWS), mark)


def take_items(language: text.TextModel, added: Added) -> None:
    """Gives a trained text model the vectors and prices of all items."""
    told, attributes = added.of("text"), language.attributes
    if attributes is not None:
        attributes = attributes._replace(price=told["price"])
    language.take_items(_joined(language.item_vectors, told["text"], told["present"]), attributes)


def _trained(config: Config, domain: Domain, run: Path) -> dict[str, str]:
    """Stage -> fingerprint of its files, which the rows are made from: the same inputs may have led to others."""
    names = ["data", "text", *(name for name, _ in behaviour.members(config)), TOWERS, "retrieval/blend"]
    names += [facts.STAGE] if facts.is_used(config, domain) else []
    return {name: fingerprint(training.read_stage(run, name)["files"]) for name in names}


def _rows(config: Config, dataset: Dataset, run: Path, catalogue: Catalogue) -> dict[str, np.ndarray]:
    later = _later(dataset, catalogue)
    language = text.load(config, run / "text")
    items, told = language.item_vectors, text.item_vectors(language.encoder, later, config.text)
    columns, counts = ContentColumns.of(dataset.catalogue, items.text), training_counts(dataset)
    new, present = told.text[FIRST_ITEM:], told.present[FIRST_ITEM:]
    content = columns.features(dataset.catalogue, items.text)
    asked = (content, counts, columns.features(later, told.text)[FIRST_ITEM:], new)
    lstm = behaviour.later_rows(config, run / "behaviour", *asked)
    towers = retrieval.later_rows(run / TOWERS, *asked)
    attributes = None if language.attributes is None else text.with_later(language.attributes, catalogue)
    prices = {} if attributes is None else {"price": attributes.price}
    found = {"text": {"text": new, "present": present} | prices, "behaviour": lstm, "towers": towers}
    found["known"] = facts.later_rows(config, dataset, items, run, later)
    language.take_items(_joined(items, new, present), attributes)
    found["source"] = _source_rows(config, dataset, run, catalogue, language, found)
    return {f"{part}/{name}": rows for part, tables in found.items() for name, rows in tables.items()}


def _source_rows(
    config: Config,
    dataset: Dataset,
    run: Path,
    catalogue: Catalogue,
    language: text.TextModel,
    found: Mapping[str, Arrays],
) -> Arrays:
    """Rows of the candidate source, from the tables of all models over all items."""
    larger, items = replace(dataset, catalogue=catalogue), language.item_vectors
    source = retrieval.CandidateSource.load(run / "retrieval" / "blend")
    tables = {
        "behaviour": behaviour.load(config, larger, items, run / "behaviour", found["behaviour"]).item_table().numpy(),
        "towers": retrieval.load(config, larger, items, run / TOWERS, found["towers"]).item_table().numpy(),
        "text": items.text,
    }
    if SLOTS in source.widths:
        tables[SLOTS] = language.slot_table()
    return retrieval.source_rows(source, tables, dataset, _later(dataset, catalogue))


def _later(dataset: Dataset, catalogue: Catalogue) -> Catalogue:
    """Rows 0 and 1, and the items that are not in the dataset."""
    return additions.part(catalogue, range(len(dataset.catalogue.item_ids), len(catalogue.item_ids)))


def _joined(items: ItemVectors, vectors: np.ndarray, present: np.ndarray) -> ItemVectors:
    both = np.concatenate([items.text, vectors]), np.concatenate([items.present, present])
    return ItemVectors(both[0], None, None, None, both[1])
