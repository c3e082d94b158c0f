# SPDX-License-Identifier: Apache-2.0
"""`physgen model-info PRESET-OR-CHECKPOINT`: how many parameters each part of a model has."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from physgen_control.program.command_parser import CommandParser, file_to_write


def build_parser() -> CommandParser:
    """The command line; standard library only."""
    parser = CommandParser(
        prog="physgen model-info",
        description="Count the parameters of each part of a model. No weights are read or allocated.",
        examples=(
            "physgen model-info physgen-732m",
            "physgen model-info pushcube-tiny --json runs/tiny.json",
        ),
    )
    parser.add_argument(
        "model",
        metavar="PRESET-OR-CHECKPOINT",
        help="name of a preset or of a shipped checkpoint, or a folder",
    )
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        type=file_to_write(),
        help="the numbers as JSON, printed or into a file",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; raises UserError for a model that cannot be built."""
    options = build_parser().parse_args(arguments)
    from physgen_policy.cost.parameters import model_info, read_config

    info = model_info(read_config(options.model))
    if str(options.json) == "-":
        print(json.dumps(info, indent=2))
        return 0
    if options.json:
        Path(options.json).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    for name, count in info["parts"].items():
        print(f"{name:32s} {count:>15,}")
    print(f"{'total':32s} {info['total_parameters']:>15,}")
    video = "of these the video backbone"
    print(f"\n{video:32s} {info['backbone_parameters']:>15,}  ({info['backbone_keys']} tensors)")
    for name, count in info["outside"].items():
        print(f"{'not counted: ' + name:32s} {count:>15,}")
    print(f"window: {info['window_tokens']} tokens, {info['frame_tokens']} per frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())
