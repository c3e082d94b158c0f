# SPDX-License-Identifier: Apache-2.0
"""`physgen camera`: has the fixed camera been bumped (`reference`, `check`), where are the cameras (`calibrate`)?"""

from __future__ import annotations

import argparse
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_out, file_to_write
from physgen_control.program.progress import Progress

VERBS = ("reference", "check", "calibrate")
LIMIT_PX = 3.0


def build_parser(verb: str = "") -> CommandParser:
    """The command line of a verb, or of the command; standard library only."""
    examples = {
        "reference": "physgen camera reference bags/drawer --out cell/reference.png",
        "check": "physgen camera check --reference cell/reference.png --bag bags/today/episode --out apart.png",
        "calibrate": "physgen camera calibrate bags/tag --camera fixed --tag-size 0.08 --out cell/cameras.yaml",
    }
    told = {
        "": "Where the cameras are, and whether the fixed one still stands where it stood in the demonstrations.",
        "reference": "Make a reference picture of demonstrations: the median of what the fixed camera saw first.",
        "check": "Compare a picture of the fixed camera with the reference; status 1 if it has moved.",
        "calibrate": "Find a camera's place from recordings in which the hand stops in 15 or more places and "
        "directions: it holds an AprilTag (36h11) before the fixed camera, or the wrist camera looks at one that lies "
        "still.",
    }
    shown = [examples[verb]] if verb else list(examples.values())
    parser = CommandParser(prog=f"physgen camera {verb}".strip(), description=told[verb], examples=shown)
    if not verb:
        parser.add_argument("verb", choices=VERBS, help="what to do")
    elif verb == "reference":
        parser.add_argument("bags", nargs="+", type=Path, help="recordings, or folders that contain some")
        add_out(parser, "the picture to write (PNG)", required=True, type=file_to_write(".png"))
        parser.add_argument(
            "--size", type=int, default=128, help="side of the picture in pixels (default 128)"
        )
    elif verb == "calibrate":
        _add_calibrate(parser)
    else:
        parser.add_argument("--reference", required=True, type=Path, help="picture made by `reference`")
        seen = parser.add_mutually_exclusive_group(required=True)
        seen.add_argument("--bag", type=Path, help="a recording, whose first picture is compared")
        seen.add_argument("--picture", type=Path, help="a picture file of the fixed camera")
        add_out(
            parser, "write reference, picture and their difference here (PNG)", type=file_to_write(".png")
        )
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
    run = {"reference": _reference, "check": _check, "calibrate": _calibrate}[arguments[0]]
    return run(options)


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


def _add_calibrate(parser: CommandParser) -> None:
    parser.add_argument("bags", nargs="+", type=Path, help="recordings, or folders that contain some")
    parser.add_argument("--camera", required=True, choices=("fixed", "wrist"), help="which one")
    parser.add_argument(
        "--tag-size", required=True, type=float, metavar="M", help="side of the tag's black square [m]"
    )
    parser.add_argument(
        "--tag", type=int, metavar="N", help="its number (default: the only one in a picture)"
    )
    parser.add_argument("--parent", default="", help="frame of the pose (default: base, or fr3_hand_tcp)")
    parser.add_argument("--child", default="", help="the camera's link (default: fixed_link, wrist_link)")
    parser.add_argument(
        "--optical-in-link",
        nargs=3,
        type=float,
        default=(0.0, 0.0, 0.0),
        metavar=("X", "Y", "Z"),
        help="where the camera's driver puts the optical frame in its link [m], as tf2_echo says (default 0 0 0)",
    )
    parser.add_argument(
        "--physworld",
        type=file_to_write(".yaml", ".yml"),
        metavar="FILE",
        help="also write the fixed camera for `physgen physworld`",
    )
    add_out(
        parser,
        "the file of `calibration_file:=`; an entry of the other camera is kept",
        required=True,
        type=file_to_write(".yaml", ".yml"),
    )


def _calibrate(options: argparse.Namespace) -> int:
    from physgen_bringup.graph.calibration import calibration_text, mounting_of, with_mounting
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.errors import UserError
    from physgen_physworld.calibration.calibrate import calibrate
    from physgen_physworld.calibration.tags import Tag
    from physgen_physworld.video.camera_file import camera_text
    from physgen_policy.data.bag_choice import choose_bags

    if options.physworld is not None and options.camera != "fixed":
        raise UserError("--physworld describes the fixed camera; leave it out for the wrist camera")
    progress = Progress()
    choice = choose_bags(options.bags)
    for reason in choice.left_out:
        progress.say(f"left out: {reason}")
    with progress.stage(f"looking for the tag in {len(choice.bags)} recording(s)"):
        tag = Tag(size_m=options.tag_size, number=options.tag)
        found = calibrate(choice.bags, options.camera, tag)
    x, y, z = options.optical_in_link
    mounting = mounting_of(options.camera, found.found.camera, options.parent, options.child, (x, y, z))
    entries = with_mounting(options.out, mounting)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, calibration_text(entries))
    if options.physworld is not None:
        options.physworld.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.physworld, camera_text(found.scene_camera()))
        progress.say(f"wrote {options.physworld}")
    for line in found.lines():
        progress.say(line)
    if not any(options.optical_in_link):
        progress.say(
            f"the optical frame was taken to lie in the origin of {mounting.child}; a driver that puts it elsewhere "
            "(RealSense: about 15 mm) needs --optical-in-link"
        )
    progress.say(f"wrote {options.out}: {mounting.child} in {mounting.parent}")
    if len(entries) == 1:
        other = "wrist" if options.camera == "fixed" else "fixed"
        words = ("--camera", other, "--tag-size", f"{options.tag_size:g}", "--out", str(options.out))
        progress.next("./physgen", "camera", "calibrate", "BAGS", *words)
    else:
        progress.next(
            "./physgen", "launch", f"calibration_file:={options.out}", "sim:=none", "robot_ip:=ADDRESS"
        )
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
