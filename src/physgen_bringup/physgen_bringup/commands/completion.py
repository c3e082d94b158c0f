# SPDX-License-Identifier: Apache-2.0
"""`physgen completion SHELL`: print a script that completes commands, options and launch arguments."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from physgen_control.program.command_parser import CommandParser

SHELLS = ("bash", "zsh")
HOW = {
    "bash": "./physgen completion bash > ~/.local/share/bash-completion/completions/physgen",
    "zsh": "./physgen completion zsh > ~/.zfunc/_physgen",
}


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen completion",
        description="Print a script that lets a shell complete commands, options and launch arguments.",
        examples=[line.removeprefix("./") for line in HOW.values()],
    )
    parser.add_argument("shell", choices=SHELLS, help="which shell")
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Every command with its options as one parser; a command whose parser cannot be made has none."""
    from physgen_bringup.cli import COMMANDS
    from physgen_bringup.graph.arguments import ARGUMENTS

    whole = argparse.ArgumentParser(prog="physgen", add_help=False)
    commands = whole.add_subparsers()
    for command in COMMANDS:
        if command.name == "launch":
            launch = commands.add_parser("launch", help=command.summary, add_help=False)
            words = [
                f"{a.name}:={c}"
                for a in ARGUMENTS
                for c in a.choices or (("true", "false") if a.kind == "bool" else ("",))
            ]
            launch.add_argument("words", nargs="*", choices=words)
            continue
        module = importlib.import_module(command.module) if command.module else None
        build = getattr(module, "build_parser", None)
        parents = [build()] if build else []
        commands.add_parser(command.name, help=command.summary, parents=parents, add_help=False)
    return whole


def script(shell: str) -> str:
    """The script; it serves `physgen` and `./physgen`."""
    import shtab

    text: str = shtab.complete(whole_parser(), shell=shell)
    if shell == "bash":
        text += "\ncomplete -o filenames -F _shtab_physgen ./physgen\n"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the script."""
    options = build_parser().parse_args(arguments)
    sys.stdout.write(script(options.shell))
    return 0
