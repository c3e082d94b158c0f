# SPDX-License-Identifier: Apache-2.0
"""`physgen pull HUB --out FOLDER`: a checkpoint or dataset that somebody pushed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, add_out
from physgen_policy.commands.push import HUB


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen pull",
        description="Copy a checkpoint or dataset from a hub into a new folder, and check it.",
        examples=(
            "physgen pull /mnt/hub/mine --out checkpoints/mine",
            "physgen pull me/mine --out datasets/mine",
        ),
    )
    parser.add_argument("hub", metavar="HUB", help=HUB)
    add_out(parser, "new folder", type=Path, required=True)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Pull, check, and say what to do with it."""
    options = build_parser().parse_args(arguments)
    from physgen_control.program.progress import Progress
    from physgen_policy.published import exchange

    progress = Progress()
    progress.say(f"Copying {options.hub} into {options.out}")
    with progress.stage("copying"):
        kind = exchange.pull(exchange.parse_place(options.hub), options.out)
    progress.result(f"{options.out} is a {'LeRobot dataset' if kind == 'lerobot' else kind}, complete")
    if kind == "checkpoint":
        progress.next("./physgen", "bench", "policy", "--checkpoint", options.out)
    elif kind == "dataset":
        words = ("--finetune", "pushcube-tiny", "--dataset", options.out)
        progress.next("./physgen", "train", *words, "--out", f"runs/{options.out.name}")
    else:
        progress.next("./physgen", "peer-train", options.out, "--out", f"runs/{options.out.name}-act")
    return 0


if __name__ == "__main__":
    sys.exit(main())
