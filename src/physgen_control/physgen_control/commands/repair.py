# SPDX-License-Identifier: Apache-2.0
"""`physgen repair`: recover a readable bag from an unfinished recording."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_line import run_command
from physgen_control.program.command_parser import CommandParser, add_out


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen repair",
        description="Recover a readable bag from an unfinished recording.",
        examples=("physgen repair bags/push-3.partial",),
    )
    parser.add_argument("bag", type=Path, help="a NAME.partial folder, a bag folder or an .mcap file")
    add_out(parser, "folder of the recovered bag (default: NAME-repaired)", type=Path)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Raises:
        UserError: The bag cannot be repaired.
    """
    options = build_parser().parse_args(arguments)
    from physgen_control.bags.repair import repair_bag
    from physgen_control.program.progress import Progress

    report = repair_bag(options.bag, options.out)
    print(f"Recovered {report.messages} messages into {report.path} (outcome {report.outcome}).")
    for note in report.notes:
        print(f"  {note}")
    Progress().next("./physgen", "view", report.path)
    return 0


if __name__ == "__main__":
    sys.exit(run_command("physgen repair", main, sys.argv[1:]))
