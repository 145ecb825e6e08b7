"""What the text stage leaves of slots and of the items' attributes, and how the later stages read it."""

from pathlib import Path

import numpy as np

from tfrec_llm.config import Config
from tfrec_llm.text.attributes import ItemAttributes, finest, item_attributes
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.slots.judge import Figures
from tfrec_llm.text.slots.listened import listened_values
from tfrec_llm.text.slots.model import PRICE, SlotModel
from tfrec_llm.text.slots.train import train_slots
from tfrec_llm.training import Stage
from tfrec_llm.types import FIRST_ITEM, Dataset

FOLDER = "slots"


def write_slots(encoder: TextEncoder, dataset: Dataset, config: Config, stage: Stage) -> Figures:
    """Trains what hears attributes and prices, and what predicts the attributes that items lack.

    Args:
      encoder: as it will be served.
      dataset: domain and catalogue.
      config: sections text and train, and the seed.
      stage: `item_attributes.*` and the folder `slots` are left in its folder; nothing where `text.slots.rows` is 0.

    Returns:
      Figures `text.slots.*` and `text.items.*`.
    """
    if not config.text.slots.rows:
        return {}
    values, named = listened_values(dataset, config), dataset.domain.utterance_attributes
    like = finest({name: values[name] for name in values if name in named} or values)
    attributes, figures = item_attributes(encoder, dataset.catalogue, values, config, stage, like)
    attributes.save(stage.folder)
    model, heard = train_slots(encoder, dataset, values, config, stage)
    if model is not None:
        (stage.folder / FOLDER).mkdir(exist_ok=True)
        model.save(stage.folder / FOLDER)
    return figures | heard


def load_slots(folder: Path, encoder: TextEncoder, hidden: int) -> tuple[SlotModel | None, ItemAttributes | None]:
    """What `write_slots` left, None where it left nothing.

    Args:
      folder: the text stage's.
      encoder: for its width and the pieces of its tokenizer.
      hidden: width of the heads' hidden layer.
    """
    if not (folder / FOLDER).exists():
        return None, None
    model = SlotModel.load(folder / FOLDER, encoder.dim, hidden, encoder.tokenizer.pieces)
    return model, ItemAttributes.load(folder)


def item_table(model: SlotModel, attributes: ItemAttributes) -> np.ndarray:
    """[N+2, V] how much each item has of what `SlotModel.named` hears; times it, how well items fit an utterance.

    Of "low" an item has as much as it is cheap among its like, of "high" the rest.
    """
    table = attributes.columns(model.names).astype(np.float32)
    for place, (name, value) in enumerate(model.names):
        if name == PRICE:
            table[:, place] = attributes.rank if value == "high" else 1 - attributes.rank
    table[:FIRST_ITEM] = 0
    return table
