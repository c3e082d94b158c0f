# SPDX-License-Identifier: Apache-2.0
"""Simulated time: monotonic over episodes, observation n of an episode is stamped start + n * period. No ROS."""

from __future__ import annotations

RESET_GAP_NS = 1_000_000_000
"""A reset moves the clock forward by at least this much, so that no reader mixes two episodes."""


class EpisodeClock:
    """Gives every observation its stamp [ns]; owned by the thread that steps the world."""

    def __init__(self, period_ns: int, origin_ns: int = RESET_GAP_NS) -> None:
        if period_ns <= 0:
            raise ValueError(f"The control period must be positive, but it is {period_ns} ns.")
        self._period_ns = period_ns
        self._start_ns = origin_ns
        self._now_ns = origin_ns

    @property
    def period_ns(self) -> int:
        """The control period [ns]."""
        return self._period_ns

    @property
    def now_ns(self) -> int:
        """The newest stamp handed out [ns]."""
        return self._now_ns

    def start(self, gap_ns: int = RESET_GAP_NS) -> int:
        """Begin an episode; return its start [ns], at least `gap_ns` after everything stamped before.

        Raises:
            ValueError: The gap is shorter than RESET_GAP_NS.
        """
        if gap_ns < RESET_GAP_NS:
            raise ValueError(
                f"The gap between episodes must be at least {RESET_GAP_NS} ns, but it is {gap_ns} ns."
            )
        self._start_ns = self._now_ns + gap_ns
        self._now_ns = self._start_ns
        return self._start_ns

    def stamp(self, step: int) -> int:
        """Return the stamp [ns] of the observation after `step` control steps.

        Raises:
            ValueError: It would lie before the newest stamp.
        """
        stamp_ns = self._start_ns + step * self._period_ns
        if stamp_ns < self._now_ns:
            raise ValueError(
                f"Step {step} lies before the newest stamp {self._now_ns} ns: simulated time never goes back."
            )
        self._now_ns = stamp_ns
        return stamp_ns
