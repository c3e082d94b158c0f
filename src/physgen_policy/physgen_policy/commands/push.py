# SPDX-License-Identifier: Apache-2.0
"""`physgen push FOLDER HUB`: a checkpoint or dataset to where others can get it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser

HUB = "a folder, or OWNER/NAME on the Hugging Face hub (also hf://OWNER/NAME, and @REVISION behind it)"


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen push",
        description="Copy a checkpoint or dataset to a hub: a folder that others can read, or a repository. Weights, "
        "descriptions, pictures and texts only.",
        examples=("physgen push runs/mine/checkpoint /mnt/hub", "physgen push datasets/mine me/mine"),
    )
    parser.add_argument("folder", type=Path, help="checkpoint or dataset")
    parser.add_argument("hub", metavar="HUB", help=HUB)
    parser.add_argument("--public", action="store_true", help="a repository that is made can be seen by all")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Push, and say where it is."""
    options = build_parser().parse_args(arguments)
    from physgen_control.program.progress import Progress
    from physgen_policy.published import exchange

    progress = Progress()
    progress.say(f"Copying {options.folder} to {options.hub}")
    with progress.stage("copying"):
        where = exchange.push(options.folder, exchange.parse_place(options.hub), private=not options.public)
    progress.result(f"It is in {where}")
    back = options.hub if "://" in where else where
    progress.next("./physgen", "pull", back, "--out", f"copies/{options.folder.resolve().name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
