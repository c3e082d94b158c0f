# SPDX-License-Identifier: Apache-2.0
"""`physgen convert BAGS... --out DATASET`: recorded bags to a training dataset, or to a LeRobot dataset."""

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
        description="Recorded bags to a training dataset, or to a LeRobot dataset.",
        examples=(
            "physgen convert bags/pushcube --out datasets/pushcube",
            "physgen convert bags/pushcube --format lerobot --out datasets/pushcube-lerobot",
        ),
    )
    parser.add_argument("bags", nargs="+", type=Path, help="bag folders, or folders that contain bags")
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
    return convert_bags(
        options.bags,
        options.out,
        view=(size, size),
        rate_hz=options.rate,
        track=lambda bags: progress.track(bags, "converting"),
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
