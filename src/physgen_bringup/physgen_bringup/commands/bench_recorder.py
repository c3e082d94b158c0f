# SPDX-License-Identifier: Apache-2.0
"""`physgen bench recorder`: images of two cameras that are lost while they are recorded, raw and as JPEG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_json


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen bench recorder",
        description="Images that are lost while two cameras are recorded, raw and as JPEG; cameras and recorder run in "
        "processes of their own, and what they wrote is deleted afterwards.",
        examples=("physgen bench recorder --size 1280x720 --duration 30 --dir /data",),
    )
    parser.add_argument("--duration", type=float, default=60.0, help="length of a recording [s]")
    parser.add_argument("--modes", default="raw,jpeg", help="raw, jpeg or both")
    parser.add_argument("--size", default="640x480", help="image size [pixels]")
    parser.add_argument("--rate", type=float, default=30.0, help="images per second and camera")
    parser.add_argument("--dir", type=Path, default=Path("runs"), help="a folder on the disk to measure")
    add_json(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, write JSON if asked to.

    Raises:
        UserError: An argument cannot be used, or a measurement failed.
    """
    options = build_parser().parse_args(arguments)
    from physgen_bringup.bench.recorder import run, table
    from physgen_bringup.results.whole_file import write_atomically
    from physgen_control.errors import UserError
    from physgen_control.program.progress import Progress

    width, _, height = options.size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise UserError(f"--size must be like 640x480, got {options.size!r}.")
    progress = Progress()
    modes = [mode.strip() for mode in options.modes.split(",")]
    progress.say(f"Recording {options.duration:g} s of two cameras into {options.dir}, as {', '.join(modes)}")
    results = []
    for mode in modes:
        with progress.stage(f"bench recorder, {mode}"):
            recorded = run(
                mode,
                folder=options.dir,
                width=int(width),
                height=int(height),
                rate_hz=options.rate,
                seconds=options.duration,
            )
        results.append(recorded)
    progress.result(table(results))
    if options.json:
        text = json.dumps([asdict(result) for result in results], indent=1) + "\n"
        write_atomically(options.json, text)
    words = ("teleop:=keyboard", "record:=true")
    progress.next("./physgen", "launch", "sim:=fake", "task:=FrankaPick-v0", "policy:=none", *words)
    return 0
