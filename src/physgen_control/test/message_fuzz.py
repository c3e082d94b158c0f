# SPDX-License-Identifier: Apache-2.0
"""Random values for any ROS message type: from all fields at random to a real message with one field changed."""

from __future__ import annotations

import copy
import importlib
import math
import re
from random import Random
from typing import Any

WORDS = (
    "", "x", "e", "world", "fr3_joint1", "panda_finger_joint1", "rgb8", "bgr8", "mono16", "../../x", "%s%n{}",
    "a" * 5000, "\u202e\u00e4\U0001f600", "{", "{}", "[]", "null", "NaN", "[" * 3000, '{"recording": 7}',
    '{"episode_id": ["x"], "path": 1e400}', '{"state": {"a": null}, "bag": -1}',
)  # fmt: skip
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.05, 1e-320, 1e30, -1e30, 1e308, math.nan, math.inf, -math.inf)
FLOAT32_MAX = 3.4e38
ARRAY = re.compile(r"^(?P<element>.+)\[(?P<count>\d+)\]$")
SEQUENCE = re.compile(r"^sequence<(?P<element>[^,]+)(, (?P<most>\d+))?>$")
STRING = re.compile(r"^w?string(<=?(?P<most>\d+)>?)?$")
LENGTHS = (0, 0, 1, 2, 6, 7, 8, 9, 21, 56, 168, 300)


def message_class(name: str) -> Any:
    """The Python class of `package/msg/Name` or `package/Name`."""
    package, *_, kind = name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), kind)


def random_message(kind: Any, random: Random, good: Any = None) -> Any:
    """A message with random fields, or a copy of a good one of which one field is random."""
    if good is not None and random.random() < 0.6:
        message = copy.deepcopy(good)
        for _ in range(random.choice([1, 1, 1, 3])):
            _change_one(message, random)
        return message
    message = kind()
    for name, field in kind.get_fields_and_field_types().items():
        setattr(message, name, _value(field, random))
    return message


def _change_one(message: Any, random: Random) -> None:
    fields = message.get_fields_and_field_types()
    if not fields:
        return
    name = random.choice(list(fields))
    value = getattr(message, name)
    if hasattr(value, "get_fields_and_field_types") and random.random() < 0.7:
        _change_one(value, random)
        return
    if (sequence := SEQUENCE.match(fields[name])) and len(value) and random.random() < 0.6:
        items = list(value)
        index = random.randrange(len(items))
        if hasattr(items[index], "get_fields_and_field_types"):
            _change_one(items[index], random)
        else:
            items[index] = _value(sequence["element"], random)
        cut = random.choice([len(items), len(items), len(items), len(items) - 1, 1])
        setattr(message, name, items[:cut])
        return
    setattr(message, name, _value(fields[name], random))


def _value(field: str, random: Random, depth: int = 0) -> Any:
    if match := SEQUENCE.match(field):
        length = random.choice(LENGTHS)
        if "/" in match["element"]:
            length = min(length, random.choice([1, 3, 20]))
        length = min(length, int(match["most"] or length))
        if random.random() < 0.3:  # of one value, as a stuck sensor has it
            return [_value(match["element"], random, depth + 1)] * length
        return [_value(match["element"], random, depth + 1) for _ in range(length)]
    if match := ARRAY.match(field):
        return [_value(match["element"], random, depth + 1) for _ in range(int(match["count"]))]
    if match := STRING.match(field):
        return random.choice(WORDS)[: int(match["most"] or 10_000)]
    if "/" in field:
        message = message_class(field)()
        if depth < 4:
            for name, inner in message.get_fields_and_field_types().items():
                setattr(message, name, _value(inner, random, depth + 1))
        return message
    return _scalar(field, random)


def _scalar(field: str, random: Random) -> Any:
    if field in ("boolean", "bool"):
        return random.random() < 0.5
    if field in ("double", "float"):
        value = random.choice([*FLOATS, random.gauss(0.0, 1.0), random.gauss(0.0, 0.01)])
        if field == "float" and math.isfinite(value):
            value = max(-FLOAT32_MAX, min(FLOAT32_MAX, value))
        return value
    if field in ("octet", "byte"):
        return bytes([random.randrange(256)])
    match = re.match(r"^(u?)int(\d+)$", field)
    unsigned, bits = (match[1] == "u", int(match[2])) if match else (True, 8)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return random.choice([0, 1, 2, 3, 7, 24, low, high, high - 1, random.randint(low, high)])
