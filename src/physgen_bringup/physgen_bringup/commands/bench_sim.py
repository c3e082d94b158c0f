# SPDX-License-Identifier: Apache-2.0
"""`physgen bench sim`: how much of the simulator's native speed is left through the bridge in lockstep."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from physgen_control.program.command_parser import CommandParser, add_json


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench sim",
        description="Steps per second of the bare simulator, of our world in one process, and of the bridge over "
        "ROS in lockstep with a policy that answers at once; the same two cameras, medians over rounds.",
        examples=("physgen bench sim --task PickCube-v1 --rounds 5 --json runs/sim.json",),
    )
    parser.add_argument("--sim", default="maniskill", help="simulator")
    parser.add_argument("--task", default="PushCube-v1", help="environment id")
    parser.add_argument("--image-size", type=int, default=128, help="side of a camera's image [pixels]")
    parser.add_argument("--steps", type=int, default=60, help="control steps per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind")
    add_json(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON if asked to."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.bench.sim import run, table
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.program.progress import Progress

    progress = Progress()
    progress.say(f"Measuring {options.sim} {options.task}, {options.rounds} rounds of {options.steps} steps")
    with progress.stage(f"bench sim {options.task}") as stage:
        result = run(
            sim=options.sim,
            task=options.task,
            image_size=options.image_size,
            steps=options.steps,
            rounds=options.rounds,
            doing=lambda what: stage.update(info=what),
        )
    progress.result(table(result))
    if options.json:
        write_atomically(options.json, json.dumps(asdict(result), indent=1) + "\n")
    progress.next("./physgen", "bench", "eval", "--sim", options.sim, "--task", options.task)
    return 0
