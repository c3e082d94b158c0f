# SPDX-License-Identifier: Apache-2.0
"""GELLO and other joint leaders: the leader's tool motion since the clutch closed, repeated by the arm.

Closing the clutch (pressing the deadman) anchors both arms where they are, so leader and arm need not agree and the arm
never jumps:

    target = arm at the anchor + scale * (leader now - leader at the anchor)

The twist pulls the commanded pose towards that target, `gain` of the way per control period. A gain below 1 stays
stable although the commanded pose comes back one period late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import delta_between, moved, normalized
from physgen_control.motion import kinematics
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import Button, TeleopCommand
from physgen_control.types import NUM_JOINTS, Float64Array, Pose


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderConfig:
    """How a leader's joints are read and how the arm follows them."""

    joint_signs: tuple[float, ...] = parameter(
        (1.0,) * NUM_JOINTS, description="sign of each leader joint: 1 or -1", ge=-1, le=1
    )
    joint_offsets: tuple[float, ...] = parameter(
        (0.0,) * NUM_JOINTS,
        description="added to each leader joint after its sign",
        unit="rad",
        ge=-6.3,
        le=6.3,
    )
    leader_scale: float = parameter(
        1.0, description="metres of the arm per metre of the leader", ge=0.05, le=5.0
    )
    gain: float = parameter(
        0.25, description="share of the remaining way per control period", ge=0.01, le=0.9
    )
    control_period: float = parameter(
        0.05, description="the controller's control period", unit="s", ge=0.005, le=1.0
    )
    linear_speed: float = parameter(0.25, description="largest commanded speed", unit="m/s", ge=0.001, le=1.0)
    turn_rate: float = parameter(
        1.0, description="largest commanded turn rate", unit="rad/s", ge=0.001, le=3.0
    )
    rest_distance: float = parameter(
        0.0005, description="nearer to the target than this counts as there", unit="m", ge=0.0, le=0.05
    )
    rest_angle: float = parameter(
        0.002, description="the same for the orientation", unit="rad", ge=0.0, le=0.5
    )
    gripper_band: float = parameter(
        0.1, description="half width of the dead band around a half open trigger", ge=0.0, le=0.45
    )

    def __post_init__(self) -> None:
        """Check the lists of joints.

        Raises:
            UserError: Signs or offsets do not belong to seven joints, or a sign is neither 1 nor -1.
        """
        if len(self.joint_signs) != NUM_JOINTS or len(self.joint_offsets) != NUM_JOINTS:
            raise UserError(
                f"joint_signs and joint_offsets need {NUM_JOINTS} numbers each, got {len(self.joint_signs)} and "
                f"{len(self.joint_offsets)}."
            )
        if any(abs(sign) != 1.0 for sign in self.joint_signs):
            raise UserError(f"Every number of joint_signs must be 1 or -1, got {list(self.joint_signs)}.")


class Leader:
    """Turns leader joints and the arm's commanded pose into commands."""

    def __init__(self, config: LeaderConfig) -> None:
        self._config = config
        self._signs = np.array(config.joint_signs)
        self._offsets = np.array(config.joint_offsets)
        self._anchor: tuple[Pose, Pose] | None = None
        self._gripper: Button | None = None
        self._gripper_then: Button | None = None
        self._gripper_used = False

    def release(self) -> None:
        """Open the clutch; the next `follow` anchors again."""
        self._anchor, self._gripper, self._gripper_used = None, None, False

    def follow(
        self, joints: Sequence[float] | Float64Array, commanded: Pose, opening: float | None = None
    ) -> TeleopCommand:
        """Return the command while the clutch is closed; the first call closes it.

        Args:
            joints: The leader's seven joints [rad], in its own signs.
            commanded: Pose that the arm is commanded to (base frame).
            opening: The leader's gripper trigger, 0 closed .. 1 open; None: it has none.

        Raises:
            UserError: Not seven finite joints.
        """
        leader = self.leader_pose(joints)
        if self._anchor is None:
            self._anchor = (leader, commanded)
            self._gripper_then = self._trigger(opening)
        leader_then, arm_then = self._anchor
        way = delta_between(leader_then, leader)
        way[:3] *= self._config.leader_scale
        left = delta_between(commanded, moved(arm_then, way))
        buttons = {Button.DEADMAN}
        pressed = self._gripper_button(opening)
        if pressed is not None:
            buttons.add(pressed)
        return TeleopCommand(twist=self._twist(left), buttons=frozenset(buttons))

    def leader_pose(self, joints: Sequence[float] | Float64Array) -> Pose:
        """Return where the leader's tool would be on the arm (base frame).

        Args:
            joints: The leader's seven joints [rad], in its own signs.

        Raises:
            UserError: Not seven finite joints.
        """
        values = np.asarray(joints, np.float64)
        if values.shape != (NUM_JOINTS,) or not np.all(np.isfinite(values)):
            raise UserError(f"A leader must report {NUM_JOINTS} finite joints, got {values.tolist()}.")
        pose = kinematics.forward(self._signs * values + self._offsets)
        return Pose(position=pose.position, quaternion=normalized(pose.quaternion))

    def _twist(self, left: Float64Array) -> Float64Array:
        config = self._config
        twist = np.zeros(6)
        parts = (
            (slice(0, 3), config.rest_distance, config.linear_speed),
            (slice(3, 6), config.rest_angle, config.turn_rate),
        )
        for part, rest, fastest in parts:
            length = float(np.linalg.norm(left[part]))
            if length > rest:
                speed = min(config.gain * length / config.control_period, fastest)
                twist[part] = left[part] * (speed / length)
        return twist

    def _gripper_button(self, opening: float | None) -> Button | None:
        """Return the button that the trigger presses, once it has changed since the clutch closed.

        Closing the clutch must not drop what the hand holds.
        """
        now = self._trigger(opening)
        self._gripper_used = self._gripper_used or now is not self._gripper_then
        return now if self._gripper_used else None

    def _trigger(self, opening: float | None) -> Button | None:
        if opening is not None and np.isfinite(opening):
            if opening > 0.5 + self._config.gripper_band:
                self._gripper = Button.OPEN
            elif opening < 0.5 - self._config.gripper_band:
                self._gripper = Button.CLOSE
        return self._gripper
