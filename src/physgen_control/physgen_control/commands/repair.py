# SPDX-License-Identifier: Apache-2.0
"""`physgen repair`: recover a readable bag from an unfinished recording."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.bags.repair import repair_bag
from physgen_control.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 2 with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="physgen repair", description=__doc__)
    parser.add_argument("bag", type=Path, help="a NAME.partial folder, a bag folder or an .mcap file")
    parser.add_argument("--out", type=Path, help="folder of the recovered bag (default: NAME-repaired)")
    options = parser.parse_args(arguments)
    try:
        report = repair_bag(options.bag, options.out)
    except UserError as error:
        print(f"physgen repair: {error}", file=sys.stderr)
        return 2
    print(f"Recovered {report.messages} messages into {report.path} (outcome {report.outcome}).")
    for note in report.notes:
        print(f"  {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
