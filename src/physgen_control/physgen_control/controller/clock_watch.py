# SPDX-License-Identifier: Apache-2.0
"""Whether a clock that people and NTP can set has jumped, and whether something was heard of lately. Pure.

Two clocks are compared: ROS time, in which data are stamped, and steady time, which nobody can set. Whoever says that a
sender is alive asks both, because either alone may lie: ROS time by a jump, steady time where a world is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

JUMP_PERIODS = 1.5
"""Control periods between two looks at the clocks from which on their difference counts as a jump."""


@dataclass(frozen=True, slots=True)
class Mark:
    """When something arrived, by both clocks."""

    ros_ns: int
    """ROS time [ns]."""
    steady_ns: int | None
    """Steady time [ns]; None without a steady clock."""

    def shifted(self, jump_ns: int) -> Mark:
        """Return the same moment by a ROS clock that has jumped."""
        return Mark(self.ros_ns + jump_ns, self.steady_ns)


class ClockWatch:
    """Notices jumps of ROS time, and remembers arrivals in both times; all times in nanoseconds.

    Args:
        period_ns: The control period.
        steady: Returns steady time; None where ROS time is simulated and no steady time belongs to it. Then only
            steps back are noticed.
    """

    def __init__(self, period_ns: int, steady: Callable[[], int] | None) -> None:
        self._limit_ns = int(JUMP_PERIODS * period_ns)
        self._steady = steady
        self._last: tuple[int, int] | None = None

    def jump(self, ros_ns: int) -> int:
        """Return by how much [ns] ROS time jumped since the last call, 0 if it ran as steady time did."""
        steady_ns = 0 if self._steady is None else self._steady()
        last, self._last = self._last, (ros_ns, steady_ns)
        if last is None:
            return 0
        passed_ns = ros_ns - last[0]
        if self._steady is None:
            return passed_ns if passed_ns < -self._limit_ns else 0
        difference_ns = passed_ns - (steady_ns - last[1])
        return difference_ns if abs(difference_ns) > self._limit_ns else 0

    def mark(self, ros_ns: int) -> Mark:
        """Return the moment of an arrival."""
        return Mark(ros_ns, None if self._steady is None else self._steady())

    def within(self, mark: Mark | None, ros_ns: int, timeout_ns: int) -> bool:
        """Whether something arrived at most `timeout_ns` ago by both clocks, and not in the future."""
        if mark is None or not 0 <= ros_ns - mark.ros_ns <= timeout_ns:
            return False
        return self._steady is None or mark.steady_ns is None or self._steady() - mark.steady_ns <= timeout_ns
