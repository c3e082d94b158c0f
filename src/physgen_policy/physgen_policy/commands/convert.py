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

    from physgen_control.bags.errors import BagError
    from physgen_control.bags.reader import find_bags, read_summary
    from physgen_policy.data.convert import EpisodeRejectedError, episode_from_bag
    from physgen_policy.data.dataset import DatasetWriter
    from physgen_policy.embodiment import Embodiment

    bags = [bag for folder in options.bags for bag in find_bags(folder)]
    if not bags:
        parser.error(
            f"no bags in {', '.join(str(b) for b in options.bags)}; record some with `physgen collect`"
        )
    summaries = [read_summary(bag) for bag in bags]
    embodiment = Embodiment(
        robot=summaries[0].custom_data.get("robot") or "unknown",
        image_height=options.image_size,
        image_width=options.image_size,
        control_rate_hz=options.rate,
        tasks=tuple(sorted({summary.task for summary in summaries})),
    )
    writer = DatasetWriter(options.out, embodiment)
    known, left_out = writer.sources, []
    for bag in track(bags, description="converting"):
        if bag.name in known:
            continue
        try:
            writer.add(episode_from_bag(bag, embodiment))
        except (EpisodeRejectedError, BagError) as error:
            left_out.append(str(error))
    writer.finish()
    for reason in left_out:
        print(f"left out: {reason}")
    print(
        f"{options.out}: {len(writer.entries)} episodes, {sum(e['steps'] for e in writer.entries)} control steps"
    )
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
