"""Which attribute values utterances are listened for: the domain's, and those that a catalogue of one's own brings.

Place in the flow: before the slot tagger and the predicted attributes, which are trained for these values.
"""

import logging

from tfrec_llm.config import Config
from tfrec_llm.data.slots import PRICE_KINDS, frequent_values
from tfrec_llm.text.attributes import PRICE_BAND
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset

log = logging.getLogger(__name__)
MOST = 8  # attributes of an items file that are listened for beside the domain's
TAKEN = {*PRICE_KINDS, "price", PRICE_BAND, "image_path"}  # names that mean something else, or nothing that is said
ANSWERS = {"yes", "no", "true", "false", "y", "n", "是", "否"}  # values that name nothing without their column


def listened_values(dataset: Dataset, config: Config) -> dict[str, tuple[str, ...]]:
    """The values of each attribute that are listened for.

    Args:
      dataset: its domain names attributes; those of an items file (source "files") follow, the ones that most items
        have first.
      config: `data.source`; of `text.slots` how many items must share a value, and how many values an attribute has.

    Returns:
      Attribute -> values, sorted, the domain's attributes first.
    """
    settings, catalogue, named = config.text.slots, dataset.catalogue, dataset.domain.utterance_attributes
    limits = (settings.least_items, settings.most_values)
    found = frequent_values(catalogue, named, *limits)
    if config.data.source != "files":
        return found
    others = [name for name in catalogue.attributes if name not in named and name not in TAKEN]
    own = frequent_values(catalogue, others, *limits)
    own = {name: values for name, values in own.items() if not {value.casefold() for value in values} <= ANSWERS}
    kept = sorted(own, key=lambda name: (-_count(catalogue, name), name))[:MOST]
    left = [name for name in others if name not in kept]
    log.info(
        "text: utterances are listened to for %s; of the items file %s left out (no value that %d items share, yes or "
        "no, or more than %d attributes).",
        ", ".join([*found, *kept]) or "no attribute",
        f"{', '.join(left)} are" if left else "no attribute is",
        settings.least_items,
        MOST,
    )
    return found | {name: own[name] for name in kept}


def _count(catalogue: Catalogue, name: str) -> int:
    """Items that have the attribute."""
    return sum(bool(values) for values in catalogue.attributes[name][FIRST_ITEM:])
