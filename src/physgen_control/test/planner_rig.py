# SPDX-License-Identifier: Apache-2.0
"""A planner of an FR3 for tests of motion: its states, its chunks, and what every trajectory keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from controller_rig import START_NS, make_config, make_state

from physgen_control.controller_config import ArmInterface, ControllerConfig, RobotType
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.trajectory import (
    SAMPLE_PERIOD,
    JointTrajectory,
    TrajectoryPlanner,
    sample_quintic,
)
from physgen_control.types import NS_PER_S, RobotState

SLACK = 1 + 1e-5

Start = tuple[np.ndarray, np.ndarray, np.ndarray]
REST: Start = (HOME, np.zeros(7), np.zeros(7))


def config(**changes: Any) -> ControllerConfig:
    return make_config(arm_interface=ArmInterface.JOINT_TRAJECTORY, robot_type=RobotType.FR3, **changes)


def state(q: np.ndarray = HOME, stamp_ns: int = START_NS) -> RobotState:
    return make_state(stamp_ns, forward(q), positions=np.array(q, np.float64))


def assert_within_limits(planner: TrajectoryPlanner, trajectory: JointTrajectory, start: Start) -> None:
    position, velocity, acceleration, jerk = sample_quintic(trajectory, start, SAMPLE_PERIOD)
    limits = planner.limits
    assert np.all(position >= limits.lower) and np.all(position <= limits.upper)
    assert np.all(np.abs(velocity) <= limits.velocity * SLACK)
    assert np.all(np.abs(acceleration) <= limits.acceleration * SLACK)
    assert np.all(np.abs(jerk) <= limits.jerk * SLACK)


def assert_ends_at_rest(trajectory: JointTrajectory) -> None:
    assert np.all(np.diff(trajectory.times) > 0)
    assert not trajectory.velocities[-1].any() and not trajectory.accelerations[-1].any()


def at(trajectory: JointTrajectory, start: Start, seconds: float) -> Start:
    """What a joint trajectory controller commands at a time after the trajectory's start."""
    samples = sample_quintic(trajectory, start, SAMPLE_PERIOD)
    index = min(round(seconds / SAMPLE_PERIOD), len(samples[0]) - 1)
    return samples[0][index], samples[1][index], samples[2][index]


def forward_motion(size: float = 0.01) -> np.ndarray:
    return np.tile(np.array([size, 0, 0, 0, 0, 0], np.float32), (8, 1))


def settling(away: float = 0.1) -> tuple[TrajectoryPlanner, np.ndarray, int]:
    """A planner that moved, rested, and settles since `now` on an elbow that was pushed."""
    planner = TrajectoryPlanner(config())
    planner.plan(forward_motion(0.002), state(), START_NS)
    now_ns = START_NS + 2 * NS_PER_S
    pushed = planner.command(now_ns)[0].copy()
    pushed[3] += away
    planner.restart(state(pushed, now_ns), now_ns)
    planner.take()
    return planner, pushed, now_ns
