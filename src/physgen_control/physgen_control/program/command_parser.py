# SPDX-License-Identifier: Apache-2.0
"""The parser of every command: one look of the help, one vocabulary, and old names with a sentence.

Standard library only, so that the help of every command works before anything is installed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from physgen_control.program.verbosity import take_flags

_SAID = ("default", "required")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows the default of an option whose help does not speak of it."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines = []
        for line in text.splitlines():
            inner = indent + " " * (len(line) - len(line.lstrip()))
            wrapped = textwrap.wrap(line, width, initial_indent=indent, subsequent_indent=inner)
            lines += [indent + line] if line.startswith("  ./") else wrapped or [""]
        return "\n".join(lines)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        silent = action.default in (None, "", False, argparse.SUPPRESS, [], 0)
        if not action.option_strings or silent or any(word in text for word in _SAID):
            return text
        return f"{text} (default {action.default})".strip()


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser with examples, -q and -v, and options that had another name.

    Args:
        prog: `physgen NAME`.
        description: What the command does.
        examples: Lines to type, shown at the end of the help.
        old_names: Old option -> the option of today; the old one works, with a sentence.
    """

    def __init__(
        self,
        *,
        prog: str,
        description: str,
        examples: Sequence[str] = (),
        old_names: Mapping[str, str] | None = None,
        epilog: str = "",
        **others: Any,
    ) -> None:
        shown = "\n".join(["examples:", *(f"  ./{example}" for example in examples)]) if examples else ""
        super().__init__(
            prog=prog,
            description=description,
            epilog="\n\n".join(part for part in (epilog, shown) if part) or None,
            formatter_class=_Formatter,
            **others,
        )
        self._old_names = dict(old_names or {})
        told = self.add_argument_group("what is told")
        told.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="results and errors only"
        )
        told.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,
            help="every line of every node, and the traceback of an error",
        )

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ArgumentParser, after old names were told and -q and -v were taken."""
        words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(take_flags(self._renamed(words)), namespace)

    def _renamed(self, words: Sequence[str]) -> list[str]:
        end = list(words).index("--") if "--" in words else len(words)
        renamed = []
        for word in words[:end]:
            name, equals, value = word.partition("=")
            if name in self._old_names:
                today = self._old_names[name]
                sys.stderr.write(f"{self.prog}: {name} is called {today} now.\n")
                word = f"{today}{equals}{value}"
            renamed.append(word)
        return [*renamed, *words[end:]]


def add_out(parser: argparse._ActionsContainer, help_text: str, **others: Any) -> None:
    """The folder, or for a single thing the file, that a command writes."""
    parser.add_argument("--out", metavar=others.pop("metavar", "DIR"), help=help_text, **others)


def add_workers(parser: argparse._ActionsContainer, help_text: str, **others: Any) -> None:
    """How many things a command does side by side, each in a process of its own."""
    parser.add_argument("--workers", type=int, metavar="N", help=help_text, **others)


def add_json(parser: argparse._ActionsContainer) -> None:
    """A file for the numbers that a command prints; a Path, or None."""
    parser.add_argument(
        "--json", metavar="FILE", type=file_to_write(), help="write the numbers to a file too"
    )


def file_to_write(*endings: str) -> Callable[[str], Path]:
    """Return the `type` of an option that names a file to write, so that a wrong name costs nothing but a sentence.

    Args:
        endings: Such as .mp4, in lower case; any where none is given.
    """

    def path_of(text: str) -> Path:
        path = Path(text).expanduser()
        if endings and path.suffix.lower() not in endings:
            raise argparse.ArgumentTypeError(
                f"the name of the file must end in {' or '.join(endings)}, got {text}"
            )
        if path.is_dir():
            raise argparse.ArgumentTypeError(f"{text} is a folder; name a file")
        return path

    return path_of
