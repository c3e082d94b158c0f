# SPDX-License-Identifier: Apache-2.0
"""`physgen camera reference BAGS` and `physgen camera check`: has somebody bumped the fixed camera?"""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_out
from physgen_control.program.progress import Progress

VERBS = ("reference", "check")
LIMIT_PX = 3.0


def build_parser(verb: str = "") -> CommandParser:
    """The command line of a verb, or of the command; standard library only."""
    examples = {
        "reference": "physgen camera reference bags/drawer --out cell/reference.png",
        "check": "physgen camera check --reference cell/reference.png --bag bags/today/episode --out apart.png",
    }
    told = {
        "": "Whether the fixed camera still stands where it stood in the demonstrations.",
        "reference": "Make a reference picture of demonstrations: the median of what the fixed camera saw first.",
        "check": "Compare a picture of the fixed camera with the reference; status 1 if it has moved.",
    }
    shown = [examples[verb]] if verb else list(examples.values())
    parser = CommandParser(prog=f"physgen camera {verb}".strip(), description=told[verb], examples=shown)
    if not verb:
        parser.add_argument("verb", choices=VERBS, help="what to do")
    elif verb == "reference":
        parser.add_argument("bags", nargs="+", type=Path, help="recordings, or folders that contain some")
        add_out(parser, "the picture to write (PNG)", required=True, type=Path)
        parser.add_argument(
            "--size", type=int, default=128, help="side of the picture in pixels (default 128)"
        )
    else:
        parser.add_argument("--reference", required=True, type=Path, help="picture made by `reference`")
        seen = parser.add_mutually_exclusive_group(required=True)
        seen.add_argument("--bag", type=Path, help="a recording, whose first picture is compared")
        seen.add_argument("--picture", type=Path, help="a picture file of the fixed camera")
        add_out(parser, "write reference, picture and their difference here (PNG)", type=Path)
        parser.add_argument(
            "--limit", type=float, default=LIMIT_PX, help=f"pixels of the reference (default {LIMIT_PX:g})"
        )
    return parser


def main(arguments: list[str]) -> int:
    """Run a verb; return 1 if the camera has moved."""
    if not arguments or arguments[0] not in VERBS:
        build_parser().parse_args(arguments)
        return 2
    options = build_parser(arguments[0]).parse_args(arguments[1:])
    return _reference(options) if arguments[0] == "reference" else _check(options)


def _reference(options: argparse.Namespace) -> int:
    from PIL import Image

    from physgen_policy.data.bag_choice import choose_bags
    from physgen_policy.data.reference_picture import reference_picture
    from physgen_policy.runtime.camera_check import CAMERA

    progress = Progress()
    with progress.stage("reading the recordings"):
        choice = choose_bags(options.bags)
        picture, left_out = reference_picture(list(choice.bags), CAMERA, (options.size, options.size))
    for reason in [*choice.left_out, *left_out]:
        progress.say(f"left out: {reason}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(options.out)
    progress.say(f"wrote {options.out}")
    progress.next("./physgen", "launch", f"camera_reference:={options.out}", "sim:=none", "robot_ip:=ADDRESS")
    return 0


def _check(options: argparse.Namespace) -> int:
    from PIL import Image

    from physgen_control.bags.reader import read_episode
    from physgen_control.errors import UserError
    from physgen_policy.runtime.camera_check import CAMERA, CameraCheck, read_picture

    progress = Progress()
    if options.picture is not None:
        picture = read_picture(options.picture)
    else:
        images = read_episode(options.bag).images
        if CAMERA not in images or not len(images[CAMERA]):
            raise UserError(f"{options.bag} has no picture of the {CAMERA} camera")
        picture = images[CAMERA].rgb(0)
    check = CameraCheck(read_picture(options.reference), options.limit)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(check.difference(picture)).save(options.out)
        progress.say(f"wrote {options.out}: reference, picture, difference")
    complaint = check.complaint(picture)
    found = check.shift(picture)
    progress.say(
        complaint
        or f"the {CAMERA} camera stands where it stood: {found.pixels:.1f} pixels apart, allowed are {options.limit:g}"
    )
    return 1 if complaint else 0


if __name__ == "__main__":
    import sys

    from physgen_control.program.command_line import run_command

    sys.exit(run_command("physgen camera", main, sys.argv[1:]))
