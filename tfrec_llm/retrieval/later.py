"""Items that came after the training, in the candidate source: rows behind those of the trained items.

Vectors and popularity are what their content foretells; they have no neighbours, and no worth that anybody measured.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfrec_llm.data.content import ContentColumns
from tfrec_llm.data.shown import shown_items
from tfrec_llm.layers.unseen import foreteller
from tfrec_llm.retrieval.candidates import FILE, CandidateSource
from tfrec_llm.retrieval.catalogue_facts import (
    CONTENT_DIM,
    main_axes,
    scale_of,
    smoothed_log,
    training_counts,
)
from tfrec_llm.retrieval.columns import meant
from tfrec_llm.training import load_weights
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Domain


def source_rows(
    source: CandidateSource, tables: Mapping[str, np.ndarray], dataset: Dataset, later: Catalogue
) -> dict[str, np.ndarray]:
    """What a candidate source holds of items that came later, by the names of its variables.

    Args:
      source: as it was trained, N+2 rows.
      tables: source -> [N+2+M, *] vectors of all items, as of `CandidateSource.build`.
      dataset: as it was trained on.
      later: rows 0 and 1, and the M items.
    """
    rows, counts = source.num_rows, training_counts(dataset)
    new = {name: np.asarray(tables[name][rows:], np.float32) for name in source.widths}
    given = tables.get("text")
    columns = ContentColumns.of(dataset.catalogue, None if given is None else given[:rows])
    content = columns.features(dataset.catalogue, None if given is None else given[:rows])
    padded = None if given is None else np.pad(given[rows:], [(FIRST_ITEM, 0), (0, 0)])
    popular = smoothed_log(counts)
    popularity = foreteller(popular[:, None], content, counts)(columns.features(later, padded)[FIRST_ITEM:])[:, 0]
    if given is not None:
        axes = source.language_axes.numpy()
        new["text"], _ = meant(given[rows:], axes, meant(given[:rows], axes)[1])
    worth = popularity / scale_of(popular, np.arange(rows) >= FIRST_ITEM)[1]
    facts = [worth, _prices(dataset.catalogue, later), np.zeros(len(worth)), _components(source, new)]
    found = {f"columns/{name}": table for name, table in source.columns.laid_out(new, popularity).items()}
    found |= {"facts": np.column_stack(facts), "shown": np.zeros(len(worth), bool)}
    if source.past.count:
        for name in ("item_ids", "strengths"):
            found[f"past/{name}"] = np.zeros([len(worth), source.past.count])
    return {name: values if values.dtype == bool else values.astype(np.float32) for name, values in found.items()}


def load_with(folder: Path, later: Mapping[str, np.ndarray], catalogue: Catalogue, domain: Domain) -> CandidateSource:
    """A trained source with the rows of `source_rows` behind its own.

    Args:
      folder: of the trained source.
      later: `source_rows`.
      catalogue: N+2+M rows; says which items may be shown.
      domain: its deny-list does too.

    Raises:
      ValueError: a file is missing or does not fit.
    """
    trained = CandidateSource.load(folder)
    rows = trained.num_rows + len(later["facts"])
    past = trained.past
    source = CandidateSource(trained.widths, rows, trained.basket, trained.repeat, past.count, past.whole)
    load_weights(source, Path(folder) / f"{FILE}.npz", later)
    source.shown.assign(shown_items(catalogue, domain))
    return source


def _prices(trained: Catalogue, later: Catalogue) -> np.ndarray:
    """[M] log prices on the scale of the trained items', 0 where unknown."""
    logs = [np.log1p(np.where(catalogue.price >= 0, catalogue.price, np.nan)) for catalogue in (trained, later)]
    mean, spread = scale_of(logs[0], np.isfinite(logs[0]))
    return np.nan_to_num((logs[1][FIRST_ITEM:] - mean) / spread)


def _components(source: CandidateSource, later: Mapping[str, np.ndarray]) -> np.ndarray:
    """[M, CONTENT_DIM] where items lie on the main axes of the trained ones."""
    *tables, _ = source.columns.tables()
    return main_axes({name: table.numpy()[FIRST_ITEM:] for name, table in tables}, CONTENT_DIM)(later)
