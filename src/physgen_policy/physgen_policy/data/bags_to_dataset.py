# SPDX-License-Identifier: Apache-2.0
"""A folder of recorded bags to a training dataset, whichever bags can be used; the others are named with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen_control.bags.content import content_sha256
from physgen_control.bags.errors import BagError
from physgen_control.program.folder_lock import folder_lock
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.bag_choice import choose_bags
from physgen_policy.data.conversion_report import ConversionReport
from physgen_policy.data.convert import EpisodeRejectedError, episode_from_bag
from physgen_policy.data.dataset_writer import DatasetWriter

Track = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a dataset holds after the conversion, and what became of each bag."""

    episodes: int
    steps: int
    """Control steps of all episodes."""
    norm: NormStats | None
    """None for an empty dataset."""
    report: ConversionReport

    def lines(self, out: Path) -> list[str]:
        """Return the report in words, the counts last."""
        what = f"{out}: {self.episodes} episodes, {self.steps} control steps"
        return [*(self.norm.lines() if self.norm else []), *self.report.lines(what)]


def convert_bags(
    folders: Sequence[Path], out: Path, *, view: tuple[int, int], rate_hz: float, track: Track = iter
) -> Conversion:
    """Add every usable bag that the dataset does not hold yet; a bag is known by its content, not by its name.

    What was converted before an interruption is in the dataset, and the same call goes on behind it.

    Args:
        folders: Bags, or folders that contain bags.
        out: The dataset folder; it is made where there is none.
        view: Rows and columns of one camera's image in the dataset [pixels].
        rate_hz: Control rate of the recordings.
        track: Wraps the list of bags, for a progress bar.

    Raises:
        DatasetError: There is no bag, they are of several robots, or the dataset was made for something else.
        UserError: Another command writes into the folder.
    """
    choice = choose_bags(folders)
    report = ConversionReport(left_out=list(choice.left_out))
    embodiment = Embodiment(
        robot=choice.robot, image_height=view[0], image_width=view[1], control_rate_hz=rate_hz
    )
    if not choice.bags:
        return Conversion(0, 0, None, report)
    with folder_lock(out):
        writer = DatasetWriter(out, embodiment)
        try:
            for bag in track(choice.bags):
                _add(writer, bag, embodiment, report)
        finally:
            # Whatever ends it (Ctrl-C, a full disk): what was converted stays.
            norm = writer.finish() if writer.entries else None
    return Conversion(len(writer.entries), sum(entry["steps"] for entry in writer.entries), norm, report)


def _add(writer: DatasetWriter, bag: Path, embodiment: Embodiment, report: ConversionReport) -> None:
    """Convert one bag, or say why not."""
    try:
        content = content_sha256(bag)
        if writer.holds(content, bag.name):
            report.present += 1
            return
        report.read(bag)
        record = episode_from_bag(bag, embodiment)
    except (EpisodeRejectedError, BagError) as error:
        report.left_out.append(str(error))
        return
    writer.add(record, content)
    report.converted += 1
