# SPDX-License-Identifier: Apache-2.0
"""Declare a configuration field once: default, unit, meaning and range travel as dataclass metadata.

ROS-free: `nodes/parameters.py` turns such dataclasses into ROS parameters, `field_table` into a table for docs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, field, fields
from enum import Enum
from typing import Any

from physgen_control.errors import UserError


class ParameterError(UserError):
    """A parameter has the wrong type, is out of range or is not one of its choices."""


def parameter(
    default: Any,
    *,
    description: str,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """Return a dataclass field with the metadata that parameters and documentation need.

    Args:
        default: bool, int, float, str, a str Enum member, or a tuple of one scalar kind.
        description: What the value means, one sentence without the unit.
        unit: SI unit, "" for a pure number or text.
        ge: Smallest allowed value (numbers and tuples of numbers).
        le: Largest allowed value.
        choices: Allowed texts.
    """
    return field(
        default=default,
        metadata={
            "description": description,
            "unit": unit,
            "ge": ge,
            "le": le,
            "choices": None if choices is None else tuple(choices),
        },
    )


def default_of(entry: Field[Any]) -> Any:
    """Return a field's default.

    Raises:
        TypeError: It has none, which is a mistake of its dataclass.
    """
    if entry.default is not MISSING:
        return entry.default
    if entry.default_factory is not MISSING:
        return entry.default_factory()
    raise TypeError(f"Field {entry.name!r} needs a default to become a parameter.")


def choices_of(entry: Field[Any]) -> tuple[str, ...]:
    """Return the allowed texts of a field; empty when any text is allowed."""
    explicit = entry.metadata.get("choices")
    if explicit:
        return tuple(explicit)
    default = default_of(entry)
    return tuple(str(member.value) for member in type(default)) if isinstance(default, Enum) else ()


def describe(entry: Field[Any]) -> str:
    """Return the description of a field with its unit, as shown by `ros2 param describe` and the docs."""
    text = str(entry.metadata.get("description", ""))
    unit = str(entry.metadata.get("unit", ""))
    return f"{text} [{unit}]" if unit else text


def range_text(entry: Field[Any]) -> str:
    """Return the allowed range or choices of a field in words, or an empty text."""
    choices = choices_of(entry)
    low, high = entry.metadata.get("ge"), entry.metadata.get("le")
    if choices:
        return "one of " + ", ".join(choices)
    if low is not None and high is not None:
        return f"{low:g} .. {high:g}"
    if low is not None:
        return f">= {low:g}"
    return f"<= {high:g}" if high is not None else ""


def coerce(entry: Field[Any], value: Any) -> Any:
    """Return `value` as the field's type after checking type, range and choices.

    An integer is accepted where a float is expected (`rate:=20`), a sequence where a tuple is;
    nothing else is converted.

    Raises:
        ParameterError: One sentence naming the parameter, the value and what is allowed.
    """
    default = default_of(entry)
    if isinstance(default, tuple):
        if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
            raise ParameterError(f"Parameter {entry.name!r} must be a list, got {value!r}.")
        items = list(value)
        element = default[0] if default else None
        return tuple(item if element is None else _scalar(entry, element, item) for item in items)
    return _scalar(entry, default, value)


def _scalar(entry: Field[Any], like: Any, value: Any) -> Any:
    kind: type = str if isinstance(like, Enum) else type(like)
    words = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: is_number,
        str: isinstance(value, str),
    }
    if kind not in fits:
        raise TypeError(f"Field {entry.name!r} has the type {kind.__name__}, which cannot be a parameter.")
    if not fits[kind]:
        hint = f"; quote it: {entry.name}:=\"'{value}'\"" if kind is str else ""
        raise ParameterError(f"Parameter {entry.name!r} must be {words[kind]}, got {value!r}{hint}.")
    if kind is float:
        try:
            value = float(value)
        except OverflowError as error:
            raise ParameterError(f"Parameter {entry.name!r} is an integer beyond every number.") from error
    low, high = entry.metadata.get("ge"), entry.metadata.get("le")
    too_low = low is not None and kind in (int, float) and not value >= low
    too_high = high is not None and kind in (int, float) and not value <= high
    choices = choices_of(entry)
    if too_low or too_high or (choices and value not in choices):
        raise ParameterError(
            f"Parameter {entry.name!r} ({describe(entry)}) is {value!r}, allowed is {range_text(entry)}."
        )
    return type(like)(value) if isinstance(like, Enum) else value


def field_table(config: type) -> str:
    """Return a Markdown table of the fields of a configuration dataclass."""
    lines = ["| parameter | default | unit | range | meaning |", "|---|---|---|---|---|"]
    for entry in fields(config):
        default = default_of(entry)
        shown = default.value if isinstance(default, Enum) else default
        shown = list(shown) if isinstance(shown, tuple) else shown
        text = str(shown).lower() if isinstance(shown, bool) else ('""' if shown == "" else str(shown))
        meaning = str(entry.metadata.get("description", ""))
        unit = str(entry.metadata.get("unit", ""))
        lines.append(f"| `{entry.name}` | `{text}` | {unit} | {range_text(entry)} | {meaning} |")
    return "\n".join(lines) + "\n"
