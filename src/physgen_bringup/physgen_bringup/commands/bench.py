# SPDX-License-Identifier: Apache-2.0
"""`physgen bench TARGET`: speed on this machine, measured with warm-up and medians, never asserted."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from physgen_control.program.command_parser import CommandParser

TARGETS = {
    "sim": (
        "physgen_bringup.commands.bench_sim",
        "steps per second of the bridge, beside the bare simulator",
    ),
    "eval": ("physgen_bringup.commands.bench_eval", "steps per second of evaluation, one worker and all"),
    "recorder": ("physgen_bringup.commands.bench_recorder", "images lost while two cameras are recorded"),
    "policy": ("physgen_policy.commands.bench_policy", "latency of every stage from observation to chunk"),
    "video": ("physgen_policy.commands.bench_video", "how good a checkpoint's predicted frames are"),
    "anomaly": (
        "physgen_bringup.commands.bench_anomaly",
        "how well the error of expected frames tells that something happened",
    ),
    "viewer": ("physgen_bringup.commands.bench_viewer", "what a viewer that looks on costs a chunk"),
}


def build_parser() -> CommandParser:
    """The command line; standard library only, so that --help works before set-up."""
    lines = "\n".join(f"  {name:<9} {line}" for name, (_, line) in TARGETS.items())
    parser = CommandParser(
        prog="physgen bench",
        description=f"Measure speed on this machine. What to measure:\n{lines}\n"
        "`physgen bench TARGET --help` shows the target's own options.",
        examples=(
            "physgen bench policy --checkpoint pushcube-tiny",
            "physgen bench sim --json runs/sim.json",
        ),
    )
    parser.add_argument(
        "target", nargs="?", default="sim", choices=tuple(TARGETS), help="what to measure (default sim)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in TARGETS:
        target, rest = words[0], words[1:]
    elif not words or (words[0].startswith("-") and not {"-h", "--help"} & set(words)):
        target, rest = "sim", words
    else:
        target, rest = build_parser().parse_args(words).target, words[1:]
    status: int = importlib.import_module(TARGETS[target][0]).main(rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
