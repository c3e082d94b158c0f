# SPDX-License-Identifier: Apache-2.0
"""`physgen bench viewer`: what a viewer that looks on costs a chunk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from physgen_control.program.command_parser import CommandParser, add_json


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench viewer",
        description="The same episodes through the graph with and without a viewer, in alternation: time from the "
        "observation to its chunk. The viewer draws into Rerun's server, and nobody looks.",
        examples=("physgen bench viewer --task PushCube-v1 --json runs/viewer.json",),
    )
    parser.add_argument("--sim", default="maniskill", help="simulator")
    parser.add_argument("--task", default="", help="environment id (default: the simulator's first task)")
    parser.add_argument("--policy", default="physgen", choices=("physgen", "expert"), help="who acts")
    parser.add_argument("--checkpoint", default="", help="default: the one shipped for the task")
    parser.add_argument("--episodes", type=int, default=5, help="episodes per run")
    parser.add_argument("--seed", type=int, default=1_000_000, help="seed of the first episode")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each kind")
    add_json(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON if asked to."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.bench.viewer import VARIANTS, run, table
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.program.progress import Progress

    given = {"sim": options.sim, "task": options.task, "policy": options.policy}
    given |= {"checkpoint": options.checkpoint, "episodes": options.episodes, "seed": options.seed}
    words = [f"{name}:={value}" for name, value in given.items() if value != ""]
    checked = check_arguments(parse_arguments([*words, "viewer:=rerun_web"]))
    progress = Progress()
    progress.say(f"Measuring {checked.task}, {options.rounds} rounds of {options.episodes} episodes")
    with progress.stage(f"bench viewer {checked.task}") as stage:
        result = run(checked, options.rounds, lambda what: stage.update(info=what))
    progress.result(table(result))
    if options.json:
        shares = {variant: result.share(variant) for variant in VARIANTS}
        values = asdict(result) | {"shares": shares}
        write_atomically(options.json, json.dumps(values, indent=1) + "\n")
    progress.next("./physgen", "launch", f"task:={checked.task}", "viewer:=rerun")
    return 0
