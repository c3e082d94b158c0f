# SPDX-License-Identifier: Apache-2.0
"""`physgen eval merge SHARD... --out DIR`: the results of shards as those of one evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_out


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen eval merge",
        description="Put the results of shards (--shard I/N) together. They may come from several machines.",
        examples=("physgen eval merge runs/eval",),
    )
    parser.add_argument(
        "shards",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="a shard's folder, or an output folder with shards/ in it",
    )
    add_out(parser, "where the whole goes (default: the only DIR)", type=Path)
    return parser


def main(arguments: Sequence[str]) -> int:
    """Merge and print the table; return the exit status.

    Raises:
        UserError: The folders cannot be merged.
    """
    options = build_parser().parse_args(arguments)
    from physgen_bringup.evaluation.shards import merge_shards
    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress

    if options.out is None and len(options.shards) > 1:
        raise UserError("several folders are merged: say with --out where the whole goes")
    out: Path = options.out or options.shards[0]
    evaluations = merge_shards(options.shards, out)
    total = sum(len(evaluation.episodes) for evaluation in evaluations)
    print((out / "results.md").read_text())
    print(f"{total} episodes of {len(evaluations)} task(s) are in {out}", flush=True)
    Progress().next("./physgen", "eval", "compare", "OTHER", out)
    return 0
