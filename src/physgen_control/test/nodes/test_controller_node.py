# SPDX-License-Identifier: Apache-2.0
"""The controller node as a real process over DDS: timer pacing, with robot and policy played by the test process."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

import rclpy
from controller_rig import make_actions, make_chunk, make_episode, make_state
from geometry_msgs.msg import PoseStamped
from node_rig import NodeProbe, node_starter
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from physgen_control.messages import topics
from physgen_control.messages.read import applied_action_from_msg
from physgen_control.nodes import conversions, heartbeat, qos
from physgen_control.types import AckResult, AppliedAction, ChunkAck, EpisodePhase, Fault, SafetyState, Source
from physgen_msgs.msg import ActionChunk as ActionChunkMsg
from physgen_msgs.msg import AppliedAction as AppliedActionMsg
from physgen_msgs.msg import ChunkAck as ChunkAckMsg
from physgen_msgs.msg import EpisodeInfo, SafetyStatus

pytestmark = pytest.mark.ros

DOMAIN = 44
WAIT_S = 20.0
# As in simulation: a busy machine is late, not unsafe.
PARAMETERS: dict[str, object] = {
    "mode": "armed",
    "robot_type": "panda",
    "pacing": "timer",
    "arm_interface": "applied_action",
    "auto_arm": True,
    "arm_without_state": True,
    "control_period": 0.05,
    "max_observation_age": 10.0,
    "max_state_age": 2.0,
    "hold_grace": 0.2,
    "gripper_hysteresis": 0.0,
    "gripper_min_interval": 0.0,
}


class Graph(NodeProbe):
    """Robot and policy on one node: publishes the state whenever it waits, collects what the controller says."""

    def __init__(self) -> None:
        super().__init__("robot_and_policy", DOMAIN, WAIT_S)
        create = self.node.create_publisher
        self.joints = create(JointState, topics.JOINT_STATES, qos.SENSOR_WRITER)
        self.pose = create(PoseStamped, topics.CURRENT_POSE, qos.SENSOR_WRITER)
        self.chunks = create(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
        self.episodes = create(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        self.actions: list[AppliedAction] = []
        self.acks: list[ChunkAck] = []
        self.statuses: list[SafetyStatus] = []
        subscribe = self.node.create_subscription
        subscribe(
            AppliedActionMsg,
            topics.APPLIED_ACTION,
            lambda m: self.actions.append(applied_action_from_msg(m)),
            qos.RECORDER,
        )
        subscribe(
            ChunkAckMsg,
            topics.CHUNK_ACK,
            lambda m: self.acks.append(conversions.chunk_ack_from_msg(m)),
            qos.COMMAND,
        )
        subscribe(SafetyStatus, topics.SAFETY_STATUS, self.statuses.append, qos.LATCHED)
        self.node.create_timer(0.02, self.observe)

    @property
    def now_ns(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    @property
    def faults(self) -> Fault:
        return Fault(self.statuses[-1].faults) if self.statuses else Fault.NONE

    @property
    def state(self) -> SafetyState | None:
        return SafetyState(self.statuses[-1].state) if self.statuses else None

    def observe(self) -> None:
        joints, pose = conversions.robot_state_to_msgs(
            make_state(self.now_ns), joint_prefix="panda", frame_id="base"
        )
        self.joints.publish(joints)
        self.pose.publish(pose)

    def seen(self) -> str:
        return f"; the last status is {self.statuses[-1] if self.statuses else None}"

    def send(self, **changes: Any) -> ChunkAck:
        """Send a chunk and return its answer."""
        count = len(self.acks)
        self.chunks.publish(conversions.action_chunk_to_msg(make_chunk(self.now_ns, **changes)))
        self.wait(lambda: len(self.acks) > count, "an answer to the chunk")
        return self.acks[-1]

    def played(self, session_id: str) -> list[AppliedAction]:
        return [action for action in self.actions if action.session_id == session_id]


@pytest.fixture
def graph() -> Iterator[Graph]:
    with Graph() as graph:
        yield graph


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with node_starter(DOMAIN) as start_module:

        def run(**changes: object) -> subprocess.Popen[str]:
            return start_module("physgen_control.nodes.controller_node", **(PARAMETERS | changes))

        yield run


def begin(graph: Graph) -> None:
    graph.wait(lambda: graph.state == SafetyState.ARMED, "the controller to arm itself")
    graph.wait(
        lambda: graph.chunks.get_subscription_count() and graph.episodes.get_subscription_count(), "readers"
    )
    graph.episodes.publish(conversions.episode_to_msg(make_episode(start_ns=graph.now_ns)))
    graph.wait(
        lambda: graph.actions and graph.actions[-1].episode_id == "e0", "the first step of the episode"
    )


def test_a_chunk_is_played_and_a_silent_policy_means_hold_until_a_new_session(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start()
    begin(graph)
    data = make_actions(8)
    assert graph.send(data=data).result == AckResult.ACCEPTED
    graph.wait(lambda: graph.faults & Fault.POLICY_LATE, "POLICY_LATE")
    assert graph.state == SafetyState.HOLD
    assert "holding until the policy sends one" in graph.statuses[-1].detail
    played = graph.played("s0")
    assert [action.step_index for action in played] == list(range(8))
    np.testing.assert_array_equal(np.stack([action.applied for action in played]), data[0])
    steps = [action.step for action in graph.actions if action.episode_id == "e0"]
    assert steps == list(
        range(steps[0], steps[0] + len(steps))
    )  # one action per period, none twice, none lost
    gaps = np.diff([action.stamp_ns for action in graph.actions if action.episode_id == "e0"])
    assert np.all(gaps >= 25_000_000)  # never two in one period, also when the machine was late
    held = graph.actions[-1]
    assert held.source == Source.HOLD and not held.applied[:6].any() and held.applied[6] == 1.0

    again = make_actions(4, seed=1)
    assert graph.send(session_id="s1", data=again, base_step=held.step + 1).result == AckResult.ACCEPTED
    graph.wait(lambda: len(graph.played("s1")) == 4, "the new session's actions")
    np.testing.assert_array_equal(np.stack([action.applied for action in graph.played("s1")]), again[0])
    assert graph.send(session_id="s0", chunk_seq=99).result == AckResult.OUT_OF_ORDER

    graph.episodes.publish(conversions.episode_to_msg(make_episode(phase=EpisodePhase.SUCCESS)))
    graph.wait(lambda: graph.actions[-1].episode_id == "", "the end of the episode")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, errors


def test_a_policy_whose_heartbeat_stops_is_noticed_and_a_stopped_controller_says_so(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """A process that hangs keeps its publisher: nothing but the missing beat tells."""
    process = start(policy_timeout=30.0)
    begin(graph)
    beats = graph.node.create_publisher(String, topics.HEARTBEAT, qos.SENSOR_WRITER)
    beat = String(data=f"{heartbeat.Role.POLICY} {heartbeat.participant_of(graph.node)}")
    next_beat = 0.0

    def late() -> bool:
        # The first beats may come before the reader knows the writer; in between it is silent for long enough.
        nonlocal next_beat
        if time.monotonic() > next_beat:
            beats.publish(beat)
            next_beat = time.monotonic() + 3 * heartbeat.TIMEOUT_S
        return bool(graph.faults & Fault.POLICY_LATE)

    graph.wait(late, "POLICY_LATE")
    assert "The policy's process has been silent for 1." in graph.statuses[-1].detail
    assert graph.send().result == AckResult.ACCEPTED  # it lives, so it may go on
    graph.wait(lambda: graph.played("s0"), "the chunk's first action")
    process.send_signal(signal.SIGINT)
    graph.wait(lambda: graph.state == SafetyState.DISARMED, "the last status")
    assert graph.statuses[-1].detail == "The controller was stopped."


def test_an_arm_for_which_only_watchers_listen_does_not_arm(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The motion monitor and the recorder read trajectories too; neither moves an arm."""
    watcher = rclpy.create_node("motion_monitor_node", context=graph.context)
    watcher.create_subscription(JointTrajectory, topics.JOINT_TRAJECTORY, lambda _: None, qos.COMMAND)
    start(arm_interface="joint_trajectory", robot_type="fr3", auto_arm=False)
    client = graph.node.create_client(SetBool, "/physgen/set_armed")
    graph.wait(client.service_is_ready, "the service")

    def refused() -> bool:
        future = client.call_async(SetBool.Request(data=True))
        graph.wait(future.done, "an answer")
        return "Nobody listens to joint trajectories" in future.result().message

    graph.wait(refused, "a refusal that says that nobody listens")
    watcher.destroy_node()


def test_bad_chunks_and_a_second_publisher_do_not_move_the_arm(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start()
    begin(graph)
    data = make_actions()
    data[0, 3, 2] = np.nan
    ack = graph.send(data=data)
    assert ack.result == AckResult.NONFINITE and "1 of 56 numbers" in ack.detail
    graph.wait(lambda: graph.faults & Fault.CHUNK_REJECTED, "CHUNK_REJECTED")

    second = graph.node.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
    graph.wait(lambda: graph.faults & Fault.MULTIPLE_PUBLISHERS, "MULTIPLE_PUBLISHERS")
    assert graph.state == SafetyState.HOLD and "2 nodes publish" in graph.statuses[-1].detail
    assert graph.send(chunk_seq=2).result == AckResult.NOT_ARMED
    assert all(action.source == Source.HOLD for action in graph.actions)
    graph.node.destroy_publisher(second)
    graph.wait(lambda: graph.state == SafetyState.ARMED, "one publisher again")
    assert graph.send(chunk_seq=3).result == AckResult.ACCEPTED
    graph.wait(lambda: graph.played("s0"), "the chunk's first action")


def test_the_first_chunk_of_a_second_publisher_is_refused(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Its chunk may come before the watchdog looks again."""
    start()
    begin(graph)
    second = graph.node.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
    graph.wait(lambda: second.get_subscription_count() == 1, "the second publisher's reader")
    count = len(graph.acks)
    second.publish(conversions.action_chunk_to_msg(make_chunk(graph.now_ns, session_id="intruder")))
    graph.wait(lambda: len(graph.acks) > count, "an answer to the intruder")
    assert graph.acks[count].result == AckResult.NOT_ARMED and "2 nodes publish" in graph.acks[count].detail


def test_a_chunk_that_is_none_is_answered_with_the_reason(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start()
    begin(graph)
    for field, value, words in (
        ("schema_version", 77, "schema version 77"),
        ("horizon", 9, "must carry"),
        ("rotation", 99, "rotation is 99"),
        ("execute_steps", 0, "execute_steps"),
    ):
        message = conversions.action_chunk_to_msg(make_chunk(graph.now_ns, chunk_seq=5))
        setattr(message, field, value)
        count = len(graph.acks)
        graph.chunks.publish(message)

        def is_answered(count: int = count) -> bool:
            return len(graph.acks) > count

        graph.wait(is_answered, f"an answer to a chunk with a bad {field}")
        ack = graph.acks[-1]
        assert (ack.result, ack.chunk_seq, ack.session_id) == (AckResult.BAD_SHAPE, 5, "s0")
        assert words in ack.detail
    assert graph.send(chunk_seq=6).result == AckResult.ACCEPTED


def test_with_two_publishers_the_controller_does_not_arm(
    graph: Graph, start: Callable[..., subprocess.Popen[str]]
) -> None:
    graph.node.create_publisher(ActionChunkMsg, topics.ACTION_CHUNK, qos.COMMAND)
    start()
    graph.wait(
        lambda: graph.statuses and "2 nodes publish action chunks" in graph.statuses[-1].detail, "the refusal"
    )
    assert graph.state == SafetyState.DISARMED
    assert graph.actions == []


def test_a_bad_parameter_is_one_sentence(start: Callable[..., subprocess.Popen[str]]) -> None:
    process = start(step_translation=-1.0)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert "step_translation" in errors and "Traceback" not in errors
