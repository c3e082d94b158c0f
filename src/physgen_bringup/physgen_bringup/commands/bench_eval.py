# SPDX-License-Identifier: Apache-2.0
"""`physgen bench eval`: steps per second of evaluation with one worker and with all, beside the bare simulator."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

from physgen_control.program.command_parser import CommandParser, add_json, add_workers


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench eval",
        description="Steps per second of evaluation with one worker and with all, and of the bare simulator in one "
        "process, in one run. Start-up is not counted.",
        examples=("physgen bench eval --policy expert --episodes 20 --workers 2",),
    )
    parser.add_argument("--sim", default="maniskill", help="simulator")
    parser.add_argument("--task", default="PushCube-v1", help="environment id")
    parser.add_argument("--policy", default="physgen", choices=("physgen", "expert"), help="whose episodes")
    parser.add_argument("--episodes", type=int, default=40, help="episodes per measurement")
    add_workers(parser, "of the parallel runs (default: one per core)", default=0)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind")
    add_json(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON if asked to."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.bench.evaluation import run, table
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.program.progress import Progress

    progress = Progress()
    progress.say(f"Measuring the evaluation of {options.task}, {options.rounds} rounds")
    with progress.stage(f"bench eval {options.task}") as stage:
        result = run(
            sim=options.sim,
            task=options.task,
            policy=options.policy,
            episodes=options.episodes,
            workers=options.workers or os.cpu_count() or 1,
            rounds=options.rounds,
            doing=lambda what: stage.update(info=what),
        )
    progress.result(table(result))
    if options.json:
        rates = {"bare": result.bare, "serial": result.serial, "parallel": result.parallel}
        write_atomically(options.json, json.dumps(asdict(result) | rates, indent=1) + "\n")
    words = ("--sim", options.sim, "--task", options.task, "--policy", options.policy)
    progress.next("./physgen", "eval", *words, "--out", "runs/eval")
    return 0
