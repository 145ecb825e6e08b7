"""Settings -> Dataset: loader, filters, vocabulary, split, protocol.

This is what `prepare` calls. A data set is one loader file and one line in `DATASETS`.
"""

import dataclasses
import logging
from collections.abc import Callable

import numpy as np
import pandas as pd

from tfrec_llm.config import ConfigError, Data
from tfrec_llm.data import complete_journey, files, movielens_1m, movielens_100k, synthetic
from tfrec_llm.data.domains import load_domain
from tfrec_llm.data.filters import drop_duplicates, frequent_items, refuse_too_small, sample_users
from tfrec_llm.data.held_out import hold_out
from tfrec_llm.data.protocol import describe_protocol
from tfrec_llm.data.raw import RawData
from tfrec_llm.data.split import DAY, find_visits, first_basket, last_item
from tfrec_llm.data.vocabulary import index_interactions, keep_rows, make_catalogue
from tfrec_llm.types import UNKNOWN, Catalogue, Dataset, Domain, Interactions, Split

MANY_REPEATS = 0.05  # share of answers that the user had before
MANY_SPLIT = 0.05  # share of answers that are a part of a basket the history holds
log = logging.getLogger(__name__)

DATASETS: dict[str, Callable[[Data, int], RawData]] = {
    "movielens_1m": movielens_1m.load,
    "movielens_100k": movielens_100k.load,
    "complete_journey": complete_journey.load,
    "files": files.load,
    "synthetic": synthetic.load,
}


def load_dataset(settings: Data, seed: int) -> Dataset:
    """Reads, filters, indexes and splits one source.

    Args:
      settings: the section [data] of a config.
      seed: of ties (with data.shuffle_ties) and of synthetic data.

    Raises:
      ConfigError: no such source.
      ValueError: the data cannot be used; the message names file, column, rows and what to do.
    """
    if settings.source not in DATASETS:
        raise ConfigError(f"data.source: expected one of {', '.join(sorted(DATASETS))}, got {settings.source!r}.")
    domain = load_domain(settings.domain)
    raw = DATASETS[settings.source](settings, seed)
    events = sample_users(drop_duplicates(raw.interactions), settings.max_users)
    return assemble(dataclasses.replace(raw, interactions=events), domain, settings, seed)


def assemble(raw: RawData, domain: Domain, settings: Data, seed: int) -> Dataset:
    """Vocabulary, split and protocol of a source whose events were filtered.

    Args:
      raw: events and items.
      domain: the kind of business.
      settings: which protocol and how rare an item may be.
      seed: of shuffled ties.
    """
    events, counted, periods = raw.interactions, raw.interactions, None
    if settings.protocol == "first_basket":
        last = int(events["timestamp"].max())
        periods = (last - 2 * settings.test_days * DAY, last - settings.test_days * DAY)
        counted = events[events["timestamp"] < periods[1]]
        if not (events["timestamp"] < periods[0]).any():
            raise ValueError(
                f"interactions: expected events to learn from, got {len(events):,} that all lie in the last "
                f"{2 * settings.test_days} days, which are kept for validation and test; lower data.test_days, or take "
                'data.protocol = "last_item".'
            )
    item_ids = frequent_items(counted["item_id"], settings.min_item_count)
    refuse_too_small(events["user_id"].unique(), item_ids, settings.min_item_count)
    everything = index_interactions(
        events, item_ids, domain, np.random.default_rng(seed) if settings.shuffle_ties else None
    )
    interactions = keep_rows(everything, everything.item != UNKNOWN)
    split = _split(everything, interactions, periods, settings.min_user_count)
    if not split.train.any():
        raise ValueError(
            "interactions: expected events to learn from, got none before the last two of each user, which are kept "
            "for validation and test; add events, or raise data.min_user_count, so that short users are learnt from."
        )
    domain = _as_asked(domain, interactions, split, settings.protocol)
    catalogue = make_catalogue(raw.items, item_ids)
    split = hold_out(split, interactions, catalogue, settings)
    if raw.value_is_price:
        catalogue = _with_prices(catalogue, interactions, split)
    protocol = describe_protocol(settings, domain, interactions, catalogue, split)
    log.info("%(dataset)s: %(users)d users, %(items)d items, %(interactions)d events; %(split)s", protocol)
    return Dataset(settings.source, domain, interactions, catalogue, split, protocol)


def _split(
    everything: Interactions, interactions: Interactions, periods: tuple[int, int] | None, min_user_count: int
) -> Split:
    """The protocol's split; `periods` are the first seconds of validation and test, None for last_item."""
    if periods is None:
        return last_item(interactions, min_user_count)
    validation, test = periods
    return first_basket(
        interactions,
        validation=find_visits(everything, validation, test),
        test=find_visits(everything, test, np.iinfo(np.int64).max),
    )


def _as_asked(domain: Domain, interactions: Interactions, split: Split, protocol: str) -> Domain:
    """The domain as data and protocol have it: events are steps where baskets are split up, nothing is shown again
    where nobody has anything twice. Each is said."""
    if protocol == "last_item" and domain.step == "basket" and (many := _split_up(interactions, split)) > MANY_SPLIT:
        log.warning(
            "%.0f %% of the validation's answers are lines of a basket whose other lines are in the history: each line "
            "is a step of its own here, and not each basket as domain %s has it; data.protocol = 'first_basket' asks "
            "for whole baskets.",
            100 * many, domain.name,
        )  # fmt: skip
        domain = dataclasses.replace(domain, step="event")
    again = _again(interactions, split)
    if domain.repeat and not again and not _any_twice(interactions, split):
        log.warning(
            "no user has an item twice before the test: items that a user had are not shown again here, though domain "
            "%s would.",
            domain.name,
        )
        domain = dataclasses.replace(domain, repeat=False)
    elif not domain.repeat and again > MANY_REPEATS:
        log.warning(
            "%.0f %% of the validation's answers are items that their users had before, and the domain shows nothing "
            "again: nothing can find them. If people come back for the same here, take a domain with repeat = true "
            '(data.domain = "retail", or a TOML of your own).',
            100 * again,
        )
    return domain


def _again(interactions: Interactions, split: Split) -> float:
    """Mean share of a validation query's answers that its user had before; 0 without queries."""
    queries = split.validation
    spans = zip(queries.begin, queries.end, queries.offsets[:-1], queries.offsets[1:], strict=True)
    again = [
        np.isin(queries.relevant[low:high], interactions.item[begin:end]).mean()
        for begin, end, low, high in spans
        if high > low
    ]
    return float(np.mean(again)) if again else 0.0


def _any_twice(interactions: Interactions, split: Split) -> bool:
    """Whether some user has an item twice among the training events."""
    pairs = pd.DataFrame({"user": interactions.user[split.train], "item": interactions.item[split.train]})
    return bool(pairs.duplicated().any())


def _split_up(interactions: Interactions, split: Split) -> float:
    """Share of validation queries that ask for a line of a basket whose other lines are in the history."""
    asked = split.validation
    some = asked.end > asked.begin
    before = interactions.time[asked.end[some] - 1]
    return float(np.mean((before == asked.time[some]) & (before > 0))) if some.any() else 0.0


def _with_prices(catalogue: Catalogue, interactions: Interactions, split: Split) -> Catalogue:
    """Unknown prices become the median of what was paid in training events."""
    paid = pd.Series(interactions.value[split.train]).groupby(interactions.item[split.train]).median()
    price = catalogue.price.copy()
    unknown = np.isnan(price[paid.index])
    price[paid.index[unknown]] = paid[unknown]
    return dataclasses.replace(catalogue, price=price)
