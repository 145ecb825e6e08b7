"""Domains: what can be said, done and gained in one kind of business, read strictly from a TOML.

Place in the flow: every stage asks the domain for its events, rewards, labels and deny-list. A domain is a file in the
folder `domains/` beside this module, or a user's own TOML of the same form.
"""

import string
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tfrec_llm.config import ConfigError, build, setting
from tfrec_llm.types import Domain, Objectives, SessionHabits

FOLDER = Path(__file__).parent / "domains"
LANGUAGES = ("en", "zh")
NEUTRAL = "neutral"
PRICES = {  # kind of a price phrase -> the holes that it has
    "low": (),
    "high": (),
    "below": ("amount",),
    "above": ("amount",),
    "between": ("least", "most"),
}

Phrases = Mapping[str, Mapping[str, tuple[str, ...]]]


@dataclass(frozen=True)
class _Table:
    """The form of a domain's TOML; `Domain` says what each key means."""

    name: str
    events: tuple[str, ...]
    intents: tuple[str, ...]
    emotions: tuple[str, ...] = setting((NEUTRAL,), "what utterances feel; 'neutral' must be one of them")
    step: str = setting("event", "what one step of a sequence is", choices=("event", "basket"))
    repeat: bool = setting(False, "whether items that the user already has stay candidates")
    attributes: tuple[str, ...] = setting((), "user attributes, in the order of the serving signature")
    use_attributes: bool = setting(False, "whether models may see the user attributes")
    utterance_attributes: tuple[str, ...] = setting((), "catalogue attributes that synthetic utterances may name")
    requests: tuple[str, ...] = setting((), "intents that ask for items; empty = all")
    deny: tuple[str, ...] = setting((), "item ids or attribute=value that are never shown")
    rewards: Mapping[str, float] = field(default_factory=dict)
    satisfaction: Mapping[str, float] = field(default_factory=dict)
    templates: Phrases = field(default_factory=dict)
    words: Phrases = field(default_factory=dict)
    feelings: Phrases = field(default_factory=dict)
    prices: Phrases = field(default_factory=dict)
    intent_map: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unnamed: str = setting("", "event type of a log that names none; empty = the first")
    session: SessionHabits = field(default_factory=SessionHabits)
    objectives: Objectives = field(default_factory=Objectives)


def domain_names() -> tuple[str, ...]:
    """The names of the domains that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_domain(name: str | Path) -> Domain:
    """Reads a domain, strictly; events without a reward or a satisfaction weight get 0.

    Args:
      name: one of `domain_names()`, or a path to a TOML of the same form.

    Raises:
      ConfigError: no such domain, or a key, type, name or value that does not fit; the message names file and remedy.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(domain_names())
        raise ConfigError(f"{name}: no such domain; expected one of {known}, or a path to a .toml file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected TOML in UTF-8, got {error}.") from error
    return _checked(build(_Table, table, where=str(path)), str(path))


def holes(template: str) -> frozenset[str]:
    """The attribute names in a template's braces."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def _checked(table: _Table, where: str) -> Domain:
    for key in ("events", "intents", "emotions", "attributes", "utterance_attributes", "requests"):
        _check_names(getattr(table, key), f"{where}: {key}")
    if not table.events or not table.intents:
        raise ConfigError(f"{where}: expected at least one name in events and in intents, got none.")
    if NEUTRAL not in table.emotions:
        raise ConfigError(f"{where}: emotions: expected 'neutral' among them (a sentence without a feeling).")
    _check_known([table.unnamed] if table.unnamed else [], table.events, f"{where}: unnamed", "events")
    _check_known(table.requests, table.intents, f"{where}: requests", "intents")
    _check_weights(table.rewards, table.events, 0.0, f"{where}: rewards")
    _check_weights(table.satisfaction, table.events, -1.0, f"{where}: satisfaction")
    _check_session(table.session, f"{where}: session")
    _check_objectives(table.objectives, f"{where}: objectives")
    _check_phrases(table.templates, table.intents, f"{where}: templates", "intents")
    _check_phrases(table.words, None, f"{where}: words", "")
    _check_phrases(table.feelings, table.emotions, f"{where}: feelings", "emotions")
    _check_phrases(table.prices, tuple(PRICES), f"{where}: prices", "kinds of price phrases")
    _check_prices(table.prices, f"{where}: prices")
    for corpus, names in table.intent_map.items():
        _check_known(names.values(), table.intents, f"{where}: intent_map.{corpus}", "intents")
    for language, intents in table.templates.items():
        for intent, templates in intents.items():
            _check_templates(templates, table.utterance_attributes, f"{where}: templates.{language}.{intent}")
    values: dict[str, Any] = {f.name: getattr(table, f.name) for f in fields(table)}
    values["rewards"] = {event: table.rewards.get(event, 0.0) for event in table.events}
    values["satisfaction"] = {event: table.satisfaction.get(event, 0.0) for event in table.events}
    values["unnamed"] = table.unnamed or table.events[0]
    return Domain(**values)


def _check_names(names: tuple[str, ...], where: str) -> None:
    wrong = sorted({name for name in names if names.count(name) > 1 or not name.strip()})
    if wrong:
        raise ConfigError(f"{where}: expected different, non-empty texts, got {wrong} empty or more than once.")


def _check_known(names: Iterable[str], known: Collection[str], where: str, what: str) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"{where}: expected only {what} of this domain ({', '.join(known)}), got {unknown}.")


def _check_weights(weights: Mapping[str, float], events: tuple[str, ...], low: float, where: str) -> None:
    _check_known(weights, events, where, "events")
    for event, weight in weights.items():
        _check_between(weight, low, 1.0, f"{where}.{event}")


def _check_session(session: SessionHabits, where: str) -> None:
    for name in ("positive", "attention", "drift", "memory", "leaving", "disappointment"):
        _check_between(getattr(session, name), 0.0, 1.0, f"{where}.{name}")
    _check_between(session.boredom, 0.0, 100.0, f"{where}.boredom")
    _check_between(session.requests, 1, 1000, f"{where}.requests")
    if session.positive == 0 or session.attention == 0:
        raise ConfigError(f"{where}: expected positive and attention above 0: nobody would tell good from bad.")


def _check_objectives(objectives: Objectives, where: str) -> None:
    weights = {name: getattr(objectives, name) for name in ("engagement", "diversity", "fairness", "safety")}
    for name, weight in weights.items():
        _check_between(weight, 0.0, 1.0, f"{where}.{name}")
    if abs(sum(weights.values()) - 1) > 1e-6:
        raise ConfigError(f"{where}: expected weights that sum to 1, got {weights} with {sum(weights.values()):g}.")
    _check_between(objectives.harm, -1.0, 0.0, f"{where}.harm")


def _check_between(value: float, low: float, high: float, where: str) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{where}: expected a number in [{low:g}, {high:g}], got {value!r}.")


def _check_phrases(phrases: Phrases, known: tuple[str, ...] | None, where: str, what: str) -> None:
    """At least two phrases in every list, so that training and test get different ones."""
    _check_known(phrases, LANGUAGES, where, "languages")
    for language, lists in phrases.items():
        if known is not None:
            _check_known(lists, known, f"{where}.{language}", what)
        for name, entries in lists.items():
            place = f"{where}.{language}.{name}"
            _check_names(tuple(entry.strip() for entry in entries), place)
            if len(entries) < 2:
                raise ConfigError(
                    f"{place}: expected at least 2 phrases, since training and test share none, got {list(entries)}."
                )


def _check_templates(templates: tuple[str, ...], attributes: tuple[str, ...], where: str) -> None:
    for template in templates:
        try:
            named = holes(template)
        except ValueError as error:
            raise ConfigError(f"{where}: expected {{attribute}} holes, got {template!r} ({error}).") from error
        if not named <= set(attributes):
            unknown = sorted(named - set(attributes))
            raise ConfigError(
                f"{where}: template {template!r} names {unknown}; expected only {', '.join(attributes) or 'no hole'}: "
                "add them to utterance_attributes or take the template out."
            )
    if all(holes(template) for template in templates):
        raise ConfigError(f"{where}: expected at least 2 templates without a hole, got none.")


def _check_prices(prices: Phrases, where: str) -> None:
    for language, kinds in prices.items():
        for kind, phrases in kinds.items():
            for phrase in phrases:
                found = [name for _, name, _, _ in string.Formatter().parse(phrase) if name is not None]
                if found != list(PRICES[kind]):
                    wanted = " then ".join(f"{{{name}}}" for name in PRICES[kind]) or "no hole"
                    raise ConfigError(f"{where}.{language}.{kind}: expected {wanted}, got {phrase!r}; correct it.")
