# SPDX-License-Identifier: Apache-2.0
"""`physgen shell`: a shell with the environment of the stack, so that `python` is its interpreter."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen shell",
        description="Start a shell ($SHELL, else sh) with the environment of the stack: `python` is its interpreter, "
        "and its packages and messages can be imported. `exit` leaves it.",
        examples=("physgen shell", "physgen shell -c 'python -m pip list'"),
    )
    parser.add_argument(
        "-c", dest="command", default="", help="run this line instead and leave with its status"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Replace this process by the shell.

    Raises:
        UserError: $SHELL is no program.
    """
    options = build_parser().parse_args(arguments)
    shell = os.environ.get("SHELL") or "/bin/sh"
    # The folder of the interpreter first: `python` must be ours also where the environment did not say so.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    words = [shell, *(["-c", options.command] if options.command else [])]
    sys.stdout.flush()
    try:
        os.execvpe(shell, words, {**os.environ, "PATH": path})
    except OSError as error:
        raise UserError(f"the shell {shell} cannot be started ({error}); set SHELL to one") from error


if __name__ == "__main__":
    sys.exit(main())
