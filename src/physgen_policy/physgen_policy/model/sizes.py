# SPDX-License-Identifier: Apache-2.0
"""What every part of an architecture is checked for: sizes that can be built."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from physgen_control.errors import UserError

MAX_SIZE = 1 << 20
"""Largest size of a configuration, twenty times the largest vocabulary in use: a file may name any number."""
MAX_DEPTH = 512
"""Most layers of one part; every layer is built before its weights can be missed."""


class ConfigError(UserError):
    """A model configuration is not usable; the message names the key and what was expected."""


def require_sizes(config: Any, *, depths: tuple[str, ...] = (), zero: tuple[str, ...] = ()) -> None:
    """Check that all integers of a part are sizes that can be built; `zero` may be absent, `depths` count layers.

    Raises:
        ConfigError: One is not.
    """
    for entry in fields(config):
        value = getattr(config, entry.name)
        low, high = int(entry.name not in zero), MAX_DEPTH if entry.name in depths else MAX_SIZE
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int) and not isinstance(number, bool):
                require(low <= number <= high, f"{entry.name} must be {low} to {high}, got {number}")


def require(condition: bool, sentence: str) -> None:
    """Check one rule.

    Raises:
        ConfigError: It does not hold; the sentence says what was found.
    """
    if not condition:
        raise ConfigError(sentence)
