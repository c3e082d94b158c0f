# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset to a training dataset, whichever episodes can be used; the others are named with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from physgen_control.program.folder_lock import folder_lock
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.data.bags_to_dataset import Conversion
from physgen_policy.data.conversion_report import ConversionReport
from physgen_policy.data.dataset import DatasetError
from physgen_policy.data.dataset_writer import DatasetWriter
from physgen_policy.data.lerobot.reader import LerobotReader

Track = Callable[[Sequence[int]], Iterable[int]]


def convert_lerobot(
    folder: Path,
    out: Path,
    *,
    view: tuple[int, int],
    cameras: Mapping[str, str],
    trust_actions: bool = False,
    task: str = "",
    track: Track = iter,
) -> Conversion:
    """Add every usable episode that the dataset does not hold yet.

    Args:
        folder: The LeRobot dataset.
        out: The dataset folder; it is made where there is none.
        view: Rows and columns of one camera's picture in the dataset [pixels].
        cameras: Feature names of our cameras, where they are others.
        trust_actions: Take the action column for ours whatever its names say.
        task: Name of the task; "" takes each episode's instruction.
        track: Wraps the numbers of the episodes, for a progress bar.

    Raises:
        DatasetError: The folder is no such dataset, or the other one was made for something else.
        UserError: Another command writes into the folder.
    """
    report = ConversionReport(of="episodes")
    with LerobotReader(folder, cameras=cameras, trust_actions=trust_actions) as reader, folder_lock(out):
        embodiment = Embodiment(
            robot=reader.robot, image_height=view[0], image_width=view[1], control_rate_hz=reader.fps
        )
        writer = DatasetWriter(out, embodiment)
        try:
            for number in track(range(len(reader.rows))):
                known = reader.content_sha256(number)
                if writer.holds(known, ""):
                    report.present += 1
                    continue
                try:
                    record = reader.episode(number, view, task)
                except DatasetError as error:
                    report.left_out.append(str(error))
                    continue
                writer.add(record, known)
                report.converted += 1
        finally:
            norm = writer.finish() if writer.entries else None
    return Conversion(len(writer.entries), sum(entry["steps"] for entry in writer.entries), norm, report)
