"""The strict reader that turns TOML into sections. Imports no TensorFlow.

A section is a frozen dataclass; every field has a default, a help text and, where it makes sense, a range. A part that
can be exchanged (a model, an agent, a fusion) is a `Component`: its `name` picks a line in the package's dict, and the
package builds its own settings from the rest with `build`, as strictly.
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A setting is unknown, of the wrong type or out of range; the message says what to do."""


@dataclass(frozen=True)
class Component:
    """An exchangeable part: `name` picks it from its package's dict, `settings` are its own keys."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def setting(
    default: Any, help: str, *, low: float | None = None, high: float | None = None, choices: Sequence | None = None
) -> Any:
    """A dataclass field with its default, its help text and what is allowed.

    Args:
      default: the value where the config says nothing; a mapping or a Component is shared, never changed.
      help: one line, printed with errors and in the documentation.
      low: smallest value allowed (for strings and lists: smallest length).
      high: largest value allowed (for strings and lists: largest length).
      choices: the only values allowed.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    if isinstance(default, Mapping | Component | list):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """A frozen settings dataclass from a table, strictly.

    Args:
      cls: the dataclass.
      table: keys and values as TOML gives them.
      where: what error messages call the table, e.g. "behaviour.model".

    Raises:
      ConfigError: unknown key, wrong type or out of range.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: expected a table of settings, got {table!r}.")
    hints, fields = typing.get_type_hints(cls), {f.name: f for f in dataclasses.fields(cls)}
    values = {}
    for key, value in table.items():
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            advice = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"{where}: unknown key {key!r}; {advice}Known keys: {', '.join(sorted(fields))}.")
        place = f"{where}: {key}"
        values[key] = _convert(hints[key], value, place)
        _check_range(values[key], fields[key], place)
    for name, f in fields.items():
        if name not in table and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{where}: {name!r} is missing.")
    return cls(**values)


def choose(registry: Mapping[str, tuple[type, Any]], component: Component, where: str) -> tuple[Any, Any]:
    """Looks a component up in its package's dict and builds its settings.

    Args:
      registry: name -> (settings dataclass, builder).
      component: what the config names.
      where: what error messages call it, e.g. "ranking.agent".

    Returns:
      (settings, builder).

    Raises:
      ConfigError: no such name, or settings that do not fit it.
    """
    if component.name not in registry:
        raise ConfigError(f"{where}: expected one of {', '.join(sorted(registry))}, got {component.name!r}.")
    settings_class, builder = registry[component.name]
    return build(settings_class, component.settings, f"{where} ({component.name})"), builder


def to_table(config: Any) -> dict[str, Any]:
    """A config as plain TOML values, with which `load` gives the same config back."""
    if isinstance(config, Component):
        return {"name": config.name, **{k: _plain(v) for k, v in config.settings.items()}}
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_table(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def apply_override(table: dict[str, Any], override: str) -> None:
    """Puts one `section.key=value` into a table, in place."""
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last:
        raise ConfigError(f"--set: expected section.key=value, got {override!r}.")
    for section in sections:
        table = table.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set: {override!r}: {section!r} is a value, not a section.")
    try:
        table[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if text.lstrip().startswith(("[", "{")):
            raise ConfigError(
                f"--set: {key}: expected a list or table of TOML, got {text!r} ({error}); names in it need quotes, "
                "which a shell takes away unless the whole setting is in others: 'key=[\"a\"]'."
            ) from error
        table[last] = text


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint`, or a ConfigError."""
    if dataclasses.is_dataclass(hint) and hint is not Component:
        return build(hint, value, where)
    if hint is Component:
        if isinstance(value, str):
            return Component(value)
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ConfigError(f'{where}: expected a table with a name, e.g. {{ name = "..." }}, got {value!r}.')
        return Component(value["name"], {k: v for k, v in value.items() if k != "name"})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: expected a list, got {value!r}.")
        return tuple(_convert(arguments[0], v, where) for v in value)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {value!r}.")
        return {k: _convert(arguments[1], v, where) for k, v in value.items()}
    if origin in (typing.Union, types.UnionType):
        return value if value is None else _convert(arguments[0], value, where)
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{where}: expected {hint.__name__}, got {value!r} ({type(value).__name__}).")
    return value


def _check_range(value: Any, f: dataclasses.Field, where: str) -> None:
    low, high, choices = (f.metadata.get(name) for name in ("low", "high", "choices"))
    if choices and value not in choices:
        raise ConfigError(f"{where}: expected one of {', '.join(map(str, choices))}, got {value!r}.")
    size = len(value) if isinstance(value, str | tuple) else value
    if isinstance(size, float) and size != size:
        raise ConfigError(f"{where}: expected a number, got nan.")
    if low is not None and size < low:
        raise ConfigError(f"{where}: expected at least {low}, got {value!r} ({f.metadata['help']}).")
    if high is not None and size > high:
        raise ConfigError(f"{where}: expected at most {high}, got {value!r} ({f.metadata['help']}).")
