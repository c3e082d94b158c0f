# SPDX-License-Identifier: Apache-2.0
"""What ros2_control's JointTrajectoryController (Jazzy) makes of joint_trajectory messages; no ROS, no dynamics.

A new trajectory replaces the old one at once. Until its first point the command is interpolated from the desired state
at arrival (interpolate_from_desired_state), so an early message continues smoothly and a late one makes a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.motion.joint_path import quintic
from physgen_control.types import NS_PER_S, NUM_JOINTS, Float64Array

_AT_REST = 1e-5
"""Speed [rad/s] below which a trajectory counts as ending at rest, as in the controller."""

Sample = tuple[Float64Array, Float64Array, Float64Array]


@dataclass(frozen=True, slots=True)
class TrajectoryCommand:
    """A JointTrajectory message in numbers, joints in the arm's order."""

    start_ns: int
    """Header stamp; 0 = on arrival."""
    times: Float64Array
    """[n], seconds after the start."""
    positions: Float64Array
    """[n, 7] in rad."""
    velocities: Float64Array | None = None
    """[n, 7] in rad/s."""
    accelerations: Float64Array | None = None
    """[n, 7] in rad/s^2."""


def in_arm_order(names: Sequence[str], wanted: Sequence[str]) -> list[int] | None:
    """Return the index in `names` of every wanted joint, or None unless both hold the same joints."""
    if len(names) != len(wanted) or set(names) != set(wanted):
        return None
    return [list(names).index(name) for name in wanted]


class TrajectoryFollower:
    """The desired state of seven joints over time.

    Args:
        positions: Joints [7] that are held at first [rad].
        now_ns: Since when [ns].
    """

    def __init__(self, positions: Float64Array, now_ns: int = 0) -> None:
        self.hold(positions, now_ns)

    def hold(self, positions: Float64Array, now_ns: int) -> None:
        """Drop every trajectory and hold these joints, as after an activation."""
        rest = np.zeros((2, NUM_JOINTS))
        self._base_ns = now_ns
        self._times: Float64Array = np.array([0.0, 1.0])
        self._knots = (np.tile(np.asarray(positions, np.float64), (2, 1)), rest, rest)
        self._order = 5

    def accept(self, command: TrajectoryCommand, now_ns: int) -> str:
        """Take a trajectory; return why it is refused, or an empty text."""
        sentence = _refusal(command, now_ns)
        if sentence:
            return sentence
        start_ns = command.start_ns or now_ns
        before = [part[0] for part in self.sample(np.array([0.0]), now_ns)]
        count = len(command.times)
        zeros = np.zeros((count, NUM_JOINTS))
        knots = (
            command.positions,
            zeros if command.velocities is None else command.velocities,
            zeros if command.accelerations is None else command.accelerations,
        )
        times = command.times + (start_ns - now_ns) / NS_PER_S
        if times[0] > 0.0:
            times = np.concatenate([[0.0], times])
            knots = (
                np.vstack([before[0], knots[0]]),
                np.vstack([before[1], knots[1]]),
                np.vstack([before[2], knots[2]]),
            )
        elif count == 1:
            self.hold(command.positions[0], now_ns)
            return ""
        self._base_ns, self._times, self._knots = now_ns, times, knots
        self._order = 1 if command.velocities is None else 3 if command.accelerations is None else 5
        return ""

    def sample(self, offsets: Float64Array, now_ns: int) -> Sample:
        """Return desired position, velocity and acceleration, each [n, 7], at offsets [s] after now_ns."""
        at = offsets + (now_ns - self._base_ns) / NS_PER_S
        if self._order == 5:
            position, velocity, acceleration, _ = quintic(self._times, self._knots, at)
            ended = at >= self._times[-1]
            velocity[ended], acceleration[ended] = 0.0, 0.0
            return position, velocity, acceleration
        return self._sample_low_order(at)

    def _sample_low_order(self, at: Float64Array) -> Sample:
        positions, velocities, _ = self._knots
        i = np.clip(np.searchsorted(self._times, at, side="right") - 1, 0, len(self._times) - 2)
        h = (self._times[i + 1] - self._times[i])[:, None]
        u = np.clip((at - self._times[i])[:, None] / h, 0.0, 1.0)
        inside = (u < 1.0).astype(np.float64)
        d = positions[i + 1] - positions[i]
        if self._order == 1:
            return positions[i] + u * d, inside * d / h, np.zeros_like(d)
        v0, v1 = velocities[i] * h, velocities[i + 1] * h
        c2, c3 = 3 * d - 2 * v0 - v1, v0 + v1 - 2 * d
        return (
            positions[i] + v0 * u + c2 * u**2 + c3 * u**3,
            inside * (v0 + 2 * c2 * u + 3 * c3 * u**2) / h,
            inside * (2 * c2 + 6 * c3 * u) / h**2,
        )


def _refusal(command: TrajectoryCommand, now_ns: int) -> str:
    count = len(command.times)
    if count == 0:
        return "the trajectory is empty"
    parts = [command.positions, command.velocities, command.accelerations]
    given = [part for part in parts if part is not None]
    if any(part.shape != (count, NUM_JOINTS) for part in given):
        return f"every point needs {NUM_JOINTS} numbers"
    if not all(np.all(np.isfinite(part)) for part in (*given, command.times)):
        return "a number is not finite"
    if command.times[0] < 0.0 or np.any(np.diff(command.times) <= 0.0):
        return "time_from_start must increase strictly"
    if command.velocities is not None and np.any(np.abs(command.velocities[-1]) > _AT_REST):
        return "the last point must be at rest"
    if command.start_ns and command.start_ns + command.times[-1] * NS_PER_S < now_ns:
        return "the trajectory ended in the past"
    return ""
