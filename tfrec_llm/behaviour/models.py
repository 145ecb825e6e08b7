"""The behaviour models by name: each a body of its own inside the one sequence model."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec_llm.behaviour.recurrent import RecurrentSettings, gru, lstm
from tfrec_llm.behaviour.sasrec import SasrecSettings, sasrec
from tfrec_llm.behaviour.sequence import SequenceModel, SequenceSettings
from tfrec_llm.config import Config
from tfrec_llm.data.history import training_waits
from tfrec_llm.layers.item_table import ItemTable
from tfrec_llm.layers.steps import longest_wait
from tfrec_llm.types import FIRST_ITEM, Dataset, ItemVectors


def build_model(
    body: Callable[[Any], tf.keras.layers.Layer],
    settings: SequenceSettings,
    config: Config,
    dataset: Dataset,
    items: ItemVectors | None,
    *,
    fixed_steps: bool = False,
) -> SequenceModel:
    """An untrained, built model for a data set.

    Args:
      body: from the settings to the layer that reads the steps.
      settings: of the model.
      config: `behaviour` says when the softmax is sampled.
      dataset: training events give the popularity, the domain the event types.
      items: text vectors of the items, or None for ids alone.
      fixed_steps: as XLA needs.
    """
    rows = len(dataset.catalogue.item_ids)
    text = None if items is None or items.text is None else np.asarray(items.text)
    popularity = np.bincount(dataset.interactions.item[dataset.split.train], minlength=rows)
    sampled = config.behaviour.num_sampled if rows - FIRST_ITEM > config.behaviour.full_softmax_max_items else 0
    model = SequenceModel(
        settings,
        body(settings),
        ItemTable(rows, settings.dim, text, settings.id_dropout, name="items"),
        num_events=len(dataset.domain.events),
        basket=dataset.domain.step == "basket",
        popularity=popularity,
        num_sampled=sampled,
        seed=config.seed,
        fixed_steps=fixed_steps,
        longest_wait=longest_wait(training_waits(dataset)),
        name="behaviour",
    )
    model.build()
    return model


MODELS: dict[str, tuple[type, Callable[..., SequenceModel]]] = {
    "lstm": (RecurrentSettings, functools.partial(build_model, lstm)),
    "gru": (RecurrentSettings, functools.partial(build_model, gru)),
    "sasrec": (SasrecSettings, functools.partial(build_model, sasrec)),
}
