# SPDX-License-Identifier: Apache-2.0
"""`physgen convert BAGS... --out DATASET`: recorded bags to a training dataset, or to a LeRobot dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

FORMATS = ("physgen", "lerobot")


def main(argv: list[str]) -> int:
    """Convert every successful bag; say which were left out and why."""
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

    from physgen_control.bags.reader import find_bags

    bags = [bag for folder in options.bags for bag in find_bags(folder)]
    if not bags:
        parser.error(
            f"no bags in {', '.join(str(b) for b in options.bags)}; record some with `physgen collect`"
        )
    return _to_lerobot(bags, options) if options.format == "lerobot" else _to_dataset(bags, options)


def _to_dataset(bags: list[Path], options: argparse.Namespace) -> int:
    from rich.progress import track

    from physgen_control.bags.errors import BagError
    from physgen_control.bags.reader import read_summary
    from physgen_policy.data.convert import EpisodeRejectedError, episode_from_bag
    from physgen_policy.data.dataset import DatasetWriter
    from physgen_policy.embodiment import Embodiment

    summaries = [read_summary(bag) for bag in bags]
    size = options.image_size or 128
    embodiment = Embodiment(
        robot=summaries[0].custom_data.get("robot") or "unknown",
        image_height=size,
        image_width=size,
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


def _to_lerobot(bags: list[Path], options: argparse.Namespace) -> int:
    from rich.progress import track

    from physgen_control.bags.errors import BagError
    from physgen_policy.data.demonstration import EpisodeRejectedError
    from physgen_policy.data.lerobot_episode import lerobot_episode
    from physgen_policy.data.lerobot_writer import LerobotWriter

    left_out = []
    with LerobotWriter(options.out, fps=options.rate, images=options.images) as writer:
        for bag in track(bags, description="converting"):
            try:
                writer.add(lerobot_episode(bag, control_rate_hz=options.rate, image_size=options.image_size))
            except (EpisodeRejectedError, BagError) as error:
                left_out.append(str(error))
        for reason in left_out:
            print(f"left out: {reason}")
        writer.finish()
        print(f"{options.out}: LeRobot v3.0, {writer.episodes} episodes, {writer.frames} frames")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
