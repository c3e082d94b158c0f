# SPDX-License-Identifier: Apache-2.0
"""`physgen bench anomaly`: how well the error of expected frames tells that something happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_json

OUTPUT = Path("runs") / "bench"


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench anomaly",
        description="Run a policy that imagines the frame it expects after every chunk, undisturbed and with an event "
        "in the middle of a chunk (object moved by 5 cm, held object slipped, fixed camera's picture off by 5 pixels, "
        "light dimmed by 30 %). The area under the ROC curve of the frame's error, and the curves as a picture.",
        examples=("physgen bench anomaly --task PushCube-v1 --episodes 30",),
    )
    parser.add_argument("--sim", default="maniskill", help="simulator")
    parser.add_argument("--task", default="PushCube-v1", help="environment id")
    parser.add_argument("--checkpoint", default="", help="default: the one shipped for the task")
    parser.add_argument(
        "--episodes", type=int, default=30, help="seeds; each runs once more per kind of event"
    )
    parser.add_argument("--seed", type=int, default=1_500_000, help="seed of the first episode")
    parser.add_argument(
        "--events", default="", help="kinds, separated by commas (default: all that can happen)"
    )
    add_json(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit status.

    Raises:
        UserError: An argument cannot be used.
    """
    options = build_parser().parse_args(arguments)
    from physgen_bringup.bench import anomaly
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress
    from physgen_policy.checkpoint import resolve_checkpoint
    from physgen_sim_bridge.perturbation.event import KINDS, possible_kinds
    from physgen_sim_bridge.registry import make_world

    named = tuple(kind for kind in options.events.split(",") if kind)
    if unknown := [kind for kind in named if kind not in KINDS]:
        raise UserError(f"--events: there is no {unknown[0]}; an event is one of {', '.join(KINDS)}")
    if options.episodes < 1:
        raise UserError(f"--episodes must be at least 1, got {options.episodes}")
    checkpoint = resolve_checkpoint(options.checkpoint, options.task)
    spec = anomaly.spec_for(options.sim, options.task, checkpoint, options.episodes, options.seed)
    progress = Progress()
    path = options.json or OUTPUT / f"anomaly-{options.task}.json"
    progress.say(f"{options.episodes} seeds of {options.task} with {checkpoint.name}; numbers go to {path}")
    with progress.stage("policy and world"):
        world = make_world(spec.sim, spec.task, render=True)
        policy = anomaly.policy_for(checkpoint, spec, world.spec.robot, world.spec.control_period_ns / 1e9)
    kinds = named or possible_kinds(world)
    with progress.stage("episodes", total=options.episodes * (1 + len(kinds))) as stage:
        found = anomaly.measure(
            spec, policy, kinds, world=world, done=lambda what: stage.update(advance=1, info=what)
        )
    seeds = [trial.seed for trial in spec.trials]
    values = {"task": spec.task, "checkpoint": policy.policy_id, "seeds": seeds, **found.values()}
    progress.result(anomaly.table(values))
    write_atomically(path, json.dumps(values, indent=1) + "\n")
    picture = path.with_suffix(".png")
    anomaly.draw(values, picture)
    progress.say(f"numbers: {path}, curves: {picture}")
    progress.next("./physgen", "bench", "video", "--checkpoint", str(checkpoint.name), "--dataset", "DATASET")
    return 0
