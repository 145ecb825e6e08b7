"""The stage `fusion/known`: vectors of items and attributes of users, read once and kept in the run folder.

A run that uses none of them has no such stage.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfrec_llm import data
from tfrec_llm.config import Config, ConfigError
from tfrec_llm.data import known
from tfrec_llm.data.content import content_features
from tfrec_llm.fusion.images import check_network, encode_images
from tfrec_llm.serving.known import ItemModality, UserAttributes, reduced
from tfrec_llm.training import Stage, files
from tfrec_llm.types import Catalogue, Dataset, Domain, ItemVectors

STAGE, ITEMS, USERS = "fusion/known", "items.npz", "users.json"
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
    own, catalogue = config.modalities, dataset.catalogue
    found = known.item_columns(config.data, own.columns, catalogue)
    if own.network:
        paths = known.image_files(config.data, catalogue)
        found["image"] = encode_images(paths, own, data.cache_dir() / "images")
    if own.item_attributes:
        found["attributes"] = _attributes(catalogue)
    arrays = {f"{name}.{part}": pair[place] for name, pair in found.items() for place, part in enumerate(_PARTS)}
    files.write_npz(stage.folder / ITEMS, arrays)
    if dataset.domain.use_attributes:
        people = known.user_attributes(config.data, dataset)
        values = known.attribute_values(people, dataset, own.min_users)
        files.write_json(stage.folder / USERS, {"values": values, "people": people.tolist()})


_PARTS = ("values", "present")


def _attributes(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    values = content_features(catalogue, None)
    return values, (values != 0).any(axis=1)


def add_vectors(items: ItemVectors, folder: Path) -> ItemVectors:
    """Item vectors of the text stage with those of the other modalities beside them."""
    if not folder.is_dir():
        return items
    arrays, present = files.read_npz(folder / ITEMS), items.present.copy()
    found = {name: arrays[f"{name}.values"] for name in ITEM_MODALITIES if f"{name}.values" in arrays}
    for name in found:
        present[:, 1 + ITEM_MODALITIES.index(name)] = arrays[f"{name}.present"]
    return items._replace(**found, present=present)


def load_known(config: Config, domain: Domain, items: ItemVectors, run: Path) -> Known:
    """What `make_known` left, as parts of the signal path; nothing where the config uses nothing of it.

    Args:
      config: the run's settings.
      domain: whether user attributes are on.
      items: of the text stage.
      run: the run folder.

    Raises:
      ValueError: the stage is missing or damaged.
    """
    if not is_used(config, domain):
        return Known()
    vectors = add_vectors(items, run / STAGE)
    parts = [
        ItemModality(
            reduced(getattr(vectors, name), vectors.present[:, place], config.modalities.dim),
            vectors.present[:, place],
            name,
        )
        for place, name in enumerate(ITEM_MODALITIES, start=1)
        if getattr(vectors, name) is not None
    ]
    if not domain.use_attributes:
        return Known(tuple(parts))
    told = files.read_json(run / STAGE / USERS)
    return Known(tuple(parts), UserAttributes(told["values"]), np.array(told["people"], dtype=str))
