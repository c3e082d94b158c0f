# SPDX-License-Identifier: Apache-2.0
"""`physgen convert BAGS... --out DATASET`: bags to a training or a LeRobot dataset, or LeRobot to training dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from physgen_control.program.command_parser import CommandParser, add_out
from physgen_control.program.progress import Progress

if TYPE_CHECKING:
    from physgen_policy.data.bags_to_dataset import Conversion
    from physgen_policy.data.bags_to_lerobot import LerobotConversion

FORMATS = ("physgen", "lerobot")


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen convert",
        description="Recorded bags to a training dataset or to a LeRobot dataset; a LeRobot dataset to a training "
        "dataset.",
        examples=(
            "physgen convert bags/pushcube --out datasets/pushcube",
            "physgen convert bags/pushcube --format lerobot --out datasets/pushcube-lerobot",
            "physgen convert lerobot/drawer --camera fixed=observation.images.front --out datasets/drawer",
        ),
    )
    parser.add_argument(
        "bags", nargs="+", type=Path, help="bag folders, folders that contain bags, or one LeRobot dataset"
    )
    add_out(
        parser,
        "dataset folder; the own format keeps existing episodes, the other needs a new folder",
        required=True,
        type=Path,
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="physgen",
        help="physgen: for `physgen train`; lerobot: a LeRobot v3.0 dataset (default physgen)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=0,
        help="side of each view in pixels (default: 128, lerobot: as recorded)",
    )
    parser.add_argument(
        "--images",
        choices=("video", "png"),
        default="video",
        help="lerobot: how images are kept (default video)",
    )
    foreign = parser.add_argument_group("from a LeRobot dataset (v3.0)")
    foreign.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="CAMERA=NAME",
        help="feature of the camera fixed or wrist (default observation.images.fixed and .wrist); may be repeated",
    )
    foreign.add_argument(
        "--trust-actions",
        action="store_true",
        help="the actions are steps of the hand [m, rad] in the base frame and a gripper of +1 open to -1 closed, "
        "whatever their names say",
    )
    foreign.add_argument("--task", default="", help="name of the task (default: each episode's instruction)")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="control rate of the recordings in Hz (default 20)"
    )
    return parser


def main(argv: list[str]) -> int:
    """Convert every successful bag; say which were left out and why."""
    options = build_parser().parse_args(argv)
    progress = Progress()
    progress.say(f"Converting {' '.join(map(str, options.bags))} into {options.out}")
    run = _to_lerobot if options.format == "lerobot" else _to_dataset
    with progress.stage("reading the bags"):
        done = run(options, progress)
    progress.say("\n".join(done.lines(options.out)))
    done.report.check()
    name = options.out.name
    if options.format == "lerobot":
        progress.next("./physgen", "peer-train", options.out, "--out", f"runs/{name}-act")
    else:
        words = ("--finetune", _start_for(options.out), "--dataset", options.out)
        progress.next("./physgen", "train", *words, "--out", f"runs/{name}")
    return 0


def _start_for(dataset: Path) -> str:
    """The shipped checkpoint of the dataset's task, or else the first one, to fine-tune."""
    from physgen_control.errors import UserError
    from physgen_policy.checkpoint import resolve_checkpoint
    from physgen_policy.data.dataset import Dataset

    try:
        return resolve_checkpoint("", Dataset(dataset).embodiment.tasks[0]).name
    except (UserError, IndexError):
        return "pushcube-tiny"


def _to_dataset(options: argparse.Namespace, progress: Progress) -> Conversion:
    from physgen_policy.data.bags_to_dataset import convert_bags

    size = options.image_size or 128
    if any((folder / "meta" / "info.json").is_file() for folder in options.bags):
        return _from_lerobot(options, size, progress)
    return convert_bags(
        options.bags,
        options.out,
        view=(size, size),
        rate_hz=options.rate,
        track=lambda bags: progress.track(bags, "converting"),
    )


def _from_lerobot(options: argparse.Namespace, size: int, progress: Progress) -> Conversion:
    from importlib.util import find_spec

    from physgen_control.errors import UserError

    if len(options.bags) > 1:
        raise UserError("a LeRobot dataset is converted alone: name one folder")
    if find_spec("pyarrow") is None:
        raise UserError("a LeRobot dataset needs pyarrow, which `./physgen setup --lerobot` installs")
    from physgen_policy.data.lerobot_to_dataset import convert_lerobot

    cameras = dict(word.partition("=")[::2] for word in options.camera)
    if unknown := sorted(set(cameras) - {"fixed", "wrist"}):
        raise UserError(f"--camera names {', '.join(unknown)}, expected fixed=NAME or wrist=NAME")
    return convert_lerobot(
        options.bags[0],
        options.out,
        view=(size, size),
        cameras=cameras,
        trust_actions=options.trust_actions,
        task=options.task,
        track=lambda numbers: progress.track(numbers, "converting"),
    )


def _to_lerobot(options: argparse.Namespace, progress: Progress) -> LerobotConversion:
    from physgen_policy.data.bags_to_lerobot import convert_bags_to_lerobot

    return convert_bags_to_lerobot(
        options.bags,
        options.out,
        rate_hz=options.rate,
        images=options.images,
        image_size=options.image_size,
        track=lambda bags: progress.track(bags, "converting"),
    )


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
