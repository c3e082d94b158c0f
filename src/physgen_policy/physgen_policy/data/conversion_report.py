# SPDX-License-Identifier: Apache-2.0
"""What became of every bag, or episode of another dataset, of a conversion; the counts add up."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from physgen_control.bags.content import size_bytes
from physgen_policy.data.dataset import DatasetError

MIN_GB = 0.05
"""Below it the time of the start is most of the time, and a rate says nothing."""


@dataclass(slots=True)
class ConversionReport:
    """What became of every bag."""

    of: str = "bags"
    """What is converted, in the plural."""
    converted: int = 0
    """Bags that became an episode now."""
    present: int = 0
    """Bags that had become one before."""
    left_out: list[str] = field(default_factory=list)
    """One sentence per other bag."""
    read_bytes: int = 0
    """Of the bags that were read."""
    _start_s: float = field(default_factory=time.monotonic)

    def read(self, bag: Path) -> None:
        """Count the size of a bag that is about to be read."""
        self.read_bytes += size_bytes(bag)

    @property
    def bags(self) -> int:
        """Number of all bags."""
        return self.converted + self.present + len(self.left_out)

    def check(self) -> None:
        """Check that a bag is in the dataset.

        Raises:
            DatasetError: All were left out.
        """
        if self.bags == len(self.left_out):
            raise DatasetError(f"none of the {self.bags} {self.of} can be used, for the reasons above")

    def lines(self, what: str) -> list[str]:
        """Return the report: one line per bag left out, the rate of reading, and last the counts.

        Args:
            what: The dataset and what it holds, such as "datasets/push: 3 episodes, 250 control steps".
        """
        lines = [f"left out: {reason}" for reason in self.left_out]
        gigabytes, minutes = self.read_bytes / 1e9, (time.monotonic() - self._start_s) / 60
        if gigabytes >= MIN_GB:
            lines.append(
                f"read {gigabytes:.2f} GB in {minutes:.1f} min, {minutes / gigabytes:.2f} min per GB"
            )
        lines.append(
            f"{what}; of {self.bags} {self.of} {self.converted} converted, {self.present} already there, "
            f"{len(self.left_out)} left out"
        )
        return lines
