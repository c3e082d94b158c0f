# SPDX-License-Identifier: Apache-2.0
"""A joint trajectory as the arm's controller runs it, evaluated a second time: polynomials from their end conditions.

Written for the motion monitor alone. It shares no line with the code that plans trajectories, so that an error there is
not repeated here. Pure NumPy; angles in rad, times in s.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from physgen_control.types import NUM_JOINTS, Float64Array

MOST_KNOTS = 500
"""More knots than this are not judged in time, so they are refused; a chunk has about a tenth."""

CYCLE = 0.001
"""The arm's control cycle [s]."""

_MOST_PER_SEGMENT = 250
"""Samples of one segment: a polynomial of degree five between two knots hides nothing from so many."""

_JOINT = re.compile(r"(?<!finger)_joint([1-7])$")

Motion = tuple[Float64Array, Float64Array, Float64Array]
"""Position, velocity and acceleration: each [7] for an instant, each [n, 7] for samples."""


class UnreadableTrajectoryError(ValueError):
    """A message is no trajectory for seven joints; the text goes on after "A joint trajectory"."""


@dataclass(frozen=True, slots=True)
class Knots:
    """A trajectory message in numbers, joints in the arm's order."""

    times: Float64Array
    """[n], seconds after its start."""
    positions: Float64Array
    """[n, 7] in rad."""
    velocities: Float64Array
    """[n, 7] in rad/s."""
    accelerations: Float64Array | None
    """[n, 7] in rad/s^2; None where the message has none."""


def arm_joints(names: Sequence[str]) -> list[int]:
    """Return where joints 1 to 7 of the arm are in `names`; other joints are left out.

    Raises:
        UnreadableTrajectoryError: A joint is missing or named twice.
    """
    found: dict[int, int] = {}
    for place, name in enumerate(names):
        match = _JOINT.search(name)
        if match is None:
            continue
        joint = int(match.group(1))
        if joint in found:
            raise UnreadableTrajectoryError(f"names joint {joint} twice")
        found[joint] = place
    if len(found) != NUM_JOINTS:
        raise UnreadableTrajectoryError(f"names {len(found)} of the arm's {NUM_JOINTS} joints")
    return [found[joint] for joint in range(1, NUM_JOINTS + 1)]


def read_knots(names: Sequence[str], points: Sequence[Any]) -> Knots:
    """Return the knots of a trajectory_msgs/JointTrajectory.

    Args:
        names: Its joint_names.
        points: Its points.

    Raises:
        UnreadableTrajectoryError: Other joints than the arm's, no point or too many, or a number that is not finite.
    """
    order = arm_joints(names)
    if len(names) != NUM_JOINTS:
        raise UnreadableTrajectoryError(f"names {len(names)} joints, the arm has {NUM_JOINTS}")
    if not 0 < len(points) <= MOST_KNOTS:
        raise UnreadableTrajectoryError(f"has {len(points)} points, allowed are 1 to {MOST_KNOTS}")
    durations = [point.time_from_start for point in points]
    times = np.array([duration.sec + duration.nanosec / 1e9 for duration in durations])
    positions = _table([point.positions for point in points], "positions")
    velocities = _table([point.velocities for point in points], "velocities")
    given = [point.accelerations for point in points]
    accelerations = _table(given, "accelerations") if any(len(row) for row in given) else None
    parts = [times, positions, velocities, *([] if accelerations is None else [accelerations])]
    if not all(np.isfinite(part).all() for part in parts):
        raise UnreadableTrajectoryError("has a number that is not finite")
    return Knots(
        times,
        positions[:, order],
        velocities[:, order],
        None if accelerations is None else accelerations[:, order],
    )


def _table(rows: Sequence[Any], what: str) -> Float64Array:
    if any(len(row) != NUM_JOINTS for row in rows):
        raise UnreadableTrajectoryError(f"does not say {NUM_JOINTS} {what} in every point")
    return np.array(rows, np.float64)


class Segments:
    """One polynomial from each knot to the next: a quintic with accelerations, else a cubic.

    Args:
        knots: At least two, with times that increase.
    """

    def __init__(self, knots: Knots) -> None:
        self.times = knots.times
        self._lengths = np.diff(knots.times)
        scale = self._lengths[:, None]
        ends = [knots.positions, knots.velocities]
        if knots.accelerations is not None:
            ends.append(knots.accelerations)
        scaled = [part[:-1] * scale**power for power, part in enumerate(ends)]
        scaled += [part[1:] * scale**power for power, part in enumerate(ends)]
        # Shape: segments, conditions, joints.
        self._coefficients = _SOLVED[len(ends)] @ np.stack(scaled, axis=1)
        self._size = 2 * len(ends)
        self._final = knots.positions[-1]

    @property
    def end(self) -> float:
        """When the last knot is due [s]."""
        return float(self.times[-1])

    def at(self, time: float) -> Motion:
        """Return the motion at an instant; the first knot's before all, rest after the end."""
        if time >= self.end:
            return self._final, np.zeros(NUM_JOINTS), np.zeros(NUM_JOINTS)
        segment = max(int(np.searchsorted(self.times, time, side="right")) - 1, 0)
        length = self._lengths[segment]
        place = max((time - self.times[segment]) / length, 0.0)
        value, slope, bend = _basis(np.array([place]), self._size) @ self._coefficients[segment]
        return value[0], slope[0] / length, bend[0] / length**2

    def samples(self) -> Motion:
        """Return the motion [n, 7] at every control cycle or finer, both ends of every segment among them."""
        count = int(np.clip(np.ceil(np.max(self._lengths) / CYCLE), 4, _MOST_PER_SEGMENT))
        # Shapes: 3, 1, samples, size times segments, size, joints.
        value, slope, bend = _even_basis(count, self._size)[:, None] @ self._coefficients
        length = self._lengths[:, None, None]
        slope /= length
        bend /= length**2
        return value.reshape(-1, NUM_JOINTS), slope.reshape(-1, NUM_JOINTS), bend.reshape(-1, NUM_JOINTS)


def _basis(places: Float64Array, size: int) -> Float64Array:
    """Return float64 [3, n, size]: what turns coefficients into value, slope and bend at places 0 .. 1."""
    return np.stack([np.polynomial.polynomial.polyval(places, powers).T for powers in _derivatives(size)])


@lru_cache(maxsize=2)
def _derivatives(size: int) -> list[Float64Array]:
    """Return the coefficients of every power of a place, and of its first and second derivative."""
    powers = np.eye(size)
    return [
        np.asarray(np.polynomial.polynomial.polyder(powers, order, axis=1).T, np.float64)
        for order in range(3)
    ]


@lru_cache(maxsize=512)
def _even_basis(count: int, size: int) -> Float64Array:
    return _basis(np.linspace(0.0, 1.0, count + 1), size)


def _end_conditions(derivatives: int) -> Float64Array:
    """Return the matrix that turns coefficients over [0, 1] into value and derivatives at 0 and then at 1."""
    at_ends = _basis(np.array([0.0, 1.0]), 2 * derivatives)[:derivatives]
    return np.concatenate([at_ends[:, 0], at_ends[:, 1]])


# Solved once: coefficients are linear in the end conditions. 2: cubic (position, velocity), 3: quintic.
_SOLVED = {count: np.linalg.inv(_end_conditions(count)) for count in (2, 3)}
