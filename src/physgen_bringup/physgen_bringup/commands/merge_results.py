# SPDX-License-Identifier: Apache-2.0
"""`physgen eval merge SHARD... --out DIR`: the results of shards as those of one evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    """The command line; standard library only."""
    parser = argparse.ArgumentParser(
        prog="physgen eval merge",
        description="Put the results of shards (--shard I/N) together. They may come from several machines.",
    )
    parser.add_argument(
        "shards",
        type=Path,
        nargs="+",
        metavar="DIR",
        help="a shard's folder, or an output folder with shards/ in it",
    )
    parser.add_argument("--out", type=Path, help="where the whole goes (default: the only DIR)")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Merge and print the table; return the exit status.

    Raises:
        UserError: The folders cannot be merged.
    """
    options = build_parser().parse_args(arguments)
    from physgen_bringup.evaluation.shards import merge_shards
    from physgen_control.errors import UserError

    if options.out is None and len(options.shards) > 1:
        raise UserError("several folders are merged: say with --out where the whole goes")
    out: Path = options.out or options.shards[0]
    evaluations = merge_shards(options.shards, out)
    total = sum(len(evaluation.episodes) for evaluation in evaluations)
    print((out / "results.md").read_text())
    print(f"{total} episodes of {len(evaluations)} task(s) are in {out}")
    return 0
