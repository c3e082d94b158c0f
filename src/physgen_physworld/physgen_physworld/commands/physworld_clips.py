# SPDX-License-Identifier: Apache-2.0
"""`physgen physworld clips`: a dataset of objects that move by themselves, for a video model."""

from __future__ import annotations

from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser
from physgen_control.program.progress import Progress
from physgen_physworld.commands.seed_range import seed_range


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="physgen physworld clips",
        description="Film objects that move by themselves: the expert moves them, and neither its arm nor its actions "
        "are in the clips. A video model learns from them (config/train/object_video.yaml). Clips that are there are "
        "not filmed again.",
        examples=(
            "physgen physworld clips --task StackCube-v1 --seeds 1000000:750 --out datasets/StackCube-v1-clips",
        ),
    )
    parser.add_argument("--task", required=True, help="a ManiSkill task")
    parser.add_argument("--seeds", default="1000000:500", metavar="FIRST:COUNT", help="of the scenes")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the dataset's folder")
    return parser


def main(arguments: list[str]) -> int:
    """Film the clips.

    Raises:
        UserError: there is no such task, or the folder is no dataset of clips.
    """
    options = build_parser().parse_args(arguments)
    seeds = seed_range(options.seeds)

    from physgen_physworld.video.clip_dataset import ClipDataset
    from physgen_physworld.video.object_clips import film_objects
    from physgen_physworld.video.source import VideoError
    from physgen_physworld.video.view import OBJECT_VIEW
    from physgen_sim_bridge.maniskill.tasks import TASKS
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    if options.task not in TASKS:
        raise UserError(
            f"There is no ManiSkill task {options.task!r} here; choose one of {', '.join(TASKS)}."
        )
    progress = Progress()
    progress.say(f"Clips go to {options.out}")
    dataset = ClipDataset(options.out)
    missing = [seed for seed in seeds if not dataset.holds(options.task, seed)]
    unsolved = 0
    if missing:
        with progress.stage("opening the simulator"):
            world = ManiSkillWorld(options.task, image_size=OBJECT_VIEW.height)
        try:
            for seed in progress.track(missing, options.task):
                try:
                    dataset.add(film_objects(world, options.task, seed))
                except VideoError:
                    unsolved += 1
        finally:
            world.close()
            if len(dataset):
                dataset.finish()
    progress.result(
        f"{len(dataset)} clips in {options.out}; {unsolved} scenes that the expert does not solve"
    )
    progress.next("./physgen", "train", "src/physgen_policy/physgen_policy/config/train/object_video.yaml")
    return 0
