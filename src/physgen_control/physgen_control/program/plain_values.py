# SPDX-License-Identifier: Apache-2.0
"""JSON and YAML files as checked values: whatever the bytes are, the answer is typed data or one sentence.

Nothing here trusts a file: texts may be no UTF-8, nested without end, refer to themselves, or hold numbers that no type
of ours can hold.
"""

from __future__ import annotations

import io
import json
import math
import reprlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from physgen_control.errors import UserError

T = TypeVar("T")

MAX_DEPTH = 64
"""Nesting beyond it is no configuration; ours have five levels."""
MAX_YAML_VALUES = 200_000
"""Values of a YAML file with its aliases written out; a few lines of them can stand for billions."""
LARGEST_INTEGER = 2**63 - 1

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


def shown(value: Any) -> str:
    """Return a value as it is quoted in an error, shortened."""
    try:
        text = _SHORT.repr(value)
        return text if len(text) <= 300 else text[:297] + "..."
    except ValueError:  # an integer of thousands of digits, which YAML can write in base 16
        return f"a {type(value).__name__} too large to write"


def read_json(path: Path, error: type[UserError] = UserError) -> Any:
    """Return what a JSON file holds.

    Args:
        path: The file.
        error: The kind of UserError that is raised.

    Raises:
        UserError: It cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    # RecursionError: nested too deep; ValueError: no UTF-8, no JSON, or a number of thousands of digits.
    except (OSError, ValueError, RecursionError) as cause:
        raise error(f"{path} is not readable JSON: {cause}") from cause


def read_json_object(path: Path, error: type[UserError] = UserError) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        UserError: Of the type `error`: it cannot be read, or holds no JSON object.
    """
    values = read_json(path, error)
    if not isinstance(values, dict):
        raise error(f"{path} must hold a JSON object, got {shown(values)}")
    return values


def read_yaml(path: Path, error: type[UserError] = UserError) -> Any:
    """Return what a YAML file holds, by the rules of `parse_yaml`.

    Raises:
        UserError: Of the type `error`: it cannot be read, or `parse_yaml` refuses it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as cause:
        raise error(f"{path} cannot be read: {cause}") from cause
    return parse_yaml(text, str(path), error)


def parse_yaml(text: str, where: str, error: type[UserError] = UserError) -> Any:
    """Return what a YAML text holds, by the rules of YAML 1.2: 1e-4 is a number, yes and no are texts.

    Args:
        text: The text.
        where: What the error names, such as the file.
        error: The kind of UserError that is raised.

    Raises:
        UserError: It is no YAML, gives a key twice, or stands for more than a configuration can.
    """
    try:
        values = _yaml().load(text)
    # The others are a constructor's: a date that is none, a key that has no hash, an alias within itself.
    except (YAMLError, ValueError, RecursionError, TypeError, LookupError, AttributeError) as cause:
        # Behind an empty line the library tells programmers how to switch its check off.
        raise error(f"{where} is not valid YAML: {str(cause).partition(chr(10) * 2)[0]}") from cause
    left = MAX_YAML_VALUES
    waiting = [(values, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1
        if depth > MAX_DEPTH or left < 0:
            raise error(f"{where} is nested deeper or holds more values than a configuration can")
        if isinstance(value, dict | list):
            items = value.values() if isinstance(value, dict) else value
            waiting.extend((item, depth + 1) for item in items)
    return values


def yaml_text(values: Any) -> str:
    """Return plain values as YAML that `parse_yaml` reads back, keys in their order."""
    stream = io.StringIO()
    _yaml().dump(values, stream)
    return stream.getvalue()


def _yaml() -> YAML:
    # The loader in Python is the only one of YAML 1.2; as safe as the other.
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # annotated None by the package
    return yaml


def read_yaml_mapping(path: Path, error: type[UserError] = UserError) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        UserError: Of the type `error`: it cannot be read, or holds no mapping.
    """
    values = read_yaml(path, error)
    if not isinstance(values, dict):
        raise error(f"{path} must hold a mapping of keys to values, got {shown(values)}")
    return values


def build(cls: type[T], values: Any, where: str, error: type[UserError] = UserError) -> T:
    """Return a dataclass from nested plain values, every one checked against its type; absent keys keep their default.

    Args:
        cls: The dataclass.
        values: A mapping of its fields.
        where: What the error names, such as the file and the key.
        error: The kind of UserError that is raised.

    Raises:
        UserError: An unknown or missing key, or a value of another type, named.
    """
    if not isinstance(values, dict):
        raise error(f"{where} must be a mapping of keys to values, got {shown(values)}")
    hints = get_type_hints(cls)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # T is always a dataclass
    if unknown := sorted(map(str, set(values) - set(known))):
        raise error(f"{where} has unknown keys {shown(unknown)}; known keys are {known}")
    given = {key: convert(hints[key], value, f"{where}.{key}", error) for key, value in values.items()}
    try:
        return cls(**given)
    except TypeError as cause:  # the only one left: a key without default is absent
        raise error(f"{where} is incomplete: {cause}") from cause


def convert(hint: Any, value: Any, where: str, error: type[UserError] = UserError) -> Any:
    """Return a plain value as the type of an annotation; an integer is accepted where a float is expected.

    Args:
        hint: The annotation.
        value: The value.
        where: What the error names, such as the file and the key.
        error: The kind of UserError that is raised.

    Raises:
        UserError: The value does not fit, or is a number that is not finite.
        TypeError: The annotation is of a kind that is not supported here.
    """
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where, error)
    origin = get_origin(hint)
    if origin is UnionType and get_args(hint)[1:] == (NoneType,):
        return None if value is None else convert(get_args(hint)[0], value, where, error)
    if origin is Literal:
        if value not in get_args(hint):
            raise error(f"{where} must be one of {list(get_args(hint))}, got {shown(value)}")
        return value
    if origin is tuple:
        return _sequence(get_args(hint), value, where, error)
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise error(f"{where} must be a mapping of keys to values, got {shown(value)}")
        return value
    if not isinstance(hint, type):
        raise TypeError(f"{where} has the unsupported type {hint}")  # no such field exists
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and is_number:
        if abs(value) <= 1e300 and math.isfinite(value):
            return float(value)
        raise error(f"{where} must be a finite number, got {shown(value)}")
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise error(f"{where} must be {hint.__name__}, got {shown(value)}")
    if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise error(f"{where} must be an integer of 64 bits, got {shown(value)}")
    return value


def _sequence(kinds: tuple[Any, ...], value: Any, where: str, error: type[UserError]) -> tuple[Any, ...]:
    words = {int: "integers", float: "numbers", str: "texts"}.get(kinds[0], "values")
    if not isinstance(value, list | tuple) or (kinds[-1] is not Ellipsis and len(value) != len(kinds)):
        size = "a list of" if kinds[-1] is Ellipsis else f"a list of {len(kinds)}"
        raise error(f"{where} must be {size} {words}, got {shown(value)}")
    return tuple(convert(kinds[0], item, where, error) for item in value)
