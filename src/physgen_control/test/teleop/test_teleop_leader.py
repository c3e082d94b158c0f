# SPDX-License-Identifier: Apache-2.0
"""A joint leader: the arm repeats the leader's tool motion since the clutch closed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physgen_control.errors import UserError
from physgen_control.geometry import delta_between, moved
from physgen_control.motion import kinematics
from physgen_control.teleop.command import Button
from physgen_control.teleop.leader import Leader, LeaderConfig
from physgen_control.types import Float64Array, Pose

PERIOD = 0.05
joints = arrays(np.float64, 7, elements=st.floats(-0.4, 0.4)).map(lambda offset: kinematics.HOME + offset)
changes = arrays(np.float64, 7, elements=st.floats(-0.05, 0.05))
start_poses = joints.map(kinematics.forward)


def follow_for(leader: Leader, positions: Float64Array, arm: Pose, steps: int, delay: int = 1) -> Pose:
    """The arm after control steps that execute each twist, with the commanded pose known `delay` steps later."""
    known = [arm] * (delay + 1)
    for _ in range(steps):
        twist = leader.follow(positions, known[-1 - delay]).twist
        known.append(moved(known[-1], twist * PERIOD))
    return known[-1]


@given(joints, start_poses)
def test_closing_the_clutch_moves_nothing(positions: Float64Array, arm: Pose) -> None:
    """Leader and arm may stand as differently as they like."""
    command = Leader(LeaderConfig()).follow(positions, arm)
    assert not np.any(command.twist) and command.deadman


@settings(max_examples=40)
@given(joints, changes, start_poses, st.floats(0.2, 2.0))
def test_the_arm_ends_where_the_leader_led_it(
    positions: Float64Array, change: Float64Array, arm: Pose, scale: float
) -> None:
    leader = Leader(LeaderConfig(leader_scale=scale))
    leader.follow(positions, arm)
    way = delta_between(kinematics.forward(positions), kinematics.forward(positions + change))
    way[:3] *= scale
    reached = follow_for(leader, positions + change, arm, 120)
    left = delta_between(reached, moved(arm, way))
    assert np.linalg.norm(left[:3]) < 2e-3 and np.linalg.norm(left[3:]) < 8e-3


@settings(max_examples=40)
@given(joints, changes, start_poses)
def test_the_way_there_never_overshoots_much(
    positions: Float64Array, change: Float64Array, arm: Pose
) -> None:
    """The commanded pose is known one period late; the gain must not make that swing."""
    leader = Leader(LeaderConfig())
    leader.follow(positions, arm)
    way = float(
        np.linalg.norm(
            delta_between(kinematics.forward(positions), kinematics.forward(positions + change))[:3]
        )
    )
    furthest = max(
        float(np.linalg.norm(follow_for(leader, positions + change, arm, steps).position - arm.position))
        for steps in (5, 10, 15, 20, 40)
    )
    assert furthest <= 1.1 * way + 1e-3


@given(joints, joints, start_poses)
def test_speeds_are_limited_and_reopening_forgets(
    positions: Float64Array, elsewhere: Float64Array, arm: Pose
) -> None:
    config = LeaderConfig()
    leader = Leader(config)
    leader.follow(positions, arm)
    twist = leader.follow(elsewhere, arm).twist
    assert np.linalg.norm(twist[:3]) <= config.linear_speed + 1e-9
    assert np.linalg.norm(twist[3:]) <= config.turn_rate + 1e-9
    leader.release()
    assert not np.any(leader.follow(elsewhere, arm).twist)


def test_the_trigger_counts_once_it_changed() -> None:
    """Taking over with an open trigger must not drop what the policy grasped."""
    leader, arm = Leader(LeaderConfig()), kinematics.forward(kinematics.HOME)
    assert leader.follow(kinematics.HOME, arm, 1.0).gripper == 0.0
    assert leader.follow(kinematics.HOME, arm, 0.5).gripper == 0.0
    assert leader.follow(kinematics.HOME, arm, 0.1).gripper == -1.0
    assert leader.follow(kinematics.HOME, arm, 0.5).gripper == -1.0
    assert Button.OPEN in leader.follow(kinematics.HOME, arm, 0.9).buttons
    leader.release()
    assert leader.follow(kinematics.HOME, arm, 0.9).gripper == 0.0


def test_signs_and_offsets_turn_the_leader_into_the_arm() -> None:
    signs, offsets = (1.0, -1.0, 1.0, 1.0, -1.0, 1.0, 1.0), (0.1, 0.2, 0.0, -0.3, 0.0, 0.0, 1.5)
    leader = Leader(LeaderConfig(joint_signs=signs, joint_offsets=offsets))
    raw = (kinematics.HOME - np.array(offsets)) * np.array(signs)
    np.testing.assert_allclose(
        leader.leader_pose(raw).position, kinematics.forward(kinematics.HOME).position, atol=1e-12
    )


@pytest.mark.parametrize("bad", [[0.0] * 6, [np.nan] * 7])
def test_a_leader_that_is_no_arm_is_one_sentence(bad: list[float]) -> None:
    with pytest.raises(UserError, match="7 finite joints"):
        Leader(LeaderConfig()).follow(bad, kinematics.forward(kinematics.HOME))


@pytest.mark.parametrize(
    "changes", [{"joint_signs": (1.0,) * 6}, {"joint_signs": (0.5,) * 7}, {"joint_offsets": (0.0,) * 8}]
)
def test_a_bad_calibration_is_one_sentence(changes: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(UserError, match="joint_signs"):
        LeaderConfig(**changes)  # type: ignore[arg-type]
