# SPDX-License-Identifier: Apache-2.0
"""`physgen view`: what is in a bag or a run, as a table and a video."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_line import run_command
from physgen_control.program.command_parser import CommandParser, add_out


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen view",
        description="Show what is in a bag, a folder of bags or a run, as a table and a video.",
        examples=("physgen view bags/pushcube --seed 10003", "physgen view runs/demo/bags --no-video"),
    )
    parser.add_argument("path", type=Path, help="a bag, a folder of bags or a run")
    add_out(parser, "the video (default: NAME.mp4 next to the folder)", type=Path, metavar="FILE")
    parser.add_argument("--seed", type=int, help="only the bags of this seed")
    parser.add_argument("--limit", type=int, default=10, help="episodes in the video")
    parser.add_argument("--no-video", action="store_true", help="print the table only")
    parser.add_argument("--rerun", action="store_true", help="open the bag in the Rerun viewer, if installed")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; bad input raises UserError."""
    options = build_parser().parse_args(arguments)
    from physgen_bringup.pictures.bag_tables import (
        audit_text,
        bag_heading,
        drawable,
        readable_bags,
        run_table,
        topic_table,
    )
    from physgen_bringup.pictures.pictures import write_video
    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress

    progress = Progress()
    with progress.stage(f"reading {options.path}"):
        bags, left_out = readable_bags(options.path)
    print("".join(f"left out: {reason}\n" for reason in left_out), end="")
    if options.seed is not None:
        bags = [bag for bag in bags if bag.seed == options.seed]
    if not bags:
        of_seed = "" if options.seed is None else f" of seed {options.seed}"
        raise UserError(f"{options.path} holds no finished bag that can be read{of_seed}.")
    if len(bags) == 1:
        parts = [bag_heading(bags[0]), audit_text(bags[0]), topic_table(bags[0])]
        print("\n\n".join(part for part in parts if part), flush=True)
    else:
        print(run_table(bags), flush=True)
    if not options.no_video:
        folder = options.path.resolve()
        out = options.out or folder.with_name(f"{folder.name}.mp4")
        with progress.stage(f"drawing {out}"):
            video = write_video(drawable(bags, max(1, options.limit), progress.result), out)
        print(f"\nVideo: {video}", flush=True)
    status = _open_rerun(bags[0].path) if options.rerun else 0
    progress.next("./physgen", "convert", options.path, "--out", f"datasets/{options.path.resolve().name}")
    return status


def _open_rerun(bag: Path) -> int:
    from physgen_control.errors import UserError

    viewer = shutil.which("rerun")
    if viewer is None:
        raise UserError("The Rerun viewer is not installed: `pip install rerun-sdk`, or leave --rerun out.")
    return subprocess.run([viewer, *map(str, sorted(bag.glob("*.mcap")))], check=False).returncode


if __name__ == "__main__":
    sys.exit(run_command("physgen view", main, sys.argv[1:]))
