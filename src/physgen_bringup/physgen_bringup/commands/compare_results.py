# SPDX-License-Identifier: Apache-2.0
"""`physgen eval compare A B`: a paired test of two evaluations on the trials they have in common."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_json


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen eval compare",
        description="Compare two evaluations of the same tasks, trial by trial: exact McNemar test and the interval of "
        "the difference of the success rates. Crashed trials are left out and counted.",
        examples=("physgen eval compare runs/base runs/tuned",),
    )
    parser.add_argument("a", type=Path, metavar="A", help="output folder of the first evaluation")
    parser.add_argument("b", type=Path, metavar="B", help="output folder of the second one")
    add_json(parser)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Print the table."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.results.comparison import compare, comparison_markdown, matching_results
    from physgen_bringup.results.results import read
    from physgen_bringup.results.whole_file import write_atomically

    pairs = [(read(a), read(b)) for a, b in matching_results(options.a, options.b)]
    values = compare(pairs)
    print(comparison_markdown(values, str(options.a), str(options.b)))
    if options.json:
        write_atomically(options.json, json.dumps(values, indent=1, allow_nan=False) + "\n")
    return 0
