# SPDX-License-Identifier: Apache-2.0
"""Kinematics against pinocchio, an independent library, on the chain of franka_description's URDF."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pinocchio", reason="pinocchio (pip install pin) is not installed")

import pinocchio

from physgen_control.controller_config import RobotType
from physgen_control.geometry import matrix_from_quaternion, quaternion_from_matrix
from physgen_control.motion.kinematics import IKError, forward, inverse, jacobian, joint_limits
from physgen_control.types import Pose

# xyz [m] and rpy [rad] of each joint's origin, axis z: franka_description, robots/fr3 and common.
ORIGINS = (
    ("0 0 0.333", "0 0 0"),
    ("0 0 0", "-1.570796326794897 0 0"),
    ("0 -0.316 0", "1.570796326794897 0 0"),
    ("0.0825 0 0", "1.570796326794897 0 0"),
    ("-0.0825 0.384 0", "-1.570796326794897 0 0"),
    ("0 0 0", "1.570796326794897 0 0"),
    ("0.088 0 0", "1.570796326794897 0 0"),
)
TCP = (("0 0 0.107", "0 0 0"), ("0 0 0", "0 0 -0.785398163397448"), ("0 0 0.1034", "0 0 0"))


def urdf() -> str:
    parts = ['<robot name="fr3"><link name="l0"/>']
    for index, (xyz, rpy) in enumerate(ORIGINS, 1):
        parts.append(
            f'<link name="l{index}"/><joint name="j{index}" type="revolute"><parent link="l{index - 1}"/>'
            f'<child link="l{index}"/><origin xyz="{xyz}" rpy="{rpy}"/><axis xyz="0 0 1"/>'
            '<limit lower="-4" upper="5" velocity="9" effort="99"/></joint>'
        )
    for index, (xyz, rpy) in enumerate(TCP, 8):
        parts.append(
            f'<link name="l{index}"/><joint name="f{index}" type="fixed"><parent link="l{index - 1}"/>'
            f'<child link="l{index}"/><origin xyz="{xyz}" rpy="{rpy}"/></joint>'
        )
    return "".join(parts) + "</robot>"


@pytest.fixture(scope="module")
def arm():
    model = pinocchio.buildModelFromXML(urdf())
    return model, model.createData(), model.getFrameId("l10")


def random_joints(count: int, seed: int = 0) -> np.ndarray:
    limits = joint_limits(RobotType.FR3)
    return np.random.default_rng(seed).uniform(limits.lower, limits.upper, (count, 7))


def test_forward_kinematics_agree_within_a_nanometre(arm) -> None:
    model, data, frame = arm
    for q in random_joints(500):
        pinocchio.framesForwardKinematics(model, data, q)
        placement = data.oMf[frame]
        pose = forward(q)
        np.testing.assert_allclose(pose.position, placement.translation, atol=1e-9)
        np.testing.assert_allclose(matrix_from_quaternion(pose.quaternion), placement.rotation, atol=1e-9)


def test_jacobians_agree(arm) -> None:
    model, data, frame = arm
    for q in random_joints(100, seed=1):
        theirs = pinocchio.computeFrameJacobian(model, data, q, frame, pinocchio.LOCAL_WORLD_ALIGNED)
        np.testing.assert_allclose(jacobian(q), theirs, atol=1e-9)


def test_inverse_kinematics_reach_pinocchios_poses_within_a_micrometre(arm) -> None:
    model, data, frame = arm
    limits = joint_limits(RobotType.FR3)
    rng = np.random.default_rng(2)
    solved = 0
    for q in random_joints(300, seed=3):
        pinocchio.framesForwardKinematics(model, data, q)
        placement = data.oMf[frame]
        target = Pose(placement.translation.copy(), quaternion_from_matrix(placement.rotation))
        seed = np.clip(q + rng.normal(0, 0.05, 7), limits.lower, limits.upper)
        try:
            solution = inverse(target, seed, limits)
        except IKError:
            continue  # near a singularity or a limit: refused, not wrong
        solved += 1
        pinocchio.framesForwardKinematics(model, data, solution)
        reached = data.oMf[frame]
        assert np.linalg.norm(reached.translation - placement.translation) <= 1e-6
        np.testing.assert_allclose(reached.rotation, placement.rotation, atol=2e-5)
    assert solved > 250
