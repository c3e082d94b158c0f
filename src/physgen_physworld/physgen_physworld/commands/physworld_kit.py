# SPDX-License-Identifier: Apache-2.0
"""`physgen physworld kit`: everything that `policy:=physworld` needs at one camera, in one folder."""

from __future__ import annotations

from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.program.command_parser import CommandParser
from physgen_control.program.progress import Progress


def build_parser() -> CommandParser:
    """Return the parser."""
    parser = CommandParser(
        prog="physgen physworld kit",
        description="Put the video model, the camera and how to act into one folder, for policy:=physworld.",
        examples=(
            "physgen physworld kit runs/kit --task StackCube-v1 --generator CHECKPOINT",
            "physgen physworld kit runs/kit --camera camera.yaml --generator CHECKPOINT",
        ),
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the kit's folder")
    parser.add_argument(
        "--generator", type=Path, required=True, metavar="DIR", help="checkpoint of a video model"
    )
    parser.add_argument("--task", default="", help="a ManiSkill task, whose fixed camera it is for")
    parser.add_argument(
        "--camera", type=Path, metavar="FILE", help="camera.yaml of a camera of your own instead"
    )
    parser.add_argument(
        "--how",
        choices=("residual", "base", "naive"),
        default="base",
        help="base and residual, the base alone, or naive retargeting",
    )
    parser.add_argument(
        "--residual", type=Path, metavar="FILE", help="a trained residual, for --how residual"
    )
    return parser


def main(arguments: list[str]) -> int:
    """Write the kit.

    Raises:
        UserError: something that is named cannot be used.
    """
    options = build_parser().parse_args(arguments)

    from physgen_physworld.policy.kit import write_kit
    from physgen_physworld.video.camera_file import read_camera
    from physgen_physworld.video.oracle import maniskill_camera
    from physgen_physworld.video.view import OBJECT_VIEW
    from physgen_sim_bridge.maniskill.tasks import TASKS

    if (options.camera is None) == (not options.task):
        raise UserError("A kit is for one camera: give --task TASK or --camera FILE.")
    if options.task and options.task not in TASKS:
        raise UserError(
            f"There is no ManiSkill task {options.task!r} here; choose one of {', '.join(TASKS)}."
        )
    camera = (
        maniskill_camera(options.task, OBJECT_VIEW.height) if options.task else read_camera(options.camera)
    )
    write_kit(options.folder, camera, options.generator, options.how, options.residual)
    progress = Progress()
    progress.result(f"kit: {options.folder}")
    task = [f"task:={options.task}", "sim:=maniskill"] if options.task else []
    progress.next("./physgen", "launch", "policy:=physworld", f"checkpoint:={options.folder}", *task)
    return 0
