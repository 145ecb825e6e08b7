"""The stage `fusion/known`: vectors of items and attributes of users, read once and kept in the run folder.

A run that uses none of them has no such stage.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrec_llm import data
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.data import known
from tfrec_llm.data.content import ContentColumns
from tfrec_llm.fusion.images import check_network, encode_images
from tfrec_llm.serving.known import ItemModality, Reduction, UserAttributes, reduced
from tfrec_llm.training import Stage, files
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, Domain, ItemVectors

STAGE, ITEMS, USERS = "fusion/known", "items.npz", "users.json"
Arrays = Mapping[str, np.ndarray]
ITEM_MODALITIES = ("image", "audio", "attributes")  # fields of ItemVectors and, after text, columns of `present`


class Known(NamedTuple):
    """What a signal path takes in, and the attributes of the data set's own users."""

    items: tuple[ItemModality, ...] = ()
    users: UserAttributes | None = None
    people: np.ndarray | None = None  # [U, A] str


def is_used(config: Config, domain: Domain) -> bool:
    """Whether there is anything beside events and texts."""
    own = config.modalities
    return bool(own.columns or own.network or own.item_attributes or domain.use_attributes)


def check_known(config: Config, domain: Domain) -> None:
    """Refuses settings that do not fit, before anything is made.

    Raises:
      ConfigError: an unknown modality or network, no weights, two sources of one modality, attributes without users.
    """
    own = config.modalities
    strange = sorted(set(own.columns) - set(ITEM_MODALITIES))
    if strange:
        raise ConfigError(
            f"modalities.columns: expected {', '.join(ITEM_MODALITIES)}, got {strange[0]!r}; texts are encoded by "
            "text.encoder, so that utterances and items stay comparable."
        )
    for name, other in (("image", own.network), ("attributes", own.item_attributes)):
        if name in own.columns and other:
            raise ConfigError(f"modalities.columns.{name}: expected one source of it, got another one too; choose.")
    check_network(own)
    known.check_attributes(domain, config.export.max_attributes)
    if domain.use_attributes and not config.data.users:
        raise ConfigError(
            f"domain {domain.name}: use_attributes = true: expected data.users, a file with user_id and "
            f"{', '.join(domain.attributes)}, got none; name one, or set use_attributes = false."
        )


def make_known(config: Config, dataset: Dataset, stage: Stage) -> None:
    """Reads and encodes what the config names, into the stage's folder."""
    own, found = config.modalities, _item_vectors(config, dataset.catalogue, dataset.catalogue)
    arrays = {f"{name}.{part}": pair[place] for name, pair in found.items() for place, part in enumerate(_PARTS)}
    files.write_npz(stage.folder / ITEMS, arrays)
    if dataset.domain.use_attributes:
        people = known.user_attributes(config.data, dataset)
        values = known.attribute_values(people, dataset, own.min_users)
        files.write_json(stage.folder / USERS, {"values": values, "people": people.tolist()})


_PARTS = ("values", "present")


def _item_vectors(config: Config, catalogue: Catalogue, trained: Catalogue) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Modality -> values [N+2, *] and present [N+2] of items; attributes in the columns of the trained."""
    own = config.modalities
    found = known.item_columns(config.data, own.columns, catalogue)
    if own.network:
        paths = known.image_files(config.data, catalogue)
        found["image"] = encode_images(paths, own, data.cache_dir() / "images")
    if own.item_attributes:
        values = ContentColumns.of(trained, None).features(catalogue, None)
        found["attributes"] = values, (values != 0).any(axis=1)
    return found


def later_rows(config: Config, dataset: Dataset, items: ItemVectors, run: Path, later: Catalogue) -> Arrays:
    """What the signal path holds of items that came after the training: `<modality>.table` and `<modality>.present`.

    Args:
      config: as it was trained with.
      dataset: as it was trained on.
      items: of the text stage.
      run: the run folder.
      later: rows 0 and 1, and the M items.

    Raises:
      ValueError: vectors of another length than those of the trained items.
    """
    if not is_used(config, dataset.domain):
        return {}
    vectors, found = add_vectors(items, run / STAGE), {}
    for name, (values, present) in _item_vectors(config, later, dataset.catalogue).items():
        trained, there = getattr(vectors, name), vectors.present[:, 1 + ITEM_MODALITIES.index(name)]
        if present.any() and values.shape[1] != trained.shape[1]:
            raise ValueError(
                f"{config.data.items}: {name}: expected vectors of {trained.shape[1]} numbers, as the trained items "
                f"have, got {values.shape[1]}; make them alike, or train again."
            )
        values = values if present.any() else np.zeros((len(values), trained.shape[1]))
        table = Reduction.of(trained, there, config.modalities.dim)(values, present)
        found |= {f"{name}.table": table[FIRST_ITEM:], f"{name}.present": present[FIRST_ITEM:]}
    return found


def add_vectors(items: ItemVectors, folder: Path) -> ItemVectors:
    """Item vectors of the text stage with those of the other modalities beside them."""
    if not folder.is_dir():
        return items
    arrays, present = files.read_npz(folder / ITEMS), items.present.copy()
    found = {name: arrays[f"{name}.values"] for name in ITEM_MODALITIES if f"{name}.values" in arrays}
    for name in found:
        present[:, 1 + ITEM_MODALITIES.index(name)] = arrays[f"{name}.present"]
    return items._replace(**found, present=present)


def load_known(config: Config, domain: Domain, items: ItemVectors, run: Path, later: Arrays | None = None) -> Known:
    """What `make_known` left, as parts of the signal path; nothing where the config uses nothing of it.

    Args:
      config: the run's settings.
      domain: whether user attributes are on.
      items: of the text stage.
      run: the run folder.
      later: `later_rows` of items that came after the training, which follow the others.

    Raises:
      ValueError: the stage is missing or damaged.
    """
    if not is_used(config, domain):
        return Known()
    vectors = add_vectors(items, run / STAGE)
    parts = []
    for place, name in enumerate(ITEM_MODALITIES, start=1):
        values, present = getattr(vectors, name), vectors.present[:, place]
        if values is None:
            continue
        table = reduced(values, present, config.modalities.dim)
        if later:
            table, present = (
                np.concatenate([own, later[f"{name}.{part}"]]) for own, part in ((table, "table"), (present, "present"))
            )
        parts.append(ItemModality(table, present, name))
    if not domain.use_attributes:
        return Known(tuple(parts))
    told = files.read_json(run / STAGE / USERS)
    return Known(tuple(parts), UserAttributes(told["values"]), np.array(told["people"], dtype=str))
