# SPDX-License-Identifier: Apache-2.0
"""`physgen convert BAGS... --out DATASET`: recorded bags to a training dataset, or to a LeRobot dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("physgen", "lerobot")


def main(argv: list[str]) -> int:
    """Convert every successful bag, say which were left out and why; return the exit status.

    Raises:
        UserError: No bag can be used, or the dataset cannot be written.
    """
    parser = argparse.ArgumentParser(prog="physgen convert", description=__doc__)
    parser.add_argument("bags", nargs="+", type=Path, help="bag folders, or folders that contain bags")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        help="dataset folder; the own format keeps existing episodes, the other needs a new folder",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="physgen",
        help="physgen: for `physgen train`; lerobot: a LeRobot v3.0 dataset (default physgen)",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        default=0,
        help="side of each view in pixels (default: 128, lerobot: as recorded)",
    )
    parser.add_argument(
        "--images",
        choices=("video", "png"),
        default="video",
        help="lerobot: how images are kept (default video)",
    )
    parser.add_argument(
        "--rate", type=float, default=20.0, help="control rate of the recordings in Hz (default 20)"
    )
    options = parser.parse_args(argv)

    return _to_lerobot(options) if options.format == "lerobot" else _to_dataset(options)


def _to_dataset(options: argparse.Namespace) -> int:
    from rich.progress import track

    from physgen_policy.data.bags_to_dataset import convert_bags

    size = options.image_size or 128
    done = convert_bags(
        options.bags,
        options.out,
        view=(size, size),
        rate_hz=options.rate,
        track=lambda bags: track(bags, description="converting"),
    )
    print("\n".join(done.lines(options.out)))
    done.report.check()
    return 0


def _to_lerobot(options: argparse.Namespace) -> int:
    from rich.progress import track

    from physgen_policy.data.bags_to_lerobot import convert_bags_to_lerobot

    done = convert_bags_to_lerobot(
        options.bags,
        options.out,
        rate_hz=options.rate,
        images=options.images,
        image_size=options.image_size,
        track=lambda bags: track(bags, description="converting"),
    )
    print("\n".join(done.lines(options.out)))
    done.report.check()
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
