# SPDX-License-Identifier: Apache-2.0
"""Values survive the way into a message, over the wire format and back, bit by bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physgen_control.types import Pose

pytest.importorskip("rclpy", reason="rclpy is not installed")

from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from value_strategies import (
    STAMP_NS,
    acks,
    applied_actions,
    assert_equal,
    chunks,
    episodes,
    make_state,
    poses,
    robot_states,
    sim_states,
)

from physgen_control.bags import serialize as bag_messages
from physgen_control.messages import build
from physgen_control.nodes import conversions as c
from physgen_control.types import ActionChunk, AppliedAction, ChunkAck, Episode, RobotState, SimState


def over_the_wire(message: object) -> object:
    return deserialize_message(serialize_message(message), type(message))


@given(STAMP_NS)
def test_stamps_round_trip(ns: int) -> None:
    assert c.stamp_to_ns(c.ns_to_stamp(ns)) == ns


@pytest.mark.parametrize("ns", [-1, 2**31 * 10**9])
def test_a_stamp_that_ros_cannot_hold_is_refused(ns: int) -> None:
    with pytest.raises(c.ConversionError, match="ROS time"):
        c.ns_to_stamp(ns)


@given(poses())
def test_poses_round_trip(pose: Pose) -> None:
    assert_equal(pose, c.pose_from_msg(over_the_wire(c.pose_to_msg(pose))))


@given(chunks())
def test_chunks_round_trip(chunk: ActionChunk) -> None:
    assert_equal(chunk, c.action_chunk_from_msg(over_the_wire(c.action_chunk_to_msg(chunk))))


@given(applied_actions())
def test_applied_actions_round_trip(action: AppliedAction) -> None:
    assert_equal(action, c.applied_action_from_msg(over_the_wire(c.applied_action_to_msg(action))))


@given(acks)
def test_acks_round_trip(ack: ChunkAck) -> None:
    assert_equal(ack, c.chunk_ack_from_msg(over_the_wire(c.chunk_ack_to_msg(ack))))


@given(episodes)
def test_episodes_round_trip(episode: Episode) -> None:
    assert_equal(episode, c.episode_from_msg(over_the_wire(c.episode_to_msg(episode, "operator"))))


@given(sim_states)
def test_sim_states_round_trip(state: SimState) -> None:
    assert_equal(state, c.sim_state_from_msg(over_the_wire(c.sim_state_to_msg(state))))


@given(robot_states, st.permutations(range(9)))
def test_robot_states_round_trip_in_any_joint_order(state: RobotState, order: list[int]) -> None:
    joints, pose = c.robot_state_to_msgs(state, joint_prefix="fr3", frame_id="base")
    joints.name = [joints.name[i] for i in order]
    joints.position = [joints.position[i] for i in order]
    joints.velocity = [joints.velocity[i] for i in order]
    assert_equal(state, c.robot_state_from_msgs(over_the_wire(joints), over_the_wire(pose)))


@given(chunks(), applied_actions(), episodes, sim_states)
def test_bag_messages_are_the_live_messages(
    chunk: ActionChunk, action: AppliedAction, episode: Episode, state: SimState
) -> None:
    """A bag written in one process decodes with rclpy to what the live graph would have published."""
    pairs = [
        (build.build_action_chunk(bag_messages.BUILDER, chunk), c.action_chunk_to_msg(chunk)),
        (build.build_applied_action(bag_messages.BUILDER, action), c.applied_action_to_msg(action)),
        (build.build_episode(bag_messages.BUILDER, episode, "me"), c.episode_to_msg(episode, "me")),
        (build.build_sim_state(bag_messages.BUILDER, state), c.sim_state_to_msg(state)),
    ]
    for ours, live in pairs:
        decoded = deserialize_message(bag_messages.serialize(ours), type(live))
        assert str(decoded) == str(over_the_wire(live))  # text, because NaN differs from itself


def test_normalized_data_is_scaled_once() -> None:
    message = c.action_chunk_to_msg(_chunk(np.ones((3, 8, 7), np.float32)))
    message.scale = [0.5] * 7
    assert c.action_chunk_from_msg(message).data[0, 0, 0] == 1.0
    message.normalized = True
    assert (c.action_chunk_from_msg(message).data == 0.5).all()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("data", [0.0] * 5, "must carry 168 numbers, got 5"),
        ("schema_version", 9, "schema version 9"),
        ("execute_steps", 9, "execute_steps"),
        ("scale", [1.0, 2.0], "scale"),
        ("action_space", 77, "action_space is 77"),
        ("gripper_mode", 0, "gripper_mode is 0"),
        ("num_chunks", 0, "ActionChunk of shape"),
    ],
)
def test_a_chunk_that_breaks_the_contract_is_refused(field: str, value: object, words: str) -> None:
    message = c.action_chunk_to_msg(_chunk(np.ones((3, 8, 7), np.float32)))
    setattr(message, field, value)
    with pytest.raises(c.ConversionError, match=words):
        c.action_chunk_from_msg(message)


def test_float64_actions_are_refused() -> None:
    with pytest.raises(c.ConversionError, match="float32"):
        c.action_chunk_to_msg(_chunk(np.ones((3, 8, 7))))


def test_joint_names_must_be_those_of_one_arm() -> None:
    joints, pose = c.robot_state_to_msgs(make_state(1), joint_prefix="fr3", frame_id="base")
    joints.name = [*joints.name[:-1], "gripper"]
    with pytest.raises(c.ConversionError, match="finger joints"):
        c.robot_state_from_msgs(joints, pose)
    joints.name = ["left_joint1", "right_joint1", *joints.name[2:]]
    with pytest.raises(c.ConversionError, match="one arm"):
        c.robot_state_from_msgs(joints, pose)


def test_missing_velocities_are_not_invented() -> None:
    joints, pose = c.robot_state_to_msgs(make_state(1), joint_prefix="fr3", frame_id="base")
    joints.velocity = []
    with pytest.raises(c.ConversionError, match="0 velocity values"):
        c.robot_state_from_msgs(joints, pose)


def test_a_quaternion_must_have_unit_length() -> None:
    joints, pose = c.robot_state_to_msgs(make_state(1), joint_prefix="fr3", frame_id="base")
    pose.pose.orientation.w = 5.0
    with pytest.raises(c.ConversionError, match="unit quaternion"):
        c.robot_state_from_msgs(joints, pose)


def _chunk(data: np.ndarray) -> ActionChunk:
    chunk = ActionChunk.of(
        np.zeros((8, 7), np.float32),
        session_id="s",
        chunk_seq=0,
        base_step=0,
        stamp_ns=1,
        step_period_ns=50_000_000,
    )
    return replace(chunk, data=data)
