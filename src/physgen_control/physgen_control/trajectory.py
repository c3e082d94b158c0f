# SPDX-License-Identifier: Apache-2.0
"""From the deltas of an accepted chunk to one joint trajectory that respects speed, acceleration and jerk limits.

Each delta is added to the commanded pose before it and solved for joint positions; the straight joint path through
these waypoints is averaged over two windows, `smoothing_time` (bounds acceleration) and `smoothing_time_jerk` (bounds
jerk). An average never leaves the range of what it averages, so it keeps position and speed limits, and it comes to
rest by itself within the sum of the windows: that is the tail after the last waypoint. A new chunk continues the path,
so position, velocity and acceleration are continuous over replacements.

    waypoints  q0 --- q1 --- q2 .. q8 ------------- (constant)
    command     '--.._  follows, delayed by half the windows  _..--- at rest
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control import kinematics
from physgen_control.controller_config import NS_PER_S, ControllerConfig
from physgen_control.controller_core import PlannedStep, PlanRefusedError
from physgen_control.geometry import moved
from physgen_control.kinematics import IKError, JointLimits
from physgen_control.limits import box_excess, limit_motion
from physgen_control.types import AckResult, Float32Array, Float64Array, Limit, RobotState

SAMPLE_PERIOD = 0.001
"""Franka's control cycle [s]: limits are checked at this resolution."""

# A chunk whose joint acceleration is too high is tried slower before it is refused.
_SCALES = (1.0, 0.8, 0.6, 0.3, 0.1)
# Rounding of the limit checks.
_SLACK = 1.0 + 1e-6
_SHORTENINGS = 3
# At rest, a command this close [share of tracking_limit] to the measured joints is continued; otherwise measured wins.
_CONTINUE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class JointTrajectory:
    """Knots of a trajectory: times [s] after its start, strictly increasing, and float64[n, 7] rad, rad/s, rad/s^2."""

    times: Float64Array
    positions: Float64Array
    velocities: Float64Array
    accelerations: Float64Array


@dataclass(frozen=True, slots=True)
class RawPath:
    """A joint path, linear between knots and constant outside; times [s] are relative to anchor_ns (ROS time)."""

    anchor_ns: int
    times: Float64Array
    positions: Float64Array

    def at(self, time: float) -> Float64Array:
        """Return the path's position [7] at a time [s]."""
        return np.array([np.interp(time, self.times, column) for column in self.positions.T])

    def continued(self, now_ns: int, keep: float, times: Float64Array, positions: Float64Array) -> RawPath:
        """Return the path cut at `now_ns` and continued with knots `times` [s after now]; keeps `keep` s of history."""
        now = (now_ns - self.anchor_ns) / NS_PER_S
        past = (self.times > now - keep) & (self.times < now)
        start = max(now - keep, float(self.times[0]))
        head_times = [start] if start < now else []
        new_times = (
            np.concatenate([head_times, self.times[past & (self.times > start)], [now], now + times]) - now
        )
        head = [self.at(start)] if head_times else []
        new_positions = np.vstack(
            [*head, self.positions[past & (self.times > start)], self.at(now), positions]
        )
        return RawPath(now_ns, new_times, new_positions)


def smoothed(path: RawPath, times: Float64Array, long: float, short: float) -> tuple[Float64Array, ...]:
    """Return position, velocity and acceleration [n, 7] of the path averaged over two windows, at `times` [s]."""
    origin = path.positions[0]
    values = path.positions - origin
    steps = np.diff(path.times)[:, None]
    slopes = np.diff(values, axis=0) / np.where(steps > 0, steps, 1.0)
    # Exact first and second integrals at the knots; before the first knot everything is zero.
    once = np.vstack([np.zeros(7), np.cumsum(steps * (values[:-1] + values[1:]) / 2, axis=0)])
    pieces = steps * once[:-1] + steps**2 * (values[:-1] / 2 + steps * slopes / 6)
    twice = np.vstack([np.zeros(7), np.cumsum(pieces, axis=0)])
    slopes = np.vstack([slopes, np.zeros(7)])

    def integrals(at: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
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


def sample_quintic(
    trajectory: JointTrajectory, start: tuple[Float64Array, Float64Array, Float64Array], period: float
) -> tuple[Float64Array, ...]:
    """Return position, velocity, acceleration and jerk [n, 7] as a joint trajectory controller interpolates them.

    Args:
        trajectory: Knots with position, velocity and acceleration, which make quintic segments.
        start: Position, velocity and acceleration [7] at time 0.
        period: Distance of the samples [s].
    """
    times = np.concatenate([[0.0], trajectory.times])
    p = np.vstack([start[0], trajectory.positions])
    v = np.vstack([start[1], trajectory.velocities])
    a = np.vstack([start[2], trajectory.accelerations])
    at = np.arange(0.0, times[-1] + period / 2, period)
    i = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 2)
    h = (times[i + 1] - times[i])[:, None]
    u = np.clip((at - times[i])[:, None], 0.0, h)
    d, v0, v1, a0, a1 = p[i + 1] - p[i], v[i], v[i + 1], a[i], a[i + 1]
    c3 = (20 * d - (8 * v1 + 12 * v0) * h - (3 * a0 - a1) * h**2) / (2 * h**3)
    c4 = (-30 * d + (14 * v1 + 16 * v0) * h + (3 * a0 - 2 * a1) * h**2) / (2 * h**4)
    c5 = (12 * d - 6 * (v1 + v0) * h + (a1 - a0) * h**2) / (2 * h**5)
    return (
        p[i] + v0 * u + a0 * u**2 / 2 + c3 * u**3 + c4 * u**4 + c5 * u**5,
        v0 + a0 * u + 3 * c3 * u**2 + 4 * c4 * u**3 + 5 * c5 * u**4,
        a0 + 6 * c3 * u + 12 * c4 * u**2 + 20 * c5 * u**3,
        6 * c3 + 24 * c4 * u + 60 * c5 * u**2,
    )


class TrajectoryPlanner:
    """Keeps the commanded path of one arm; see controller_core.MotionPlanner."""

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        full = kinematics.joint_limits(config.robot_type)
        self.limits = JointLimits(
            lower=full.lower,
            upper=full.upper,
            velocity=full.velocity * config.joint_speed_fraction,
            acceleration=full.acceleration,
            jerk=full.jerk,
        )
        self._memory = config.smoothing_time + config.smoothing_time_jerk
        self._path: RawPath | None = None
        self._pending: JointTrajectory | None = None

    def forget(self) -> None:
        """The arm was moved by somebody else: the next plan starts from the measured joints."""
        self._path, self._pending = None, None

    def plan(self, motions: Float32Array, state: RobotState, now_ns: int) -> list[PlannedStep]:
        """Plan float32[n, 6] motions, each relative to the commanded pose before it; see MotionPlanner.plan."""
        path = self._current_path(state, now_ns)
        first = self.command(path, now_ns)
        excess = ""
        for scale in _SCALES:
            steps = self._resolve((motions * np.float32(scale)).astype(np.float32), path, now_ns)
            if scale < 1.0:
                steps = [_flagged(step, Limit.ACCEL) for step in steps]
            period = self._config.control_period
            times = np.arange(1, len(steps) + 1, dtype=np.float64) * np.float64(period)
            longer = path.continued(now_ns, self._memory, times, np.stack([step.positions for step in steps]))
            trajectory = self._knots(longer, len(steps))
            excess = self._excess(trajectory, first)
            if not excess:
                self._path, self._pending = longer, trajectory
                return steps
        raise PlanRefusedError(
            AckResult.STEP, f"Even at {_SCALES[-1]:g} of its size the chunk needs {excess}."
        )

    def stop(self, state: RobotState | None, now_ns: int) -> None:
        """Come to rest within the smoothing windows, from wherever the command is."""
        del state
        if self._path is None:
            return
        self._path = self._path.continued(now_ns, self._memory, np.empty(0), np.empty((0, 7)))
        self._pending = self._knots(self._path, 0)

    def tracking_error(self, state: RobotState) -> float:
        """Return the largest distance [rad] of a measured joint from its command at the state's stamp."""
        if self._path is None:
            return 0.0
        position, _, _ = self.command(self._path, state.stamp_ns)
        return float(np.max(np.abs(position - state.positions)))

    def take(self) -> JointTrajectory | None:
        """Return the newest trajectory, once."""
        pending, self._pending = self._pending, None
        return pending

    def command(self, path: RawPath, now_ns: int) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the smoothed command at a time: position, velocity, acceleration, each [7]."""
        at = np.array([(now_ns - path.anchor_ns) / NS_PER_S])
        position, velocity, acceleration = self._smoothed(path, at)
        return position[0], velocity[0], acceleration[0]

    def _current_path(self, state: RobotState, now_ns: int) -> RawPath:
        fresh = RawPath(now_ns, np.array([0.0]), np.array([state.positions], np.float64))
        path = self._path
        if path is None:
            return fresh
        at_rest = (now_ns - path.anchor_ns) / NS_PER_S > path.times[-1] + self._memory
        far = self.tracking_error(state) > _CONTINUE_SHARE * self._config.tracking_limit
        return fresh if at_rest and far else path

    def _resolve(self, motions: Float32Array, path: RawPath, now_ns: int) -> list[PlannedStep]:
        config = self._config
        positions = path.at((now_ns - path.anchor_ns) / NS_PER_S)
        steps: list[PlannedStep] = []
        clipped = 0
        for index, motion in enumerate(motions):
            step = self._resolve_one(motion, positions, index)
            # Slowed for a joint's sake is not a policy's mistake: the TCP limits are what it can know.
            clipped += bool(step.limits & ~Limit.JOINT)
            positions = step.positions
            steps.append(step)
        if clipped > config.max_clipped_steps:
            raise PlanRefusedError(
                AckResult.STEP,
                f"{clipped} of {len(steps)} actions had to be clipped, at most {config.max_clipped_steps} may "
                "(max_clipped_steps).",
            )
        return steps

    def _resolve_one(self, motion: Float32Array, positions: Float64Array, index: int) -> PlannedStep:
        """Limit one motion and solve it; a motion that is too fast for a joint is shortened."""
        config = self._config
        pose = kinematics.forward(positions)
        outside = box_excess(pose.position + motion[:3].astype(np.float64), pose.position, config)
        if outside > config.gross_workspace:
            raise PlanRefusedError(
                AckResult.WORKSPACE,
                f"Action {index} leads {outside:.3f} m outside the workspace box, refused above "
                f"{config.gross_workspace:g} m (gross_workspace).",
            )
        limited = limit_motion(motion, pose, config)
        motion, flags = limited.motion, limited.limits
        furthest = self.limits.velocity * config.control_period
        for _ in range(_SHORTENINGS):
            target = moved(pose, motion)
            try:
                solution = kinematics.inverse(target, positions, self.limits, margin=config.joint_margin)
            except IKError as error:
                result = AckResult.JOINT_LIMIT if error.at_limit else AckResult.IK
                raise PlanRefusedError(result, f"Action {index}: {error}") from error
            ratios = np.abs(solution - positions) / furthest
            ratio = float(np.max(ratios))
            if ratio <= 1.0:
                return PlannedStep(motion=motion, limits=flags, target_pose=target, positions=solution)
            motion = (motion * np.float32(0.995 / ratio)).astype(np.float32)
            flags |= Limit.JOINT
        joint = int(np.argmax(ratios))
        raise PlanRefusedError(
            AckResult.JOINT_LIMIT,
            f"Action {index} still turns joint {joint + 1} with {ratio * self.limits.velocity[joint]:.3g} rad/s, "
            f"allowed is {self.limits.velocity[joint]:.3g} rad/s (joint_speed_fraction).",
        )

    def _knots(self, path: RawPath, steps: int) -> JointTrajectory:
        """Sample the smoothed path at the control steps and through the tail; the last knot is exactly at rest."""
        period = self._config.control_period
        tail = int(np.ceil(self._memory / period - 1e-9))
        times = np.arange(1, steps + tail + 1, dtype=np.float64) * np.float64(period)
        position, velocity, acceleration = self._smoothed(path, times)
        position[-1], velocity[-1], acceleration[-1] = path.positions[-1], 0.0, 0.0
        return JointTrajectory(times, position, velocity, acceleration)

    def _excess(
        self, trajectory: JointTrajectory, start: tuple[Float64Array, Float64Array, Float64Array]
    ) -> str:
        """Return the worst violation of a joint limit in words, or an empty text."""
        _, velocity, acceleration, jerk = sample_quintic(trajectory, start, SAMPLE_PERIOD)
        checks = (
            (velocity, self.limits.velocity, "rad/s"),
            (acceleration, self.limits.acceleration, "rad/s^2"),
            (jerk, self.limits.jerk, "rad/s^3"),
        )
        for values, limit, unit in checks:
            peaks = np.max(np.abs(values), axis=0)
            if np.any(peaks > limit * _SLACK):
                joint = int(np.argmax(peaks / limit))
                return f"{peaks[joint]:.3g} {unit} in joint {joint + 1}, allowed is {limit[joint]:.3g} {unit}"
        return ""

    def _smoothed(self, path: RawPath, times: Float64Array) -> tuple[Float64Array, ...]:
        return smoothed(path, times, self._config.smoothing_time, self._config.smoothing_time_jerk)


def _flagged(step: PlannedStep, flag: Limit) -> PlannedStep:
    return PlannedStep(
        motion=step.motion, limits=step.limits | flag, target_pose=step.target_pose, positions=step.positions
    )
