# SPDX-License-Identifier: Apache-2.0
"""A joint trajectory controller as an auditor: it follows what was sent, and looks at every millisecond of it.

It shares the quintic with the code under test, and nothing else: limits come from the data sheet's table, continuity
from what it followed before. Time here is true time, which no clock of the controller's can change.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physgen_control.motion.joint_path import JointTrajectory, quintic
from physgen_control.motion.kinematics import JointLimits

MS = 1_000_000
SLACK = 1.0 + 1e-3
EXTREMES = 2e-6
"""How far [rad] rounding of knot times to nanoseconds may move a position."""


@dataclass(slots=True)
class MotionAudit:
    """Follows trajectories; `violations` says in words what was wrong."""

    limits: JointLimits
    position: np.ndarray
    now_ns: int
    violations: list[str] = field(default_factory=list)
    sent: int = 0
    samples: int = 0
    _base_ns: int = 0
    _times: np.ndarray = field(default_factory=lambda: np.array([0.0, 1.0]))
    _knots: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def arrive(self, trajectory: JointTrajectory, start_ns: int) -> None:
        """Follow a trajectory from here on; `start_ns` is true time, 0 for at once."""
        self.sent += 1
        position, velocity, acceleration, _ = self.at(np.array([0.0]))
        late = ((start_ns or self.now_ns) - self.now_ns) / 1e9
        times = trajectory.times + late
        for name in ("times", "positions", "velocities", "accelerations"):
            if not np.all(np.isfinite(getattr(trajectory, name))):
                self.violations.append(f"{name} are not finite")
                return
        if np.any(np.diff(times) <= 0.0):
            self.violations.append("times do not increase")
        if times[0] <= 0.0:
            self.violations.append(f"the first knot was {-times[0]:.3f} s ago")
            return
        if np.any(trajectory.velocities[-1]) or np.any(trajectory.accelerations[-1]):
            self.violations.append("the last knot is not at rest")
        self._base_ns, self._times = self.now_ns, np.concatenate([[0.0], times])
        self._knots = (
            np.vstack([position, trajectory.positions]),
            np.vstack([velocity, trajectory.velocities]),
            np.vstack([acceleration, trajectory.accelerations]),
        )

    def at(self, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return position, velocity, acceleration, jerk [n, 7] at offsets [s] after now."""
        if self._knots is None:
            still = np.zeros((len(offsets), 7))
            return np.tile(self.position, (len(offsets), 1)), still, still, still
        return quintic(self._times, self._knots, (self.now_ns - self._base_ns) / 1e9 + offsets)

    def advance(self, now_ns: int) -> None:
        """Look at every millisecond up to `now_ns`."""
        end_ns = self._base_ns + self._times[-1] * 1e9
        # After the end of a trajectory nothing moves: nothing to look at.
        if self._knots is not None and self.now_ns < end_ns:
            count = max(1, int((min(now_ns, end_ns) - self.now_ns) / MS))
            self._look(*self.at(np.arange(1, count + 1) / 1000.0))
        self.now_ns = now_ns
        self.position = self.at(np.array([0.0]))[0][0]

    @property
    def resting(self) -> bool:
        """What was sent is over."""
        return self._knots is None or self.now_ns >= self._base_ns + self._times[-1] * 1e9

    @property
    def speed(self) -> float:
        """The fastest joint now [rad/s]."""
        return float(np.max(np.abs(self.at(np.array([0.0]))[1])))

    def _look(self, position: np.ndarray, *motion: np.ndarray) -> None:
        self.samples += len(position)
        limits = self.limits
        lower, upper = np.minimum(limits.lower, self.position), np.maximum(limits.upper, self.position)
        if np.any((position < lower - EXTREMES) | (position > upper + EXTREMES)):
            self.violations.append("a joint went beyond its range")
        names = ("rad/s", "rad/s^2", "rad/s^3")
        for values, limit, unit in zip(
            motion, (limits.velocity, limits.acceleration, limits.jerk), names, strict=True
        ):
            share = float(np.max(np.abs(values) / limit))
            if share > SLACK:
                self.violations.append(f"{share:.4f} of the limit in {unit}")
