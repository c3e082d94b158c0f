# SPDX-License-Identifier: Apache-2.0
"""`physgen bench`: speed on this machine, measured with warm-up and medians, never asserted."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

TARGETS = {
    "sim": "physgen_bringup.bench.sim",
    "eval": "physgen_bringup.bench.evaluation",
    "recorder": "physgen_bringup.bench.recorder",
    "policy": "physgen_policy.commands.bench_policy",
    "video": "physgen_policy.commands.bench_video",
}
OWN_PARSERS = ("policy", "video")
"""Targets whose own parser knows all their options, --help among them."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = argparse.ArgumentParser(
        prog="physgen bench",
        description="Measure speed on this machine. sim: steps per second of the bridge in lockstep with an instant "
        "policy, against the bare simulator with the same cameras. eval: steps per second of evaluation with one "
        "worker and with all, beside the bare simulator. recorder: images that are lost while two cameras are "
        "recorded, raw and as JPEG. policy: latency of every stage from an observation to its chunk, eager and "
        "optimised side by side, with the machine's own limits (--preset or --checkpoint). video: how good "
        "a checkpoint's predicted frames are (--checkpoint and --dataset). `physgen bench TARGET -h` "
        "after set-up shows the target's own options.",
    )
    parser.add_argument("target", nargs="?", default="sim", choices=TARGETS, help="what to measure")
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers to a file too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in OWN_PARSERS:
        return _run(words[0], words[1:])
    options, rest = build_parser().parse_known_args(words)
    return _run(options.target, [*(["--json", options.json] if options.json else []), *rest])


def _run(target: str, words: list[str]) -> int:
    status: int = importlib.import_module(TARGETS[target]).main(words)
    return status


if __name__ == "__main__":
    sys.exit(main())
