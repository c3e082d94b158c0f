# SPDX-License-Identifier: Apache-2.0
"""The arm's URDF says what its kinematics say."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pinocchio (pip install pin) is not installed")

import pinocchio

from physgen_control.controller_config import RobotType
from physgen_control.geometry import matrix_from_quaternion
from physgen_control.motion.kinematics import HOME, forward, joint_range
from physgen_control.motion.urdf import arm_urdf


@pytest.mark.parametrize("robot", list(RobotType))
def test_the_urdf_leads_to_the_same_tool_centre_point(robot):
    model = pinocchio.buildModelFromXML(arm_urdf(robot))
    data = model.createData()
    frame = model.getFrameId(f"{robot.value}_hand_tcp")
    lower, upper = joint_range(robot)
    rng = np.random.default_rng(0)
    for joints in (HOME, *rng.uniform(lower, upper, (10, 7))):
        pinocchio.framesForwardKinematics(model, data, np.concatenate([joints, [0.01, 0.01]]))
        expected = forward(joints)
        np.testing.assert_allclose(data.oMf[frame].translation, expected.position, atol=1e-6)
        np.testing.assert_allclose(
            data.oMf[frame].rotation, matrix_from_quaternion(expected.quaternion), atol=1e-6
        )


def test_every_link_can_be_seen_and_no_mesh_is_needed():
    root = ET.fromstring(arm_urdf(RobotType.FR3))
    seen = {link.get("name") for link in root.iter("link") if link.find("visual") is not None}
    assert {f"fr3_link{index}" for index in range(8)} | {"fr3_hand", "fr3_finger1", "fr3_finger2"} == seen
    assert root.find(".//mesh") is None
