# SPDX-License-Identifier: Apache-2.0
"""`physgen repair`: recover a readable bag from an unfinished recording."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.bags.repair import repair_bag
from physgen_control.program.command_line import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Raises:
        UserError: The bag cannot be repaired.
    """
    parser = argparse.ArgumentParser(prog="physgen repair", description=__doc__)
    parser.add_argument("bag", type=Path, help="a NAME.partial folder, a bag folder or an .mcap file")
    parser.add_argument("--out", type=Path, help="folder of the recovered bag (default: NAME-repaired)")
    options = parser.parse_args(arguments)
    report = repair_bag(options.bag, options.out)
    print(f"Recovered {report.messages} messages into {report.path} (outcome {report.outcome}).")
    for note in report.notes:
        print(f"  {note}")
    return 0


if __name__ == "__main__":
    sys.exit(run_command("physgen repair", main, sys.argv[1:]))
