# SPDX-License-Identifier: Apache-2.0
"""`physgen view`: what is in a bag or a run, as a table, a video or in the viewer."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_line import run_command
from physgen_control.program.command_parser import CommandParser, add_out, file_to_write


def build_parser() -> CommandParser:
    """Return the command line; standard library only."""
    parser = CommandParser(
        prog="physgen view",
        description="Show what is in a bag, a folder of bags or a run, as a table, a video or in the viewer.",
        examples=(
            "physgen view bags/pushcube --seed 10003",
            "physgen view runs/demo/bags --viewer rerun_web",
        ),
    )
    parser.add_argument(
        "path", type=Path, help="a bag, a folder of bags, a run, or an .rrd file of the viewer"
    )
    add_out(
        parser,
        "the video (default: NAME.mp4 next to the folder)",
        type=file_to_write(".mp4", ".mkv", ".mov"),
        metavar="FILE",
    )
    parser.add_argument("--seed", type=int, help="only the bags of this seed")
    parser.add_argument("--limit", type=int, default=10, help="episodes in the video")
    parser.add_argument("--no-video", action="store_true", help="print the table only")
    parser.add_argument(
        "--viewer",
        nargs="?",
        const="rerun",
        choices=("rerun", "rerun_web", "file"),
        help="look at the episodes in Rerun instead of a video: in a window (default), in a browser on this computer, "
        "or write NAME.rrd for later; a window becomes a file where there is no display",
    )
    parser.add_argument(
        "--rerun", dest="viewer", action="store_const", const="rerun", help="the same as --viewer rerun"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Raises:
        UserError: There is no bag, or none that can be shown.
    """
    options = build_parser().parse_args(arguments)
    from physgen_control.program.progress import Progress

    progress = Progress()
    if options.path.suffix == ".rrd":
        from physgen_bringup.viewer.looking import look_at_file

        return look_at_file(options.path, options.viewer or "rerun", os.environ, progress.result)
    if options.viewer is not None:
        from physgen_bringup.viewer.window import require_installed

        require_installed()  # before anything is read
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

    with progress.stage(f"reading {options.path}"):
        bags, left_out = readable_bags(options.path)
    for reason in left_out:
        progress.result(f"left out: {reason}")
    if options.seed is not None:
        bags = [bag for bag in bags if bag.seed == options.seed]
    if not bags:
        of_seed = "" if options.seed is None else f" of seed {options.seed}"
        raise UserError(f"{options.path} holds no finished bag that can be read{of_seed}.")
    if len(bags) == 1:
        parts = [bag_heading(bags[0]), audit_text(bags[0]), topic_table(bags[0])]
        progress.result("\n\n".join(part for part in parts if part))
    else:
        progress.result(run_table(bags))
    # Who looks in the viewer needs no video, but gets the one that is named.
    if not options.no_video and (options.viewer is None or options.out is not None):
        folder = options.path.resolve()
        out = options.out or folder.with_name(f"{folder.name}.mp4")
        with progress.stage(f"drawing {out}"):
            video = write_video(drawable(bags, max(1, options.limit), progress.result), out)
        progress.result(f"\nVideo: {video}")
    status = 0
    if options.viewer is not None:
        from physgen_bringup.viewer.looking import look_at_bags

        shown = bags[: max(1, options.limit)]
        status = look_at_bags(shown, options.viewer, os.environ, progress.result)
    progress.next("./physgen", "convert", options.path, "--out", f"datasets/{options.path.resolve().name}")
    return status


if __name__ == "__main__":
    sys.exit(run_command("physgen view", main, sys.argv[1:]))
