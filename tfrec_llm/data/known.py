"""What a user's own files know of items and users beside events: ready vectors, image files, user attributes.

Everything comes in the order of the catalogue and of the interactions' users. Read after `prepare`, by the stage that
makes modalities of it, so that other vectors do not make text and behaviour be trained anew.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data.cells import read_ids, read_vectors, read_words
from tfrec_llm.data.tables import read_table
from tfrec_llm.types import Catalogue, Dataset, Domain

IMAGE_PATH = "image_path"


def item_columns(
    settings: Data, columns: Mapping[str, str], catalogue: Catalogue
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Vectors from columns of the items file.

    Args:
      settings: items, columns.
      columns: modality -> its column in the file.
      catalogue: N+2 rows.

    Returns:
      Modality -> (values [N+2, *] float32, present [N+2] bool); zero and absent in rows 0 and 1 and where unknown.

    Raises:
      ConfigError: there is no items file.
      ValueError: a column is missing or holds no vectors; names file, column and rows.
    """
    if not columns:
        return {}
    if not settings.items:
        raise ConfigError(f"modalities.columns: expected data.items with {', '.join(columns.values())}, got no file.")
    table = read_table(settings.items, ("item_id", *columns.values()), settings.columns)
    ids = read_ids(table, "item_id")
    rows = np.flatnonzero(~ids.duplicated())  # the first row of each counts
    place = pd.Index(ids.iloc[rows]).get_indexer(catalogue.item_ids)
    place = np.where(place >= 0, rows[place], -1)
    found = {}
    for modality, column in columns.items():
        values, present = read_vectors(table, column)
        there = (place >= 0) & present[place]
        found[modality] = (np.where(there[:, None], values[place], 0.0).astype(np.float32), there)
    return found


def image_files(settings: Data, catalogue: Catalogue) -> list[str]:
    """[N+2] the file that shows each item, "" where none is named; relative paths are looked for beside data.items."""
    folder = Path(settings.items).parent if settings.items else Path()
    named = catalogue.attributes.get(IMAGE_PATH, ((),) * len(catalogue.item_ids))
    return [str(folder / values[0]) if values else "" for values in named]


def user_attributes(settings: Data, dataset: Dataset) -> np.ndarray:
    """[U, A] str what the users file says of the interactions' users, in the domain's order; "" where unknown.

    Raises:
      ConfigError: there is no users file.
      ValueError: a column is missing.
    """
    names, domain = dataset.domain.attributes, dataset.domain
    if not settings.users:
        raise ConfigError(
            f"domain {domain.name}: use_attributes = true: expected data.users with user_id, {', '.join(names)}, got "
            "no file; name one with source = 'files', or set use_attributes = false."
        )
    table = read_table(settings.users, ("user_id", *names), settings.columns)
    place = pd.Index(read_ids(table, "user_id")).get_indexer(dataset.interactions.user_ids)
    columns = [np.where(place >= 0, read_words(table, name).to_numpy(str)[place], "") for name in names]
    return np.stack(columns, axis=1).astype(str)


def attribute_values(attributes: np.ndarray, dataset: Dataset, least: int) -> dict[str, tuple[str, ...]]:
    """The values that models may know: those that enough users with training events share.

    Args:
      attributes: [U, A] of `user_attributes`.
      dataset: domain, interactions and split.
      least: users.

    Returns:
      Attribute -> its values, in alphabetical order.
    """
    trained = np.unique(dataset.interactions.user[dataset.split.train])
    found = {}
    for name, column in zip(dataset.domain.attributes, attributes[trained].T, strict=True):
        values, counts = np.unique(column[column != ""], return_counts=True)
        found[name] = tuple(str(value) for value in values[counts >= least])
    return found


def check_attributes(domain: Domain, width: int) -> None:
    """Refuses a domain whose attributes do not fit into a request.

    Raises:
      ConfigError: none, or more than `export.max_attributes`.
    """
    if domain.use_attributes and not 0 < len(domain.attributes) <= width:
        raise ConfigError(
            f"domain {domain.name}: use_attributes = true: expected 1 to {width} attributes (export.max_attributes), "
            f"got {len(domain.attributes)}; name them, or set use_attributes = false."
        )
