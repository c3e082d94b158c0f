# SPDX-License-Identifier: Apache-2.0
"""`physgen doctor`: is this machine fit for the stack, and what to do where it is not."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from physgen_control.program.command_parser import CommandParser
from physgen_control.program.verbosity import is_quiet


def build_parser() -> CommandParser:
    """Return the command line; standard library only."""
    parser = CommandParser(
        prog="physgen doctor",
        description="Look at this machine: Python, packages, disk, memory, DDS, real time, devices. Nothing is "
        "changed, and nothing has to be installed for it. Exit status 1 if something is wrong.",
        examples=("physgen doctor", "physgen doctor --json"),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, print, and say how many are wrong."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.cli import version
    from physgen_bringup.commands.machine_checks import findings

    found = list(findings(os.environ))
    wrong = [finding for finding in found if finding.verdict == "wrong"]
    if options.json:
        print(
            json.dumps({"version": version(), "findings": [asdict(finding) for finding in found]}, indent=1)
        )
        return 1 if wrong else 0
    print(version())
    for finding in found:
        print(finding.line())
    print(f"{len(wrong)} wrong, {sum(f.verdict == 'note' for f in found)} to note.", flush=True)
    if not is_quiet():
        print("next: ./physgen doctor" if wrong else "next: ./physgen demo", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
