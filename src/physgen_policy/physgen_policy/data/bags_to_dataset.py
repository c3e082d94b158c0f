# SPDX-License-Identifier: Apache-2.0
"""A folder of recorded bags to a training dataset, whichever bags can be used; the others are named with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen_control.bags.errors import BagError
from physgen_control.bags.reader import find_bags, read_summary
from physgen_policy.data.convert import EpisodeRejectedError, episode_from_bag
from physgen_policy.data.dataset import DatasetError, DatasetWriter
from physgen_policy.embodiment import Embodiment

Track = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a dataset holds after the conversion, and why some bags are not in it."""

    episodes: int
    steps: int
    left_out: list[str]


def bags_in(folders: Sequence[Path]) -> list[Path]:
    """Every bag under the folders.

    Raises:
        DatasetError: there is none.
    """
    bags = [bag for folder in folders for bag in find_bags(folder)]
    if not bags:
        raise DatasetError(
            f"no bags in {', '.join(str(f) for f in folders)}; record some with `physgen collect`"
        )
    return bags


def convert_bags(
    folders: Sequence[Path], out: Path, *, view: tuple[int, int], rate_hz: float, track: Track = iter
) -> Conversion:
    """Add every usable bag that the dataset does not hold yet.

    Args:
        folders: bags, or folders that contain bags.
        view: rows and columns of one camera's image in the dataset [pixels].
        rate_hz: control rate of the recordings.
        track: wraps the list of bags, for a progress bar.

    Raises:
        DatasetError: there is no bag, none is usable, or the dataset was made for something else.
    """
    bags = bags_in(folders)
    summaries = [read_summary(bag) for bag in bags]
    embodiment = Embodiment(
        robot=summaries[0].custom_data.get("robot") or "unknown",
        image_height=view[0],
        image_width=view[1],
        control_rate_hz=rate_hz,
        tasks=tuple(sorted({summary.task for summary in summaries})),
    )
    writer = DatasetWriter(out, embodiment)
    known, left_out = writer.sources, []
    for bag in track(bags):
        if bag.name in known:
            continue
        try:
            writer.add(episode_from_bag(bag, embodiment))
        except (EpisodeRejectedError, BagError) as error:
            left_out.append(str(error))
    if not writer.entries and left_out:
        raise DatasetError(f"none of the {len(bags)} bags can be used; the first: {left_out[0]}")
    writer.finish()
    return Conversion(len(writer.entries), sum(entry["steps"] for entry in writer.entries), left_out)
