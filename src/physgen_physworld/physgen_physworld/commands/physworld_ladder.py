# SPDX-License-Identifier: Apache-2.0
"""`physgen physworld ladder`: ways to act on ever less perfect tracks, on the same seeds."""

from __future__ import annotations

from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser
from physgen_control.program.progress import Progress
from physgen_physworld.commands.seed_range import seed_range


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="physgen physworld ladder",
        description="Compare ways to act on ever less perfect tracks, on the same seeds. Trials that are in the file "
        "are not repeated.",
        examples=(
            "physgen physworld ladder --seeds 1000:50 --rungs truth,oracle --out ladder.json",
            "physgen physworld ladder --seeds 1000:50 --rungs generated,wrong --generator CHECKPOINT --out ladder.json",
        ),
    )
    parser.add_argument("--tasks", default="PushCube-v1,PickCube-v1,StackCube-v1", help="comma separated")
    parser.add_argument("--seeds", default="1000:10", metavar="FIRST:COUNT", help="which")
    parser.add_argument(
        "--rungs",
        default="truth,oracle,oracle-arm",
        help="comma separated: truth, oracle, oracle-arm, noise-5-0, noise-10-10, noise-20-20 (errors in mm and "
        "degrees), generated, wrong (generated for another scene)",
    )
    parser.add_argument("--generator", type=Path, metavar="DIR", help="checkpoint of a video model")
    parser.add_argument(
        "--residual", type=Path, metavar="FILE", help="a trained residual as a third way to act"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON to write")
    return parser


def main(arguments: list[str]) -> int:
    """Run the ladder.

    Raises:
        UserError: a task, rung or file that is named cannot be used.
    """
    options = build_parser().parse_args(arguments)
    seeds = seed_range(options.seeds)

    from physgen_physworld.execution.ladder import (
        EXECUTIONS,
        ladder_text,
        read_ladder,
        run_rungs,
        summarize,
        write_ladder,
    )
    from physgen_physworld.execution.residual_policy import ResidualPolicy
    from physgen_physworld.execution.rungs import NEED_GENERATOR, RUNGS, RungScenes
    from physgen_physworld.residual.network import load_residual
    from physgen_physworld.video.generated import VideoGenerator
    from physgen_sim_bridge.maniskill.tasks import TASKS
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    tasks, rungs = options.tasks.split(","), options.rungs.split(",")
    if unknown := sorted(set(tasks) - set(TASKS)) + sorted(set(rungs) - set(RUNGS)):
        raise UserError(f"There is no task or rung {unknown[0]!r}; there are {', '.join((*TASKS, *RUNGS))}.")
    if NEED_GENERATOR & set(rungs) and options.generator is None:
        raise UserError("Generated videos need a video model: add --generator CHECKPOINT.")
    executions = dict(EXECUTIONS)
    if options.residual is not None:
        network = load_residual(options.residual)
        executions["residual"] = lambda goals: ResidualPolicy(goals, network)
    progress = Progress()
    progress.say(f"Results go to {options.out}")
    generator = None if options.generator is None else VideoGenerator(options.generator)
    trials = read_ladder(options.out)
    for task in tasks:
        world = ManiSkillWorld(task, image_size=256)
        scenes = RungScenes(world, task, generator)
        for seed in seeds:
            there = {
                (trial.rung, trial.execution) for trial in trials if (trial.task, trial.seed) == (task, seed)
            }
            fresh = []
            for rung in rungs:
                missing = {name: make for name, make in executions.items() if (rung, name) not in there}
                fresh += run_rungs(scenes, seed, [rung], missing) if missing else []
            trials += fresh
            won = ", ".join(
                f"{trial.rung}/{trial.execution} {'yes' if trial.success else 'no'}" for trial in fresh
            )
            progress.say(f"{task} seed {seed}: {won or 'is done already'}")
            write_ladder(trials, options.out)  # after each seed: what is measured is not lost
        world.close()
    progress.result(ladder_text(summarize(trials)))
    return 0
