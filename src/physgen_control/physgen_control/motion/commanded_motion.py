# SPDX-License-Identifier: Apache-2.0
"""What the arm's controller was told to do, and the one way by which a trajectory may leave: within all limits.

No other code makes a trajectory that is sent. Each is sampled as the arm's controller interpolates it, from the motion
that it continues, at Franka's 1 kHz. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from physgen_control.motion.joint_path import (
    SAMPLE_PERIOD,
    JointState,
    JointTrajectory,
    quintic,
    sample_quintic,
    with_start,
)
from physgen_control.motion.kinematics import JointLimits
from physgen_control.types import NS_PER_S, Float64Array

# Rounding of the limit checks.
_SLACK = 1.0 + 1e-6
_POSITION_SLACK = 1e-9
# Slower [rad/s] and with less acceleration [rad/s^2] than this counts as at rest.
_RESTING = 1e-9


@dataclass(frozen=True, slots=True)
class _Sent:
    start_ns: int
    times: Float64Array
    knots: JointState

    @property
    def end_ns(self) -> float:
        return float(self.start_ns + self.times[-1] * NS_PER_S)

    def at(self, now_ns: int) -> JointState:
        position, velocity, acceleration, _ = quintic(
            self.times, self.knots, np.array([(now_ns - self.start_ns) / NS_PER_S])
        )
        return position[0], velocity[0], acceleration[0]


class CommandedMotion:
    """Owns the trajectory that the arm follows, the one before it, and the one that waits to be sent."""

    def __init__(self, limits: JointLimits) -> None:
        self._limits = limits
        self._sent: _Sent | None = None
        self._before: _Sent | None = None
        self._pending: JointTrajectory | None = None

    @property
    def known(self) -> bool:
        """Whether something was sent, so that it is known what the arm's controller commands."""
        return self._sent is not None

    def at(self, now_ns: int) -> JointState:
        """Return position, velocity and acceleration, each [7], that are commanded at a time.

        Raises:
            RuntimeError: Nothing was sent yet (see `known`).
        """
        if self._sent is None:
            raise RuntimeError("No trajectory was planned yet.")
        return self._sent.at(now_ns)

    def active(self, now_ns: int) -> bool:
        """Whether the command has not come to rest yet."""
        return self._sent is not None and now_ns < self._sent.end_ns

    def offer(
        self, trajectory: JointTrajectory, start: JointState, inside: Float64Array | None = None
    ) -> str:
        """Send a trajectory unless it breaks a limit; return the worst violation in words, or an empty text.

        Args:
            trajectory: What the arm shall do.
            start: Position, velocity and acceleration [7] from which the arm's controller begins it.
            inside: Joint positions [7] that count as within range, as where the arm was found.
        """
        violation = excess(trajectory, start, self._limits, inside)
        if not violation:
            self._before = self._sent
            self._sent = _Sent(trajectory.start_ns, *with_start(trajectory, start))
            self._pending = trajectory
        return violation

    def take(self) -> JointTrajectory | None:
        """Return the trajectory that waits to be sent, once."""
        pending, self._pending = self._pending, None
        return pending

    def postpone(self, now_ns: int) -> bool:
        """Offer the newest trajectory again as one that starts now; False unless the arm was and stays at rest."""
        sent = self._sent
        # Rest after an interpolated end is zero up to rounding.
        if sent is None or max(np.max(np.abs(part[0])) for part in sent.knots[1:]) > _RESTING:
            return False
        position, velocity, acceleration = sent.knots
        again = JointTrajectory(sent.times[1:], position[1:], velocity[1:], acceleration[1:], now_ns)
        before = self._before
        start = (position[0], velocity[0], acceleration[0])
        if self.offer(again, start, inside=position[-1]):
            return False
        self._before = before
        return True

    def withdraw(self) -> None:
        """Take back the newest trajectory, which was not sent: the arm follows the one before."""
        self._sent, self._pending = self._before, None

    def shift(self, jump_ns: int) -> None:
        """Move the starts of what was commanded by `jump_ns`: the clock jumped."""
        if self._sent is not None:
            self._sent = replace(self._sent, start_ns=self._sent.start_ns + jump_ns)
        if self._before is not None:
            self._before = replace(self._before, start_ns=self._before.start_ns + jump_ns)

    def on_arrival(self) -> None:
        """Let the trajectory that waits start when it arrives: nobody knows which clock the arm's controller reads."""
        if self._pending is not None:
            self._pending = replace(self._pending, start_ns=0)

    def forget(self) -> None:
        """Forget what was commanded: nobody follows it."""
        self._sent = self._before = self._pending = None


def excess(
    trajectory: JointTrajectory, start: JointState, limits: JointLimits, inside: Float64Array | None = None
) -> str:
    """Return the worst violation of a joint limit in words, or an empty text.

    Args:
        trajectory: What the arm shall do.
        start: Position, velocity and acceleration [7] from which the arm's controller begins it.
        limits: The limits.
        inside: Joint positions [7] that count as within range, as where the arm was found.
    """
    position, velocity, acceleration, jerk = sample_quintic(trajectory, start, SAMPLE_PERIOD)
    if not all(np.all(np.isfinite(values)) for values in (position, velocity, acceleration, jerk)):
        return "numbers that are not finite"
    # A start outside may come back in but not go farther out.
    lower = np.minimum(limits.lower, start[0]) - _POSITION_SLACK
    upper = np.maximum(limits.upper, start[0]) + _POSITION_SLACK
    if inside is not None:
        lower = np.minimum(lower, inside - _POSITION_SLACK)
        upper = np.maximum(upper, inside + _POSITION_SLACK)
    outside = np.any((position < lower) | (position > upper), axis=0)
    if np.any(outside):
        return f"joint {int(np.argmax(outside)) + 1} beyond its position limit"
    checks = (
        (velocity, limits.velocity, "rad/s"),
        (acceleration, limits.acceleration, "rad/s^2"),
        (jerk, limits.jerk, "rad/s^3"),
    )
    for values, limit, unit in checks:
        peaks = np.max(np.abs(values), axis=0)
        if np.any(peaks > limit * _SLACK):
            joint = int(np.argmax(peaks / limit))
            return f"{peaks[joint]:.3g} {unit} in joint {joint + 1}, allowed is {limit[joint]:.3g} {unit}"
    return ""
