# SPDX-License-Identifier: Apache-2.0
"""Messages as plain values and back, for people who read and type them; types by their name, `std_srvs/srv/SetBool`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from physgen_control.errors import UserError

MOST_ITEMS = 64
"""Items of an array that are shown; an image has a million."""


def find_type(name: str, kind: str) -> Any:
    """Return the class of an interface.

    Args:
        name: `package/kind/Name`, or `package/Name`.
        kind: `msg` or `srv`.

    Raises:
        UserError: there is no such interface here.
    """
    parts = name.split("/")
    if len(parts) == 2:
        parts.insert(1, kind)
    if len(parts) == 3 and parts[1] == kind and all(part.isidentifier() for part in parts):
        try:
            return getattr(importlib.import_module(f"{parts[0]}.{kind}"), parts[2])
        except (ImportError, AttributeError):
            pass
    raise UserError(f"there is no interface {name!r} here; write it as package/{kind}/Name")


def to_plain(value: Any) -> Any:
    """Return a message as mappings, lists, texts and numbers; long arrays are cut and say so."""
    if hasattr(value, "get_fields_and_field_types"):
        return {name: to_plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, bytes | bytearray):
        value = list(value)
    if isinstance(value, np.generic):  # first: numpy's float64 is a float, too
        return value.item()
    if isinstance(value, str | bool | int | float):
        return value
    items = [to_plain(item) for item in value[:MOST_ITEMS]]
    return items if len(value) <= MOST_ITEMS else [*items, f"... {len(value)} in all"]


def fill(message: Any, values: Mapping[str, Any], where: str = "") -> Any:
    """Set the fields of a message from plain values and return it.

    Raises:
        UserError: a field that it has not, or a value that does not fit.
    """
    known = message.get_fields_and_field_types()
    for name, value in values.items():
        path = f"{where}{name}"
        if name not in known:
            raise UserError(f"there is no field {path!r}; there are {', '.join(known) or 'none'}")
        current = getattr(message, name)
        if hasattr(current, "get_fields_and_field_types"):
            if not isinstance(value, Mapping):
                raise UserError(f"{path} must be a mapping of fields, got {value!r}")
            fill(current, value, f"{path}.")
            continue
        try:
            setattr(message, name, _as_like(current, value))
        except (AssertionError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path} must be {known[name]}, got {value!r}") from error
    return message


def _as_like(current: Any, value: Any) -> Any:
    """The value as the type of the field's default, which messages themselves do not check.

    Raises:
        TypeError: The value is of another type.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(current, float) and is_number:
        return float(value)
    if isinstance(current, str | bool | int):
        if type(value) is type(current):
            return value
    elif not isinstance(current, float) and isinstance(value, list):
        return value
    raise TypeError
