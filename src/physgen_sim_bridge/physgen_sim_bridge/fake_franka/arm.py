# SPDX-License-Identifier: Apache-2.0
"""Seven joints that follow a command as a stiff, gravity-compensated FR3 does, and its reflexes. No ROS.

Numbers from Franka's robot specifications; the servo is a critically damped second-order system with feed-forward.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from physgen_control.types import Float64Array

STEP = 0.001
"""One control cycle [s]."""

# Joint range of the URDF, not the smaller rectangle that the controller keeps to: beyond it the robot stops itself.
LOWER = np.array([-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
UPPER = np.array([2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
VELOCITY = np.array([2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26])
ACCELERATION = 10.0
JERK = 5000.0
_RATE = 60.0
"""Bandwidth of the joint servo [rad/s]: lag of a few milliseconds."""


_TORQUE_STEP = 0.02
"""A step of the command [rad] that asks for 12 Nm at once with Franka's gain of 600 Nm/rad."""


class RobotMode(IntEnum):
    """The values of FrankaRobotState.robot_mode."""

    OTHER = 0
    IDLE = 1
    MOVE = 2
    GUIDING = 3
    REFLEX = 4
    USER_STOPPED = 5


class SimulatedArm:
    """Joint positions [rad] and velocities [rad/s], float64 [7] each.

    `reflex` names the error that stopped the arm; it is empty while the arm may move.
    """

    def __init__(self, positions: Float64Array) -> None:
        self.positions = np.array(positions, np.float64)
        self.velocities = np.zeros(7)
        self._accelerations = np.zeros(7)
        self._last_command: Float64Array | None = None
        self.reflex = ""
        self.user_stop = False
        self.blocked = False

    @property
    def may_move(self) -> bool:
        """Whether there is neither a reflex nor a pressed user stop."""
        return not self.reflex and not self.user_stop

    @property
    def mode(self) -> RobotMode:
        """What FrankaRobotState would say."""
        if self.user_stop:
            return RobotMode.USER_STOPPED
        if self.reflex:
            return RobotMode.REFLEX
        return RobotMode.MOVE if np.max(np.abs(self.velocities)) > 1e-3 else RobotMode.IDLE

    def recover(self) -> None:
        """Acknowledge a reflex."""
        self.reflex = ""
        self.begin_motion()

    def begin_motion(self) -> None:
        """Forget the last command: a controller starts, and its first one is compared with nothing before."""
        self._last_command = None

    def step(self, position: Float64Array, velocity: Float64Array, acceleration: Float64Array) -> None:
        """Advance one millisecond towards a desired state, each [7] in rad, rad/s, rad/s^2; in a reflex, brake."""
        if self.may_move:
            self._watch(position)
        if not self.may_move or self.blocked:
            self._brake()
            return
        wanted = (
            _RATE**2 * (position - self.positions) + 2 * _RATE * (velocity - self.velocities) + acceleration
        )
        change = np.clip(wanted - self._accelerations, -JERK * STEP, JERK * STEP)
        self._accelerations = np.clip(self._accelerations + change, -ACCELERATION, ACCELERATION)
        self.velocities = np.clip(self.velocities + STEP * self._accelerations, -VELOCITY, VELOCITY)
        self.positions = self.positions + STEP * self.velocities
        if np.any(self.positions <= LOWER) or np.any(self.positions >= UPPER):
            self.positions = np.clip(self.positions, LOWER, UPPER)
            self.reflex = "joint_position_limits_violation"

    def _watch(self, position: Float64Array) -> None:
        """Stop in a reflex at a bad command: a step that asks for a torque step, or a speed beyond the limit.

        Smaller steps are no reflex of an arm commanded in effort; audit.py measures continuity.
        """
        last, self._last_command = self._last_command, np.array(position)
        if last is not None and np.any(np.abs(position - last) > _TORQUE_STEP):
            self.reflex = "controller_torque_discontinuity"
        elif np.any(np.abs(self.velocities) >= VELOCITY):
            self.reflex = "joint_velocity_violation"

    def _brake(self) -> None:
        self._last_command = None
        self._accelerations = np.zeros(7)
        slower = np.maximum(np.abs(self.velocities) - ACCELERATION * STEP, 0.0)
        self.velocities = np.copysign(slower, self.velocities)
        self.positions = np.clip(self.positions + STEP * self.velocities, LOWER, UPPER)
