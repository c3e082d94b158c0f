# SPDX-License-Identifier: Apache-2.0
"""The arm in the viewer: its URDF once, then its joints' transforms; a gripper alone where that is all we know."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from physgen_bringup.viewer.blueprint import GRIPPER, ROBOT, WORLD
from physgen_control.controller_config import RobotType
from physgen_control.messages.status import MeasuredJoints
from physgen_control.motion.kinematics import forward
from physgen_control.motion.urdf import FINGER_TRAVEL, arm_urdf
from physgen_control.types import Pose

AGREEMENT = 0.02
"""Joints that lead farther [m] from the measured tool centre point are not those of this arm."""

_STEEL, _DARK = (200, 205, 215), (70, 78, 90)


class RobotView:
    """Draws one arm into a recording; the arm's base is the world of the viewer."""

    def __init__(self, recording: Any, robot: RobotType) -> None:
        self._recording = recording
        self._robot = robot
        self._tree: Any = None

    def show_gripper(self, pose: Pose, opening: float) -> None:
        """Draw hand and fingers at the tool centre point: true also where the joints are not known.

        Args:
            pose: The tool centre point in the base frame.
            opening: Between the fingers [m].
        """
        import rerun as rr

        side = min(max(opening, 0.0), 2 * FINGER_TRAVEL) / 2 + 0.006
        centres = [(0.0, 0.0, -0.063), (0.0, side, -0.02), (0.0, -side, -0.02)]
        halves = [(0.025, 0.10, 0.03), (0.01, 0.006, 0.028), (0.01, 0.006, 0.028)]
        self._recording.log(
            GRIPPER,
            rr.Transform3D(translation=pose.position, quaternion=rr.Quaternion(xyzw=pose.quaternion)),
            rr.Boxes3D(centers=centres, half_sizes=halves, colors=[_STEEL, _DARK, _DARK], fill_mode="solid"),
        )

    def show_arm(self, joints: MeasuredJoints, tcp: Pose) -> bool:
        """Draw the arm's links; return False, having drawn nothing, where the joints do not lead to the TCP.

        A simulated gripper without an arm publishes joints that only look like some.
        """
        if float(np.linalg.norm(forward(joints.positions).position - tcp.position)) > AGREEMENT:
            return False
        if self._tree is None:
            self._tree = self._loaded()
        prefix = self._robot.value
        values = {f"{prefix}_joint{index + 1}": float(q) for index, q in enumerate(joints.positions)}
        values |= {f"{prefix}_finger_joint{side}": joints.gripper_width / 2 for side in (1, 2)}
        for name, value in values.items():
            joint = self._tree.get_joint_by_name(name)
            self._recording.log(
                f"{ROBOT}/joints/{name}", joint.compute_transform(_inside(joint, value), clamp=True)
            )
        return True

    def _loaded(self) -> Any:
        """Log the robot's description and join its base to the world."""
        import rerun as rr
        from rerun.urdf import UrdfTree

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{self._robot.value}.urdf"
            path.write_text(arm_urdf(self._robot), encoding="utf-8")
            tree = UrdfTree.from_file_path(path, ROBOT, static_transform_entity_path=f"{ROBOT}/joints/fixed")
            tree.log_urdf_to_recording(self._recording)
        self._recording.log(
            f"{ROBOT}/base",
            rr.Transform3D(parent_frame=f"tf#/{WORLD}", child_frame=f"{self._robot.value}_link0"),
            static=True,
        )
        return tree


def _inside(joint: Any, value: float) -> float:
    """Return a measured joint within its range: being a little outside of it is no warning of a drawing's."""
    return min(max(value, float(joint.limit_lower)), float(joint.limit_upper))
