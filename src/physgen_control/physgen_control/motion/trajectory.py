# SPDX-License-Identifier: Apache-2.0
"""From the deltas of an accepted chunk to one joint trajectory that respects speed, acceleration and jerk limits.

Each delta is added to the commanded pose before it and solved for joint positions; the straight joint path through
these waypoints is averaged over two windows, `smoothing_time` (bounds acceleration) and `smoothing_time_jerk` (bounds
jerk). An average never leaves the range of what it averages, so it keeps position and speed limits, and it comes to
rest by itself within the sum of the windows: that is the tail after the last waypoint. A new chunk continues the path,
so position, velocity and acceleration are continuous over replacements. What is checked and continued is not the
smoothed path but what a joint trajectory controller makes of its knots (joint_path.quintic).

    waypoints  q0 --- q1 --- q2 .. q8 ------------- (constant)
    command     '--.._  follows, delayed by half the windows  _..--- at rest
"""

from __future__ import annotations

import numpy as np

from physgen_control.controller_config import ControllerConfig
from physgen_control.geometry import moved
from physgen_control.motion import kinematics
from physgen_control.motion.commanded_motion import CommandedMotion, excess
from physgen_control.motion.joint_path import (
    SAMPLE_PERIOD,
    JointState,
    JointTrajectory,
    RawPath,
    knot_times,
    sample_quintic,
    smoothed,
)
from physgen_control.motion.kinematics import IKError, JointLimits
from physgen_control.motion.limits import box_excess, limit_motion
from physgen_control.motion.motion_planner import PlannedStep, PlanRefusedError
from physgen_control.types import NS_PER_S, AckResult, Float32Array, Float64Array, Limit, RobotState

__all__ = ["SAMPLE_PERIOD", "JointTrajectory", "TrajectoryPlanner", "sample_quintic"]

# A chunk whose joint acceleration is too high is tried slower before it is refused.
_SCALES = (1.0, 0.8, 0.6, 0.3, 0.1)
_SHORTENINGS = 3
# At rest, a command farther [share of tracking_limit] from the measured joints is not continued.
_CONTINUE_SHARE = 0.5
# No knot sooner than this after a replacement [s]: what a message may take to the arm's controller.
_LEAD = 0.06
# Arming with a command this close [rad] to the measured joints continues it.
_SETTLED = 0.01
# How far [rad] an arm at rest may be from a command that nobody remembers: position control holds far better.
_UNKNOWN_AWAY = 0.05
# No settling on the measured joints in less than this [s].
_SHORTEST_SETTLE = 0.3
# Times [s] in which a motion without a path is brought to rest; the first one within the limits is taken.
_BRAKES = (0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5)


class TrajectoryPlanner:
    """Keeps the commanded path of one arm: the MotionPlanner of joint trajectories."""

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
        self._shadow = False
        self._motion = CommandedMotion(self.limits)
        self._path: RawPath | None = None
        self._path_before: RawPath | None = None
        self._settled_ns = 0
        self._blind = False
        self._other_start: Float64Array | None = None

    def set_shadow(self, shadow: bool) -> None:
        """Choose whether commands are only computed; then each motion from rest starts at the measured joints."""
        self._shadow = shadow
        self._path = None
        self._motion.forget()

    def restart(self, state: RobotState, now_ns: int) -> None:
        """Continue from the command if the arm is there, else settle: an operator armed, or an episode began.

        The arm's controller holds its last command; when that is away from the measured joints (pushed, hand-guided,
        controller just activated), one slow trajectory to the measured joints brings both together first.

        Raises:
            PlanRefusedError: That trajectory would break a limit.
        """
        if self._shadow or self.active(now_ns):
            return
        measured = np.array(state.positions, np.float64)
        start: JointState = (measured, np.zeros(7), np.zeros(7))
        away = np.full(7, _UNKNOWN_AWAY)
        known = self._path is not None and self._motion.known
        if known:
            command = self.command(now_ns)
            away = np.abs(self.command(state.stamp_ns)[0] - measured)
            if np.max(away) <= _SETTLED:
                return
            start = command
        # Whether the arm's controller still holds the command or was activated anew is not known: slow enough for the
        # longer way. A rest-to-rest quintic peaks at 1.875 of its mean speed and at 5.774 (60) distances per second
        # squared (cubed).
        by_speed = np.max(1.875 * away / self.limits.velocity)
        by_acceleration = np.max(np.sqrt(5.774 * away / self.limits.acceleration))
        by_jerk = np.max(np.cbrt(60.0 * away / self.limits.jerk))
        duration = max(_SHORTEST_SETTLE, float(by_speed), float(by_acceleration), float(by_jerk))
        rest = np.zeros((1, 7))
        trajectory = JointTrajectory(np.array([duration]), measured[None], rest, rest, now_ns)
        violation = self._motion.offer(trajectory, start, inside=measured)
        if violation:
            raise PlanRefusedError(AckResult.STEP, f"To settle on the measured joints takes {violation}.")
        self._follow(RawPath(now_ns, np.array([0.0]), measured[None]))
        self._blind = not known
        self._other_start = measured if known else None
        self._settled_ns = now_ns + round(duration * NS_PER_S)

    def plan(self, motions: Float32Array, state: RobotState, now_ns: int) -> list[PlannedStep]:
        """Plan float32 [n, 6] motions, each relative to the pose commanded before it; smaller ones if a limit breaks.

        Raises:
            PlanRefusedError: A motion has no joint positions, or even the shortest form breaks a limit.
        """
        path = self._current_path(state, now_ns)
        start = self.command(now_ns) if self._motion.known else (path.positions[-1], np.zeros(7), np.zeros(7))
        violation = ""
        for scale in _SCALES:
            steps = self._resolve((motions * np.float32(scale)).astype(np.float32), path, now_ns)
            if scale < 1.0:
                steps = [_flagged(step, Limit.ACCEL) for step in steps]
            period = self._config.control_period
            times = np.arange(1, len(steps) + 1, dtype=np.float64) * np.float64(period)
            longer = path.continued(now_ns, self._memory, times, np.stack([step.positions for step in steps]))
            trajectory = self._knots(longer)
            violation = self._motion.offer(trajectory, start)
            if not violation:
                self._follow(longer)
                return steps
        raise PlanRefusedError(
            AckResult.STEP, f"Even at {_SCALES[-1]:g} of its size the chunk needs {violation}."
        )

    def stop(self, state: RobotState | None, now_ns: int) -> None:
        """Come to rest within the smoothing windows, from wherever the command is."""
        del state
        if self._path is None or not self.active(now_ns):
            return
        if self._settles_blindly(now_ns):
            return  # from where the arm's controller began is not known: what runs is slow and ends by itself
        start = self.command(now_ns)
        if now_ns >= self._settled_ns:
            path = self._path.continued(now_ns, self._memory, np.empty(0), np.empty((0, 7)))
            if not self._motion.offer(self._knots(path), start):
                self._follow(path)
                return
        self._brake(start, now_ns)

    def _brake(self, start: JointState, now_ns: int) -> None:
        """Come to rest, by the shortest quintic within the limits, from a command that no path describes (settling).

        If none is within them, the running trajectory ends at rest by itself.
        """
        position, velocity, acceleration = start
        if now_ns >= self._settled_ns:
            self._other_start = None
        for duration in _BRAKES:
            if not self.active(now_ns + round(duration * NS_PER_S)):
                return  # the running trajectory, which was checked, is at rest sooner
            end = position + velocity * duration / 2 + acceleration * duration**2 / 12
            rest = np.zeros((1, 7))
            trajectory = JointTrajectory(np.array([duration]), end[None], rest, rest, now_ns)
            if self._breaks_from_elsewhere(trajectory, end):
                continue
            if not self._motion.offer(trajectory, start, inside=end):
                self._blind = self._other_start is not None
                self._follow(RawPath(now_ns, np.array([0.0]), end[None]))
                self._settled_ns = now_ns + round(duration * NS_PER_S)
                return

    def _breaks_from_elsewhere(self, trajectory: JointTrajectory, end: Float64Array) -> bool:
        """Return whether a stop breaks a limit for an arm's controller that was activated anew.

        Such a controller began to settle where the arm was.
        """
        if self._other_start is None:
            return False
        start = (self._other_start, np.zeros(7), np.zeros(7))
        return bool(excess(trajectory, start, self.limits, inside=end))

    def active(self, now_ns: int) -> bool:
        """Return whether the command has not come to rest yet."""
        return self._motion.active(now_ns)

    def tracking_error(self, state: RobotState) -> float:
        """Return the largest distance [rad] of a measured joint from its command at the state's stamp."""
        if not self._motion.known:
            return 0.0
        lowest = highest = self.command(state.stamp_ns)[0]
        if self._path is not None and state.stamp_ns < self._settled_ns:
            # An arm's controller that was activated anew began at the end; one that held its command is on the way.
            end = self._path.positions[-1]
            lowest, highest = np.minimum(lowest, end), np.maximum(highest, end)
        return float(np.max(np.maximum(lowest - state.positions, state.positions - highest)))

    def _settles_blindly(self, now_ns: int) -> bool:
        return self._blind and now_ns < self._settled_ns

    def take(self) -> JointTrajectory | None:
        """Return the newest trajectory, once."""
        return self._motion.take()

    def command(self, now_ns: int) -> JointState:
        """Return what the arm's controller commands at a time [ns]: position, velocity, acceleration, each [7]."""
        return self._motion.at(now_ns)

    def postpone(self, now_ns: int) -> JointTrajectory | None:
        """Start the newest trajectory now instead, if the arm was at rest and stays so until it comes; else None."""
        path = self._path
        if path is None or not self._motion.postpone(now_ns):
            return None
        # Every path begins when its trajectory does.
        self._path = RawPath(now_ns, path.times, path.positions)
        self._settled_ns += now_ns - path.anchor_ns
        return self._motion.take()

    def withdraw(self, state: RobotState | None, now_ns: int) -> None:
        """Come to rest from the trajectory before, which the arm still follows: the newest one was not sent."""
        self._path = self._path_before
        self._motion.withdraw()
        self.stop(state, now_ns)

    def clock_jumped(self, jump_ns: int) -> None:
        """Move the starts of all that is known by `jump_ns`: the clock jumped."""
        self._motion.shift(jump_ns)
        self._path = _shifted(self._path, jump_ns)
        self._path_before = _shifted(self._path_before, jump_ns)
        self._settled_ns += jump_ns

    def start_on_arrival(self) -> None:
        """Let the trajectory that waits begin when it arrives, whatever the arm's controller reads on its clock."""
        self._motion.on_arrival()

    def _follow(self, path: RawPath) -> None:
        """Remember that the trajectory of this path was sent."""
        self._path_before, self._path = self._path, path

    def _current_path(self, state: RobotState, now_ns: int) -> RawPath:
        if self._path is None or (self._shadow and not self.active(now_ns)):
            self._motion.forget()
            return RawPath(now_ns, np.array([0.0]), np.array([state.positions], np.float64))
        if now_ns < self._settled_ns:
            left = (self._settled_ns - now_ns) / NS_PER_S
            raise PlanRefusedError(
                AckResult.NOT_ARMED, f"The arm settles on its measured joints for another {left:.2f} s."
            )
        away = 0.0 if self._shadow or self.active(now_ns) else self.tracking_error(state)
        if away > _CONTINUE_SHARE * self._config.tracking_limit:
            raise PlanRefusedError(
                AckResult.NOT_ARMED,
                f"A joint rests {away:.3f} rad from its last command: arm again to start from where the arm is.",
            )
        return self._path

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
        """Limit one motion and solve it; a motion that is too fast for a joint is shortened.

        Raises:
            PlanRefusedError: It leads far outside the workspace box, or no joint positions within the limits reach it.
        """
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
                solution = kinematics.inverse(
                    target, positions, self.limits, margin=config.joint_margin, posture=kinematics.HOME
                )
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

    def _knots(self, path: RawPath) -> JointTrajectory:
        """Sample the smoothed path where its cubics meet; the last knot is exactly at rest."""
        long, short = self._config.smoothing_time, self._config.smoothing_time_jerk
        times = knot_times(path, long, short, _LEAD)
        position, velocity, acceleration = smoothed(path, times, long, short)
        position[-1], velocity[-1], acceleration[-1] = path.positions[-1], 0.0, 0.0
        return JointTrajectory(times, position, velocity, acceleration, path.anchor_ns)


def _flagged(step: PlannedStep, flag: Limit) -> PlannedStep:
    return PlannedStep(
        motion=step.motion, limits=step.limits | flag, target_pose=step.target_pose, positions=step.positions
    )


def _shifted(path: RawPath | None, jump_ns: int) -> RawPath | None:
    return None if path is None else RawPath(path.anchor_ns + jump_ns, path.times, path.positions)
