# SPDX-License-Identifier: Apache-2.0
"""One launch argument as a value, and what its text must be."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any, Literal

from physgen_control.errors import UserError
from physgen_control.program.plugins import entry_names, is_reference

Kind = Literal["choice", "text", "bool", "count", "profile"]


class ArgumentError(UserError):
    """A launch argument cannot be used; the text is one sentence that says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One row of the argument table."""

    name: str
    kind: Kind
    default: str
    """Written as the user would write it."""
    help: str
    choices: tuple[str, ...] = ()
    """Allowed texts; empty: any."""
    minimum: int = 0
    """Smallest allowed number."""
    group: str = ""
    """Group of entry points that adds to the choices; `module:Name` is possible too then."""


def parse_value(argument: Argument, text: str) -> Any:
    """Return the value of a text: a string, bool or int by the argument's kind.

    Raises:
        ArgumentError: The text is none; one sentence.
    """
    match argument.kind:
        case "choice":
            return _parse_choice(argument, text)
        case "bool":
            if text.lower() not in ("true", "false"):
                raise ArgumentError(f"{argument.name}:={text} is not possible; write true or false")
            return text.lower() == "true"
        case "count":
            if not re.fullmatch(r"\d{1,18}", text) or int(text) < argument.minimum:
                raise ArgumentError(
                    f"{argument.name}:={text} is not possible; write a whole number >= {argument.minimum}"
                )
            return int(text)
        case "profile":
            if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
                raise ArgumentError(
                    f"{argument.name}:={text} is not possible; write WIDTHxHEIGHTxFPS, as 640x480x30"
                )
            return text
        case "text":
            return text


def _parse_choice(argument: Argument, text: str) -> str:
    choices = (*argument.choices, *(entry_names(argument.group) if argument.group else ()))
    if text and text not in choices and not (argument.group and is_reference(text)):
        close = difflib.get_close_matches(text, choices, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        own = ", or write module:Class" if argument.group else ""
        raise ArgumentError(
            f"{argument.name}:={text} is not possible; choose of {', '.join(choices)}{own}{hint}"
        )
    return text
