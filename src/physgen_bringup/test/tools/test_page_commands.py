# SPDX-License-Identifier: Apache-2.0
"""Every command that a page shows is one that `physgen` takes: its name, its options, the kinds of their values."""

import re
import shlex
from argparse import ArgumentParser
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import pytest

from physgen_bringup.cli import find_command
from physgen_bringup.graph.arguments import parse_arguments
from physgen_control.program.command_parser import CommandParser

ROOT = Path(__file__).resolve().parents[4]
# What stands for something else: task:=TASK, [--full], runs/.../bags.
PLACEHOLDER = re.compile(r"\[|\.\.\.|…|:=[A-Z]+(\s|$)|^COMMAND")
OWN_SCRIPT = {"setup": "physgen_setup.__main__", "test": "physgen_checks.__main__"}


class ParsedError(Exception):
    """The command's words were taken; nothing is done with them."""


def commands() -> Iterator[tuple[str, str]]:
    """Yield (page, command): lines of code that begin with ./physgen, and those with options amid a sentence."""
    ours = (page for page in ROOT.glob("*.md") if page.name != "CHANGELOG.md")  # tells of what was
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.md"), *ours]
    for page in sorted(pages):
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = re.findall(r"^\s*(?:[A-Z_]+=\S+ )*\./physgen (.*)$", text, re.MULTILINE)
        amid = re.findall(r"`\./physgen ([^`]*(?: --|:=)[^`]*)`", text)
        for shown in [*(line.split(" #")[0].rstrip(" &") for line in lines), *amid]:
            if not PLACEHOLDER.search(shown):
                yield str(page.relative_to(ROOT)), shown


def take(words: list[str]) -> None:
    """Let the command read its words, and nothing more; SystemExit or a UserError says what it does not take."""
    name, *rest = words
    if name in OWN_SCRIPT:
        import_module(OWN_SCRIPT[name]).build_parser().parse_args(rest)
        return
    command = find_command(name)
    assert command is not None, f"there is no command {name}"
    if name == "launch":
        parse_arguments(rest)
        return
    if name == "python":
        assert (ROOT / rest[0]).is_file()
        return
    with pytest.raises(ParsedError):
        import_module(command.module).main(rest)


@pytest.fixture
def only_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command ends where its words are parsed."""
    parse = ArgumentParser.parse_args

    def parse_args(self: CommandParser, *words: Any) -> NoReturn:
        parse(self, *words)
        raise ParsedError

    monkeypatch.setattr(CommandParser, "parse_args", parse_args)
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("only_parsed")
def test_every_command_of_every_page_is_taken() -> None:
    refused = []
    shown = list(commands())
    for page, command in shown:
        try:
            take(shlex.split(command))
        except (SystemExit, Exception) as error:  # noqa: BLE001  (whatever it says goes into the report)
            refused.append(f"{page}: ./physgen {command}: {error!r}")
    assert len(shown) > 100
    assert not refused, "\n".join(refused)
