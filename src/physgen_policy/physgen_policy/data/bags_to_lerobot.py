# SPDX-License-Identifier: Apache-2.0
"""A folder of recorded bags to a LeRobot dataset, whichever bags can be used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen_control.bags.content import content_sha256
from physgen_control.bags.errors import BagError
from physgen_policy.data.bag_choice import choose_bags
from physgen_policy.data.conversion_report import ConversionReport
from physgen_policy.data.demonstration import EpisodeRejectedError
from physgen_policy.data.lerobot.episode import lerobot_episode
from physgen_policy.data.lerobot.writer import LerobotWriter

Track = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass(frozen=True, slots=True)
class LerobotConversion:
    """What the dataset holds, and what became of each bag."""

    episodes: int
    frames: int
    """One per control step."""
    report: ConversionReport

    def lines(self, out: Path) -> list[str]:
        """Return the report in words, the counts last."""
        return self.report.lines(f"{out}: LeRobot v3.0, {self.episodes} episodes, {self.frames} frames")


def convert_bags_to_lerobot(
    folders: Sequence[Path], out: Path, *, rate_hz: float, images: str, image_size: int, track: Track = iter
) -> LerobotConversion:
    """Write a new dataset of every usable bag.

    Args:
        folders: Bags, or folders that contain bags.
        out: The folder to create; it appears when the dataset is complete, and not at all without a usable bag.
        rate_hz: Control rate of the recordings, a whole number.
        images: "video" or "png".
        image_size: Side of the images in pixels; 0 keeps the recorded size.
        track: Wraps the list of bags, for a progress bar.

    Raises:
        DatasetError: There is no bag, they are of several robots, or the folder exists.
    """
    choice = choose_bags(folders)
    report = ConversionReport(left_out=list(choice.left_out))
    seen: set[str] = set()
    with LerobotWriter(out, fps=rate_hz, images=images) as writer:
        for bag in track(choice.bags):
            try:
                content = content_sha256(bag)
                if content in seen:
                    report.present += 1
                    continue
                report.read(bag)
                writer.add(lerobot_episode(bag, control_rate_hz=rate_hz, image_size=image_size))
            except (EpisodeRejectedError, BagError) as error:
                report.left_out.append(str(error))
                continue
            seen.add(content)
            report.converted += 1
        if report.converted:
            writer.finish()
        return LerobotConversion(writer.episodes, writer.frames, report)
