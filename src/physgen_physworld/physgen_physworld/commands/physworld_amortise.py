# SPDX-License-Identifier: Apache-2.0
"""`physgen physworld amortise`: one residual for all scenes of a task."""

from __future__ import annotations

import time
from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser
from physgen_control.program.progress import Progress
from physgen_physworld.commands.seed_range import seed_range


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="physgen physworld amortise",
        description="Learn one residual for all scenes of a task, in twins of many of them. What their objects shall "
        "do is what the expert did with them; its arm and actions are not used.",
        examples=(
            "physgen physworld amortise --task StackCube-v1 --steps 300000 --out residual.safetensors",
        ),
    )
    parser.add_argument("--task", required=True, help="a ManiSkill task")
    parser.add_argument("--seeds", default="2000000:100", metavar="FIRST:COUNT", help="of the scenes")
    parser.add_argument("--steps", type=int, default=300_000, help="of all twins together")
    parser.add_argument("--twins", type=int, default=32, help="worlds side by side")
    parser.add_argument("--rl-seed", type=int, default=0, help="of the training")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the residual to write")
    return parser


def main(arguments: list[str]) -> int:
    """Learn and write the residual.

    Raises:
        UserError: there is no such task, or no scene that the expert solves.
    """
    options = build_parser().parse_args(arguments)
    seeds = seed_range(options.seeds)

    from physgen_physworld.execution.situations import expert_situations
    from physgen_physworld.residual.environment import Randomization
    from physgen_physworld.residual.training import TrainingConfig, train_residual
    from physgen_sim_bridge.maniskill.tasks import TASKS

    if options.task not in TASKS:
        raise UserError(
            f"There is no ManiSkill task {options.task!r} here; choose one of {', '.join(TASKS)}."
        )
    progress = Progress()
    progress.say(f"The residual goes to {options.out}")
    situations = []
    with progress.stage("scenes", len(seeds)) as stage:
        for situation in expert_situations(options.task, seeds):
            situations += [] if situation is None else [situation]
            stage.update(advance=1)
    if not situations:
        raise UserError(f"The expert solves none of the scenes {options.seeds} of {options.task}.")
    config = TrainingConfig(steps=options.steps, twins=options.twins, seed=options.rl_seed)
    begun = time.monotonic()
    with progress.stage("residual", options.steps) as stage:
        trained = train_residual(
            situations,
            config,
            Randomization(),
            lambda steps, reward: stage.update(completed=steps, info=f"mean reward {reward:.2f}"),
        )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    trained.network.save(options.out)
    first, last = trained.rewards[0], trained.rewards[-1]
    progress.result(
        f"{options.out}: {trained.steps} steps in {len(situations)} scenes, {time.monotonic() - begun:.0f} s, "
        f"mean reward {first:.2f} at first and {last:.2f} in the end"
    )
    progress.next("./physgen", "physworld", "ladder", "--residual", options.out, "--out", "ladder.json")
    return 0
