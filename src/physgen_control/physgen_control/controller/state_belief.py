# SPDX-License-Identifier: Apache-2.0
"""Whether a measured state of an arm is believed: joint range, kinematics, and what the arm can reach. Pure.

A state that follows the last believed one at once must be reachable from it at the datasheet's speed. After a gap, or a
jump, nothing says which of the two is wrong: then several states in a row must agree with each other first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from physgen_control.controller_config import ControllerConfig, seconds_to_ns
from physgen_control.motion import kinematics
from physgen_control.types import NS_PER_S, RobotState

CONFIRMATIONS = 3
"""States in a row that must agree before a jump, or the first state after a gap, is believed."""

# Noise of an encoder and of stamps [rad].
_SLACK = 0.05
_RANGE_SLACK = 0.02


class StateBelief:
    """Remembers the last believed state and what came after it."""

    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._lower, self._upper = kinematics.joint_range(config.robot_type)
        self._fastest = kinematics.joint_top_speed(config.robot_type)
        self._believed: RobotState | None = None
        self._candidate: RobotState | None = None
        self._agreeing = 0

    def clock_jumped(self, jump_ns: int) -> None:
        """Move the stamps of what was measured by `jump_ns`: the clock jumped, the arm did not."""
        if self._believed is not None:
            self._believed = replace(self._believed, stamp_ns=self._believed.stamp_ns + jump_ns)
        self._candidate, self._agreeing = None, 0

    def doubt(self, state: RobotState) -> str:
        """Return why a state is not believed, or an empty text; its numbers must be finite."""
        outside = (state.positions < self._lower - _RANGE_SLACK) | (
            state.positions > self._upper + _RANGE_SLACK
        )
        if np.any(outside):
            joint = int(np.argmax(outside))
            return (
                f"A robot state with joint {joint + 1} at {state.positions[joint]:.3g} rad was not believed: its "
                f"range is {self._lower[joint]:.4g} .. {self._upper[joint]:.4g} rad."
            )
        expected = kinematics.forward(state.positions)
        away = float(np.linalg.norm(expected.position - state.tcp_pose.position))
        if away > self._config.pose_tolerance:
            return (
                f"A robot state was not believed: its pose is {away:.3f} m from where its joints put the tool, "
                f"allowed is {self._config.pose_tolerance:g} m (pose_tolerance)."
            )
        if self._believed is None or self._follows(self._believed, state):
            self._believed, self._candidate, self._agreeing = state, None, 0
            return ""
        before = self._candidate
        if before is None or not self._follows(before, state):
            self._agreeing = 1
        elif state.stamp_ns > before.stamp_ns:  # the same measurement again confirms nothing
            self._agreeing += 1
        self._candidate = state
        if self._agreeing >= CONFIRMATIONS:
            self._believed, self._candidate, self._agreeing = state, None, 0
            return ""
        jump = float(np.max(np.abs(state.positions - self._believed.positions)))
        gap = (state.stamp_ns - self._believed.stamp_ns) / NS_PER_S
        return (
            f"A robot state was not believed: it is {jump:.3f} rad and {gap:.3f} s from the one before; "
            f"{CONFIRMATIONS} in a row must agree."
        )

    def _follows(self, before: RobotState, after: RobotState) -> bool:
        since_ns = after.stamp_ns - before.stamp_ns
        if since_ns < 0:
            return False
        # After a gap only a state where the arm was left is believed at once.
        gap = since_ns > seconds_to_ns(self._config.max_state_age)
        reach = self._fastest * (0.0 if gap else since_ns / NS_PER_S) + _SLACK
        return bool(np.all(np.abs(after.positions - before.positions) <= reach))


def impossible_sentence(state: RobotState) -> str:
    """Return why a measured state cannot be used, or an empty text."""
    numbers = np.concatenate(
        [
            state.positions,
            state.velocities,
            state.tcp_pose.position,
            state.tcp_pose.quaternion,
            [state.gripper_width],
        ]
    )
    if not np.all(np.isfinite(numbers)):
        return "A robot state with NaN or infinite numbers was ignored."
    if not 1e-6 < float(np.max(np.abs(state.tcp_pose.quaternion))) < 1e6:
        return "A robot state whose quaternion is zero or huge was ignored: it names no rotation."
    return ""
