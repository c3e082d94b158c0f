# SPDX-License-Identifier: Apache-2.0
"""From the gripper number of an action to open/close commands and to goals of a gripper driver. Pure.

A finger motion takes longer than a control step, so a goal is sent only when the command changes, never while another
goal runs, and not more often than the minimum interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from physgen_control.controller_config import ControllerConfig, seconds_to_ns

OPEN, CLOSED = 1.0, -1.0

MAX_TRIES = 5
"""Goals of one command that may fail in a row."""


@dataclass(frozen=True, slots=True)
class GripperDecision:
    """What a number for the gripper led to."""

    command: float
    """The command now in force: +1 open, -1 closed."""
    delayed: bool
    """A wanted change was held back."""


class GripperSwitch:
    """Turns SIGNED_PM1 numbers into a clean two-valued command with hysteresis and a minimum interval."""

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._command: float | None = None
        self._changed_ns: int | None = None

    def reset(self) -> None:
        """Forget the command; the next one follows from the measured width."""
        self._command, self._changed_ns = None, None

    @property
    def commanded(self) -> bool:
        """Whether somebody asked for the command in force; without that it is only what the fingers look like."""
        return self._command is not None

    def current(self, measured_width: float) -> float:
        """Return the command in force (+1 open, -1 closed); without one, what the measured opening [m] looks like."""
        if self._command is None:
            middle = (self._config.gripper_open_width + self._config.gripper_closed_width) / 2
            return OPEN if measured_width >= middle else CLOSED
        return self._command

    def decide(self, value: float, measured_width: float, now_ns: int) -> GripperDecision:
        """Take the next number of a policy or a human.

        Args:
            value: Above the dead band: open, below it: close; NaN keeps the command.
            measured_width: Opening [m] from which the first command follows.
            now_ns: ROS time [ns].
        """
        current = self.current(measured_width)
        if math.isnan(value):
            return GripperDecision(current, False)
        band = self._config.gripper_hysteresis
        wanted = OPEN if value > band else CLOSED if value < -band else current
        by_sign = OPEN if value > 0 else CLOSED if value < 0 else current
        if self._command is None and -band <= value <= band:
            return GripperDecision(current, by_sign != current)  # a guess from the width is no command
        if wanted == current:
            self._command = current
            return GripperDecision(current, by_sign != current)
        interval_ns = seconds_to_ns(self._config.gripper_min_interval)
        if self._changed_ns is not None and 0 <= now_ns - self._changed_ns < interval_ns:
            return GripperDecision(current, True)
        self._command, self._changed_ns = wanted, now_ns
        return GripperDecision(wanted, False)

    def width(self, command: float) -> float:
        """Return the opening [m] that a command means."""
        return self._config.gripper_open_width if command > 0 else self._config.gripper_closed_width


@dataclass(frozen=True, slots=True)
class GripperGoal:
    """One goal for a gripper driver: close by grasping with a force cap, open by moving."""

    width: float
    """Target opening [m]."""
    speed: float
    """[m/s]."""
    force: float
    """[N], 0 for a motion."""


class GripperAdapter:
    """Decides when a driver gets a goal. The caller reports the end of each goal with `finished`."""

    def __init__(self, config: ControllerConfig, max_width: float = 0.08) -> None:
        self._config = config
        self._max_width = max_width
        self._sent: float | None = None
        self._sent_ns: int | None = None
        self._running = False
        self._tried: float | None = None
        self._failures = 0

    @property
    def gave_up(self) -> bool:
        """Whether the command in force failed so often that it is not sent again until it changes."""
        return self._failures >= MAX_TRIES

    @property
    def running(self) -> bool:
        """Whether a goal was sent and its end not reported yet."""
        return self._running

    def goal(self, command: float, now_ns: int) -> GripperGoal | None:
        """Return the goal to send now for the command in force (+1 open, -1 closed), if any."""
        if not math.isfinite(command) or command == 0:
            return None
        wanted = OPEN if command > 0 else CLOSED
        if wanted != self._tried:
            self._tried, self._failures = wanted, 0
        interval_ns = seconds_to_ns(self._config.gripper_min_interval)
        too_soon = self._sent_ns is not None and 0 <= now_ns - self._sent_ns < interval_ns
        if wanted == self._sent or self._running or too_soon or self.gave_up:
            return None
        self._sent, self._sent_ns, self._running = wanted, now_ns, True
        config = self._config
        width = config.gripper_open_width if wanted == OPEN else config.gripper_closed_width
        return GripperGoal(
            width=min(max(width, 0.0), self._max_width),
            speed=config.gripper_speed,
            force=0.0 if wanted == OPEN else config.gripper_force,
        )

    def finished(self, ok: bool) -> None:
        """The running goal ended; after a failure the same command is sent again, MAX_TRIES times in all."""
        self._running = False
        self._failures = 0 if ok else self._failures + 1
        if not ok:
            self._sent = None
