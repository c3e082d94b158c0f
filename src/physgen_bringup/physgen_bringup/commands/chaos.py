# SPDX-License-Identifier: Apache-2.0
"""`physgen chaos`: inject hazards into a live graph and measure how soon it notices and rests."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from physgen_bringup.chaos.row import FAKE, GRAPHS, find_rows
from physgen_control.program.command_parser import CommandParser, add_json, add_out


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = CommandParser(
        prog="physgen chaos",
        description="Start a graph, bring the arm to motion, inject one hazard after the other, and compare the times "
        "to detection and to rest with their bounds. Exit status 1 if a row fails.",
        epilog="docs/chaos.md shows the results of one machine. A busy machine is late and fails rows: run it alone.",
        examples=("physgen chaos --list", "physgen chaos --row 1-5 --repeat 1 --json runs/chaos.json"),
        old_names={"--folder": "--out"},
    )
    parser.add_argument(
        "--graph", choices=GRAPHS, default=FAKE,
        help="fake: the code path of the real arm; maniskill: a simulator in real time; learned: with the shipped "
        "policy and its cameras (default %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="N|NAME",
        help="only this row, or rows N-M (may be repeated)",
    )
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="repetitions of every row")
    add_json(parser)
    parser.add_argument("--list", action="store_true", help="print the rows of the graph and end")
    add_out(parser, "logs of the nodes (default: a temporary folder)", type=Path)
    parser.add_argument(
        "--page", type=Path, metavar="FILE", help="write the page of the files given by --from"
    )
    parser.add_argument("--from", dest="sources", type=Path, nargs="+", default=[], metavar="FILE",
                        help="results for --page, written by --json")  # fmt: skip
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """List, run, or write the page; return the exit status.

    Raises:
        UserError: An argument cannot be used.
    """
    options = build_parser().parse_args(arguments)
    from physgen_control.errors import UserError

    if options.page:
        return _write_page(options)
    if options.sources:
        raise UserError("--from belongs to --page FILE")
    if options.repeat < 1:
        raise UserError(f"--repeat must be at least 1, got {options.repeat}")
    table = importlib.import_module("physgen_bringup.chaos.nodes.table")
    try:
        rows = find_rows(table.ROWS, options.graph, options.row)
    except KeyError as error:
        raise UserError(
            f"the graph {options.graph} has no row {error.args[0]!r}; --list shows its rows"
        ) from error
    if options.list:
        for row in rows:
            print(f"{row.number:>3} {row.name:<30} {row.hazard}")
        return 0
    return _run(options, table, rows)


def _run(options: argparse.Namespace, table: Any, rows: list[Any]) -> int:
    from physgen_bringup.chaos.report import line, summary, to_json
    from physgen_bringup.results.provenance import describe_environment
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.program.progress import Progress

    course = Progress()
    date = datetime.now().astimezone().strftime("%Y-%m-%d")
    done: list[Any] = []

    def progress(result: Any) -> None:
        course.say(line(result))
        done.append(result)
        stage.update(completed=len(done))
        if options.json:  # after every row, so that an interrupted run keeps its results
            values = to_json(done, describe_environment(), date)
            write_atomically(options.json, json.dumps(values, indent=1, allow_nan=False) + "\n")

    folder = options.out or Path(tempfile.mkdtemp(prefix="physgen_chaos_"))
    course.say(f"{len(rows)} rows on the graph {options.graph}; logs of its nodes are in {folder}")
    with course.stage("hazards", len(rows)) as stage:
        table.run_rows(options.graph, rows, folder=folder.resolve(), repeat=options.repeat, progress=progress)
    print(summary(done))
    return int(any(result.verdict == "failed" for result in done))


def _write_page(options: argparse.Namespace) -> int:
    from physgen_bringup.chaos.page import page
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.errors import UserError

    if not options.sources:
        raise UserError("--page needs the results to show: --from FILE...")
    try:
        runs = [json.loads(path.read_text()) for path in options.sources]
        text = page(runs)
    except (OSError, ValueError) as error:
        raise UserError(f"the page cannot be written: {error}") from error
    write_atomically(options.page, text)
    print(f"wrote {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
