# SPDX-License-Identifier: Apache-2.0
"""Joint paths and the trajectories sampled from them: pure NumPy, no limits and no kinematics.

A raw path is linear between waypoints. Averaging it over two windows, one after the other, gives a command with
continuous position, velocity and acceleration: a cubic between the instants at which a window's edge meets a waypoint.
Knots at exactly those instants make a quintic interpolator reproduce the command without error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.types import NS_PER_S, Float64Array

SAMPLE_PERIOD = 0.001
"""Franka's control cycle [s]: limits are checked at this resolution."""

JointState = tuple[Float64Array, Float64Array, Float64Array]
"""Position, velocity and acceleration, each float64[7]."""

# Knots nearer together than this [s] add nothing but rounding.
_MIN_SPACING = 0.002


@dataclass(frozen=True, slots=True)
class JointTrajectory:
    """Knots of a trajectory."""

    times: Float64Array
    """[n], seconds after start_ns, strictly increasing."""
    positions: Float64Array
    """[n, 7] in rad."""
    velocities: Float64Array
    """[n, 7] in rad/s."""
    accelerations: Float64Array
    """[n, 7] in rad/s^2."""
    start_ns: int = 0
    """ROS time at which the trajectory begins; 0: on arrival."""


@dataclass(frozen=True, slots=True)
class RawPath:
    """A joint path, linear between knots and constant outside."""

    anchor_ns: int
    """ROS time at which `times` is 0."""
    times: Float64Array
    """[n], seconds after the anchor."""
    positions: Float64Array
    """[n, 7] in rad."""

    def at(self, time: float) -> Float64Array:
        """Return the path's position [7] at a time [s]."""
        return np.array([np.interp(time, self.times, column) for column in self.positions.T])

    def continued(self, now_ns: int, keep: float, times: Float64Array, positions: Float64Array) -> RawPath:
        """Return the path cut at `now_ns` and continued with new knots.

        Args:
            now_ns: Where it is cut [ns of ROS time]; the anchor of the result.
            keep: How much of what lies before it is kept [s].
            times: Of the new knots, [n] seconds after the cut.
            positions: Of the new knots, [n, 7] in rad.
        """
        now = (now_ns - self.anchor_ns) / NS_PER_S
        start = max(now - keep, float(self.times[0]))
        past = (self.times > start) & (self.times < now)
        head_times = [start] if start < now else []
        new_times = np.concatenate([head_times, self.times[past], [now], now + times]) - now
        head = [self.at(start)] if head_times else []
        new_positions = np.vstack([*head, self.positions[past], self.at(now), positions])
        return RawPath(now_ns, new_times, new_positions)


def smoothed(path: RawPath, times: Float64Array, long: float, short: float) -> JointState:
    """Return position, velocity and acceleration [n, 7] of the path averaged over two windows.

    Args:
        path: The path.
        times: Where, [n] seconds after its anchor.
        long: Length of one window [s].
        short: Length of the other window [s].
    """
    origin = path.positions[0]
    values = path.positions - origin
    steps = np.diff(path.times)[:, None]
    slopes = np.diff(values, axis=0) / np.where(steps > 0, steps, 1.0)
    # Exact first and second integrals at the knots; before the first knot everything is zero.
    once = np.vstack([np.zeros(7), np.cumsum(steps * (values[:-1] + values[1:]) / 2, axis=0)])
    pieces = steps * once[:-1] + steps**2 * (values[:-1] / 2 + steps * slopes / 6)
    twice = np.vstack([np.zeros(7), np.cumsum(pieces, axis=0)])
    slopes = np.vstack([slopes, np.zeros(7)])

    def integrals(at: Float64Array) -> JointState:
        index = np.clip(np.searchsorted(path.times, at, side="right") - 1, 0, None)
        since = np.maximum(at - path.times[index], 0.0)[:, None]
        value, slope = values[index], slopes[index]
        return (
            value + slope * since,
            once[index] + value * since + slope * since**2 / 2,
            twice[index] + once[index] * since + value * since**2 / 2 + slope * since**3 / 6,
        )

    corners = [integrals(times - lag) for lag in (0.0, long, short, long + short)]
    acceleration, velocity, position = (
        (corners[0][k] - corners[1][k] - corners[2][k] + corners[3][k]) / (long * short) for k in range(3)
    )
    return position + origin, velocity, acceleration


def knot_times(path: RawPath, long: float, short: float, lead: float) -> Float64Array:
    """Return the instants [s] after `lead` at which the smoothed path changes from one cubic to the next.

    The last one is where it has come to rest. Before `lead` [s] there is no knot, so that a message which arrives late
    by less than that still joins without a step.
    """
    edges = np.concatenate([path.times + lag for lag in (0.0, short, long, long + short)])
    times = np.unique(edges[edges >= lead])
    if not len(times):
        return np.array([lead])
    # From the end, because the instant of rest must stay.
    kept = [times[-1]]
    for time in times[-2::-1]:
        if kept[-1] - time >= _MIN_SPACING:
            kept.append(time)
    return np.array(kept[::-1])


def quintic(
    times: Float64Array, knots: tuple[Float64Array, Float64Array, Float64Array], at: Float64Array
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return position, velocity, acceleration and jerk [m, 7] of a quintic spline at times `at` [s].

    Args:
        times: Knot times [n >= 2], strictly increasing.
        knots: Position, velocity and acceleration at the knots, each [n, 7].
        at: Sample times; outside the knots the nearest one counts, at rest.
    """
    p, v, a = knots
    i = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    h = (times[i + 1] - times[i])[:, None]
    u = np.clip((at - times[i])[:, None], 0.0, h)
    p0, v0, a0 = p[i], v[i], a[i]
    # What a segment's end differs by from a constant acceleration, in units of its length.
    rest = (p[i + 1] - p0 - h * (v0 + h * a0 / 2)) / (h * h * h)
    slope = (v[i + 1] - v0 - h * a0) / (h * h)
    bend = (a[i + 1] - a0) / (2 * h)
    c3 = 10 * rest - 4 * slope + bend
    c4 = (-15 * rest + 7 * slope - 2 * bend) / h
    c5 = (6 * rest - 3 * slope + bend) / (h * h)
    return (
        p0 + u * (v0 + u * (a0 / 2 + u * (c3 + u * (c4 + u * c5)))),
        v0 + u * (a0 + u * (3 * c3 + u * (4 * c4 + u * 5 * c5))),
        a0 + u * (6 * c3 + u * (12 * c4 + u * 20 * c5)),
        6 * c3 + u * (24 * c4 + u * 60 * c5),
    )


def sample_quintic(
    trajectory: JointTrajectory, start: JointState, period: float
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array]:
    """Return position, velocity, acceleration and jerk [n, 7] as a joint trajectory controller interpolates them.

    Args:
        trajectory: Knots with position, velocity and acceleration, which make quintic segments.
        start: Position, velocity and acceleration [7] at time 0.
        period: Distance of the samples [s].
    """
    times, knots = with_start(trajectory, start)
    return quintic(times, knots, np.arange(0.0, times[-1] + period / 2, period))


def with_start(
    trajectory: JointTrajectory, start: JointState
) -> tuple[Float64Array, tuple[Float64Array, Float64Array, Float64Array]]:
    """Return times and knots of a trajectory with the state at its start in front."""
    return (
        np.concatenate([[0.0], trajectory.times]),
        (
            np.vstack([start[0], trajectory.positions]),
            np.vstack([start[1], trajectory.velocities]),
            np.vstack([start[2], trajectory.accelerations]),
        ),
    )
