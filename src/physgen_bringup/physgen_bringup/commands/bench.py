# SPDX-License-Identifier: Apache-2.0
"""`physgen bench`: speed on this machine, measured with warm-up and medians, never asserted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

TARGETS = ("sim", "recorder")


def build_parser() -> argparse.ArgumentParser:
    """The command line; standard library only, so that --help works before set-up."""
    parser = argparse.ArgumentParser(
        prog="physgen bench",
        description="Measure speed on this machine. sim: steps per second of the bridge in lockstep with an instant "
        "policy, against the bare simulator with the same cameras. recorder: images that are lost while two cameras "
        "are recorded, raw and as JPEG. `physgen bench TARGET -h` after set-up shows the target's own options.",
    )
    parser.add_argument("target", nargs="?", default="sim", choices=TARGETS, help="what to measure")
    parser.add_argument("--json", default="", metavar="FILE", help="write the numbers to a file too")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark."""
    options, rest = build_parser().parse_known_args(arguments)
    rest = [*(["--json", options.json] if options.json else []), *rest]
    if options.target == "recorder":
        from physgen_bringup import bench_recorder

        return bench_recorder.main(rest)
    from physgen_bringup import bench_sim

    return bench_sim.main(rest)


if __name__ == "__main__":
    sys.exit(main())
