"""What a slate is for: engagement, diversity, fairness to suppliers and safety, weighed by the domain.

Each part lies in [0, 1], and so does their weighted sum, the reward that agents learn and sessions are judged by.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec_llm.types import FIRST_ITEM, PADDING, Catalogue, Dataset, Domain, Objectives

_PRIOR_EVENTS = 20.0  # events of the average item that an item's share of harmful ones starts from


class Parts(NamedTuple):
    """What slates are worth by each objective, [B] each, in [0, 1]; as a mapping, what TensorBoard shows."""

    engagement: tf.Tensor
    diversity: tf.Tensor
    fairness: tf.Tensor
    safety: tf.Tensor


class ItemTables(NamedTuple):
    """What the objectives ask about items."""

    categories: tf.Tensor  # [N+2, G] share of each category in the item, zero where unknown
    suppliers: tf.Tensor  # [N+2, S] share of each supplier, zero where unknown
    fair: tf.Tensor  # [S] each supplier's share of the catalogue
    harm: tf.Tensor  # [N+2] probability that showing the item does harm


def slate_parts(response: tf.Tensor, attention: tf.Tensor, slate: tf.Tensor, items: ItemTables) -> Parts:
    """What slates are worth.

    Args:
      response: [B, n] in [0, 1]: whether, or how probably, the response to each item is positive.
      attention: [B, n] how much each slot is looked at: probabilities, or 0 and 1.
      slate: [B, n] item indices, 0 = empty.
      items: see `ItemTables`.

    Returns:
      engagement: mean response by attention; diversity: mean over pairs of items of 1 - the cosine of their categories
      (1 where there is no pair); fairness: 1 - the total variation distance of the suppliers' exposure from their
      share of the catalogue (Singh and Joachims, 2018, for one slate; 1 where no supplier is known); safety: 1 - the
      mean harm by attention. An empty slate is worth 0 but harms nobody.
    """
    shown = tf.cast(slate != PADDING, tf.float32)
    weights = attention * shown
    weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))  # [B, n]
    engagement = tf.reduce_sum(weights * response, axis=1)
    safety = 1 - tf.reduce_sum(weights * tf.gather(items.harm, slate), axis=1)
    some = tf.reduce_max(shown, axis=1)
    diversity = some * _spread(tf.gather(items.categories, slate), shown)
    exposure = tf.reduce_sum(weights[..., None] * tf.gather(items.suppliers, slate), axis=1)  # [B, S]
    known = tf.reduce_sum(exposure, axis=1, keepdims=True)
    exposure = tf.math.divide_no_nan(exposure, known)
    apart = 0.5 * tf.reduce_sum(tf.abs(exposure - items.fair), axis=1)
    fairness = some * tf.where(known[:, 0] > 0, 1 - apart, 1.0)
    return Parts(engagement, diversity, fairness, safety)


def slot_credits(
    response: tf.Tensor, attention: tf.Tensor, slate: tf.Tensor, items: ItemTables, objectives: Objectives
) -> tf.Tensor:
    """What each slot adds to the weighted reward, for agents that learn item by item; arguments as of `slate_parts`.

    Returns:
      [B, n] in [0, 1], 0 for empty slots: the slot's own response; its mean distance to the other items; 1 where its
      suppliers get less exposure than their share, 0 where more; 1 - its harm; each by the objective's weight.
    """
    shown = tf.cast(slate != PADDING, tf.float32)
    weights = attention * shown
    weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, axis=1, keepdims=True))
    unit = tf.math.l2_normalize(tf.gather(items.categories, slate), axis=-1) * shown[..., None]  # [B, n, G]
    known = tf.reduce_sum(tf.square(unit), axis=-1)  # [B, n] 1 where there is a category
    cosine = tf.einsum("bng,bg->bn", unit, tf.reduce_sum(unit, axis=1)) - known
    apart = 1 - tf.math.divide_no_nan(cosine, tf.reduce_sum(known, axis=1, keepdims=True) - 1)
    suppliers = tf.gather(items.suppliers, slate)  # [B, n, S]
    exposure = tf.reduce_sum(weights[..., None] * suppliers, axis=1)
    exposure = tf.math.divide_no_nan(exposure, tf.reduce_sum(exposure, axis=1, keepdims=True))
    lacking = tf.sign(items.fair - exposure)[:, None, :]
    fair = 0.5 + 0.5 * tf.reduce_sum(suppliers * lacking, axis=-1)
    parts = Parts(response, tf.clip_by_value(apart, 0.0, 1.0), fair, 1 - tf.gather(items.harm, slate))
    return shown * weigh(parts, objectives)


def weigh(parts: Parts, objectives: Objectives) -> tf.Tensor:
    """The weighted sum of the parts, in [0, 1] and of their shape."""
    return tf.add_n([getattr(objectives, name) * part for name, part in parts._asdict().items()])


def shares(parts: Parts, objectives: Objectives) -> Mapping[str, float]:
    """Name of an objective -> its share of the mean reward; they sum to 1 where there is any."""
    means = {name: getattr(objectives, name) * float(np.mean(part)) for name, part in parts._asdict().items()}
    total = sum(means.values())
    return {name: mean / total if total else 0.0 for name, mean in means.items()}


def item_tables(dataset: Dataset) -> ItemTables:
    """Categories and suppliers of the catalogue, and the harm that training events tell of.

    Args:
      dataset: catalogue, domain and training events.
    """
    catalogue, domain = dataset.catalogue, dataset.domain
    suppliers = membership(catalogue, domain.objectives.supplier)
    return ItemTables(
        tf.constant(membership(catalogue, domain.session.category)),
        tf.constant(suppliers),
        tf.constant(suppliers.sum(axis=0) / max(float(suppliers.sum()), 1.0)),
        tf.constant(harm(dataset)),
    )


def membership(catalogue: Catalogue, attribute: str) -> np.ndarray:
    """[N+2, values] the share of each value of an attribute in each item; the first attribute where it is not there."""
    name = attribute if attribute in catalogue.attributes else next(iter(catalogue.attributes), "")
    items = catalogue.attributes.get(name, ())
    columns = {value: column for column, value in enumerate(sorted({value for values in items for value in values}))}
    found = np.zeros((len(catalogue.item_ids), max(len(columns), 1)), np.float32)
    for row, values in enumerate(items[FIRST_ITEM:], start=FIRST_ITEM):
        for value in set(values):
            found[row, columns[value]] = 1 / len(set(values))
    return found


def harm(dataset: Dataset) -> np.ndarray:
    """[N+2] share of an item's training events that do harm, shrunk towards that of all; 1 for what is denied."""
    domain, rows = dataset.domain, dataset.split.train
    harmful = np.isin(dataset.interactions.event[rows], harmful_events(domain))
    item, count = dataset.interactions.item[rows], len(dataset.catalogue.item_ids)
    mean = float(harmful.mean()) if len(harmful) else 0.0
    events, harms = np.bincount(item, minlength=count), np.bincount(item, harmful, minlength=count)
    found = (harms + _PRIOR_EVENTS * mean) / (events + _PRIOR_EVENTS)
    for line in domain.deny:
        name, equals, value = line.partition("=")
        if equals:
            denied = [value in values for values in dataset.catalogue.attributes.get(name, ((),) * count)]
        else:
            denied = dataset.catalogue.item_ids == line
        found = np.where(denied, 1.0, found)
    return found.astype(np.float32)


def harmful_events(domain: Domain) -> np.ndarray:
    """Indices of the events that do harm."""
    worst = [domain.satisfaction.get(event, 0.0) <= domain.objectives.harm for event in domain.events]
    return np.flatnonzero(worst) + FIRST_ITEM


def _spread(categories: tf.Tensor, shown: tf.Tensor) -> tf.Tensor:
    """[B] mean over pairs of 1 - cosine of rows [B, n, G]; items without a category are in no pair."""
    unit = tf.math.l2_normalize(categories, axis=-1) * shown[..., None]
    known = tf.reduce_sum(tf.square(unit), axis=(1, 2))  # [B] how many have one
    squares = tf.reduce_sum(tf.square(tf.reduce_sum(unit, axis=1)), axis=-1)  # n + twice the cosines of all pairs
    pairs = known * (known - 1)
    cosine = tf.math.divide_no_nan(squares - known, pairs)
    return tf.clip_by_value(1 - cosine, 0.0, 1.0)
