# SPDX-License-Identifier: Apache-2.0
"""Looks after `launch record:=true` whether every episode is on the disk, and says so in the last line.

Nobody else would notice a lost recording before it is needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from physgen_control.bags.errors import BagError
from physgen_control.bags.find import FoundBags, search_bags
from physgen_control.bags.summary import read_summary


@dataclass(frozen=True, slots=True)
class RecordingCheck:
    """What a graph recorded."""

    folder: Path
    """Where its bags are."""
    bags: int
    """How many bags it finished, those that lack a topic included."""
    lost: tuple[str, ...]
    """A sentence for each bag that is unfinished, damaged or lacks a topic."""

    @property
    def good(self) -> bool:
        """Whether something was recorded, and nothing was lost."""
        return self.bags > 0 and not self.lost

    def line(self) -> str:
        """Return one line for the end of a command."""
        if self.lost:
            return f"RECORDING LOST: {'; '.join(self.lost)} ({self.bags} bags in {self.folder})"
        if not self.bags:
            return f"NOTHING WAS RECORDED: record:=true, and {self.folder} got no bag; did an episode run?"
        return f"Recorded {self.bags} bags into {self.folder}"


def bags_in(folder: Path) -> FoundBags:
    """Return the bags of a folder that may not exist yet."""
    return search_bags(folder) if folder.is_dir() else FoundBags((), ())


def check_recordings(folder: Path, before: FoundBags) -> RecordingCheck:
    """Return what has come into a folder since `before`."""
    now = bags_in(folder)
    lost = [
        f"{bag} is not finished, `physgen repair {bag}` recovers it"
        for bag in now.unfinished
        if bag not in before.unfinished
    ]
    finished = [bag for bag in now.finished if bag not in before.finished]
    for bag in finished:
        lost += _missing(bag)
    return RecordingCheck(folder, len(finished), tuple(lost))


def _missing(bag: Path) -> list[str]:
    """Return a sentence for each topic that a bag lacks altogether; a topic with a pause is not lost."""
    try:
        audit = json.loads(read_summary(bag).custom_data.get("audit", "{}"))
        warnings = [str(warning) for warning in audit.get("warnings", [])]
    except (BagError, ValueError, AttributeError, TypeError) as error:
        return [f"{bag} is damaged ({error})"]
    return [f"{bag}: {warning}" for warning in warnings if warning.endswith(" is missing.")]
