# SPDX-License-Identifier: Apache-2.0
"""`physgen convert BAGS... --out DATASET`: recorded bags to a training dataset."""

from __future__ import annotations

import argparse
from pathlib import Path


def main(argv: list[str]) -> int:
    """Convert every successful bag that the dataset does not hold yet; say which were left out and why."""
    parser = argparse.ArgumentParser(prog="physgen convert", description=__doc__)
    parser.add_argument("bags", nargs="+", type=Path, help="bag folders, or folders that contain bags")
    parser.add_argument("--out", required=True, type=Path, help="dataset folder; existing episodes are kept")
    parser.add_argument(
        "--image-size", type=int, default=128, help="side of each view in pixels (default 128)"
    )
    parser.add_argument(
        "--rate", type=float, default=20.0, help="control rate of the recordings in Hz (default 20)"
    )
    options = parser.parse_args(argv)

    from rich.progress import track

    from physgen_policy.data.bags_to_dataset import convert_bags

    done = convert_bags(
        options.bags,
        options.out,
        view=(options.image_size, options.image_size),
        rate_hz=options.rate,
        track=lambda bags: track(bags, description="converting"),
    )
    for reason in done.left_out:
        print(f"left out: {reason}")
    print(f"{options.out}: {done.episodes} episodes, {done.steps} control steps")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
