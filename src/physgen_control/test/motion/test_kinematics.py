# SPDX-License-Identifier: Apache-2.0
"""Kinematics against independent numbers: a second formulation of the chain, finite differences, and round trips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_control.controller_config import RobotType
from physgen_control.geometry import delta_between, matrix_from_quaternion, moved
from physgen_control.motion import kinematics
from physgen_control.motion.kinematics import (
    HOME,
    IKError,
    forward,
    inverse,
    jacobian,
    joint_limits,
    smallest_singular_value,
)
from physgen_control.types import Pose

PANDA = joint_limits(RobotType.PANDA)
FR3 = joint_limits(RobotType.FR3)
SIM_HOME = np.array([0, np.pi / 8, 0, -5 * np.pi / 8, 0, 3 * np.pi / 4, np.pi / 4])
"""Where simulated tasks start the Panda."""


def configurations(limits: kinematics.JointLimits) -> st.SearchStrategy[np.ndarray]:
    shares = hnp.arrays(np.float64, 7, elements=st.floats(0, 1))
    return shares.map(lambda share: limits.lower + share * (limits.upper - limits.lower))


def chain(q: np.ndarray) -> np.ndarray:
    """The hand's transform from joint origins as a URDF writes them (xyz, roll about x), not from DH rows."""
    right = np.pi / 2
    origins = [
        ((0, 0, 0.333), 0),
        ((0, 0, 0), -right),
        ((0, -0.316, 0), right),
        ((0.0825, 0, 0), right),
        ((-0.0825, 0.384, 0), -right),
        ((0, 0, 0), right),
        ((0.088, 0, 0), right),
    ]
    frame = np.eye(4)
    for (xyz, roll), angle in zip(origins, q, strict=True):
        frame = frame @ transform(xyz, about_x(roll)) @ transform((0, 0, 0), about_z(angle))
    return frame @ transform((0, 0, 0.107), about_z(-np.pi / 4)) @ transform((0, 0, 0.1034), np.eye(3))


def transform(xyz: tuple[float, ...], rotation: np.ndarray) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = rotation, xyz
    return result


def about_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@given(q=configurations(PANDA))
def test_forward_equals_the_chain_of_the_urdf(q: np.ndarray) -> None:
    pose, expected = forward(q), chain(q)
    np.testing.assert_allclose(pose.position, expected[:3, 3], atol=1e-12)
    np.testing.assert_allclose(matrix_from_quaternion(pose.quaternion), expected[:3, :3], atol=1e-9)


def test_the_simulators_start_pose_is_half_a_metre_in_front_and_straight_down() -> None:
    """Worked by hand: in the vertical plane all turns add up to pi, so the tool points straight down."""
    pose = forward(SIM_HOME)
    a, b = np.pi / 8, np.pi / 8 + 5 * np.pi / 8  # tilt of upper arm and forearm from the vertical
    x = 0.316 * np.sin(a) + 0.0825 * np.cos(a) - 0.0825 * np.cos(b) + 0.384 * np.sin(b) + 0.088
    z = 0.333 + 0.316 * np.cos(a) - 0.0825 * np.sin(a) + 0.0825 * np.sin(b) + 0.384 * np.cos(b) - 0.2104
    np.testing.assert_allclose(pose.position, [x, 0.0, z], atol=1e-12)
    np.testing.assert_allclose(pose.position, [0.615, 0.0, 0.18], atol=0.02)  # what ManiSkill's tasks report
    np.testing.assert_allclose(matrix_from_quaternion(pose.quaternion), np.diag([1.0, -1.0, -1.0]), atol=1e-9)


@given(q=configurations(PANDA))
@settings(max_examples=50)
def test_the_jacobian_equals_finite_differences(q: np.ndarray) -> None:
    h = 1e-6
    columns = []
    for joint in range(7):
        step = np.zeros(7)
        step[joint] = h
        columns.append(delta_between(forward(q - step), forward(q + step)) / (2 * h))
    np.testing.assert_allclose(jacobian(q), np.stack(columns, axis=1), atol=1e-6)


@given(
    turns=hnp.arrays(np.float64, 7, elements=st.floats(-0.4, 0.4)),
    delta=hnp.arrays(np.float64, 6, elements=st.floats(-0.03, 0.03)),
)
@settings(max_examples=60)
def test_inverse_then_forward_is_the_target(turns: np.ndarray, delta: np.ndarray) -> None:
    seed = HOME + turns
    target = moved(forward(seed), delta)
    try:
        q = inverse(target, seed, PANDA, margin=0.05)
    except IKError:
        return  # some targets are out of reach; the next tests say which never are
    reached = delta_between(forward(q), target)
    assert np.linalg.norm(reached[:3]) <= 1e-6
    assert np.linalg.norm(reached[3:]) <= 1e-5
    assert np.all(q >= PANDA.lower + 0.05) and np.all(q <= PANDA.upper - 0.05)


@pytest.mark.parametrize("limits", [PANDA, FR3])
def test_near_targets_from_home_are_always_reached(limits: kinematics.JointLimits) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        target = moved(forward(HOME), rng.uniform(-0.05, 0.05, 6))
        q = inverse(target, HOME, limits, margin=0.1)
        assert np.max(np.abs(q - HOME)) < 0.5  # same branch
        np.testing.assert_allclose(forward(q).position, target.position, atol=1e-6)


def test_out_of_reach_is_a_sentence() -> None:
    home = forward(HOME)
    target = Pose(position=np.array([3.0, 0.0, 0.3]), quaternion=home.quaternion)
    with pytest.raises(
        IKError, match=r"The target at \[3.0, 0.0, 0.3\] m|No joint positions reach the target"
    ):
        inverse(target, HOME, PANDA)


def test_a_target_beyond_joint_limits_names_the_joints() -> None:
    narrow = replace(PANDA, lower=HOME - 0.02, upper=HOME + 0.02)
    target = moved(forward(HOME), np.array([0.1, 0, 0, 0, 0, 0]))
    with pytest.raises(IKError, match=r"needs .*joint 4.* beyond its position limit\.") as caught:
        inverse(target, HOME, narrow)
    assert caught.value.at_limit


def test_a_target_close_to_a_singularity_is_refused() -> None:
    assert smallest_singular_value(HOME) == pytest.approx(np.linalg.svd(jacobian(HOME))[1][-1])
    with pytest.raises(IKError, match="too close to a singular configuration"):
        inverse(forward(HOME), HOME, PANDA, min_singular_value=0.9)


def test_six_joints_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected 7 joint positions"):
        forward(np.zeros(6))


@pytest.mark.parametrize("limits", [PANDA, FR3])
def test_home_is_within_the_limits(limits: kinematics.JointLimits) -> None:
    for q in (HOME, SIM_HOME):
        assert np.all(q > limits.lower + 0.1) and np.all(q < limits.upper - 0.1)
