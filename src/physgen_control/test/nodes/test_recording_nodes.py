# SPDX-License-Identifier: Apache-2.0
"""Recorder and replay node as real processes over DDS, with a synthetic world in the test process."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from bag_names import bag_of
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from node_rig import NodeProbe, node_starter
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import String
from value_strategies import (
    PERIOD_NS,
    POSE,
    START_NS,
    assert_equal,
    make_action,
    make_episode,
    make_image,
    make_state,
    write_bag,
)

from physgen_control.bags.reader import read_episode
from physgen_control.bags.repair import repair_bag
from physgen_control.messages import topics
from physgen_control.nodes import conversions, images, qos
from physgen_control.types import Episode, EpisodePhase, SimState, Source
from physgen_msgs.msg import ActionChunk, AppliedAction, EpisodeInfo, PolicyStatus
from physgen_msgs.msg import SimState as SimStateMsg
from physgen_msgs.srv import StartEpisode, StopEpisode

pytestmark = pytest.mark.ros

DOMAIN = 42
WAIT_S = 30.0


class World(NodeProbe):
    """The topics of bridge and controller, driven by hand."""

    def __init__(self) -> None:
        super().__init__("world", DOMAIN, WAIT_S)
        kinds: dict[str, Any] = {
            topics.JOINT_STATES: JointState,
            topics.CURRENT_POSE: PoseStamped,
            topics.SIM_STATE: SimStateMsg,
        }
        for camera in topics.CAMERAS:
            kinds[topics.camera_info_topic(camera)] = CameraInfo
            kinds[topics.image_topic(camera)] = Image
        self.publishers = {
            name: self.node.create_publisher(kind, name, qos.SENSOR_WRITER) for name, kind in kinds.items()
        }
        self.publishers[topics.APPLIED_ACTION] = self.node.create_publisher(
            AppliedAction, topics.APPLIED_ACTION, qos.COMMAND
        )
        self.episodes = self.node.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        self.statuses: list[dict[str, Any]] = []
        self.infos: list[Episode] = []
        self.policy: list[PolicyStatus] = []
        self.chunks: list[Any] = []
        self.node.create_subscription(
            String,
            "/physgen/recorder_status",
            lambda m: self.statuses.append(json.loads(m.data)),
            qos.LATCHED,
        )
        self.node.create_subscription(
            EpisodeInfo,
            topics.EPISODE_INFO,
            lambda m: self.infos.append(conversions.episode_from_msg(m)),
            qos.LATCHED,
        )
        self.node.create_subscription(PolicyStatus, topics.POLICY_STATUS, self.policy.append, qos.LATCHED)
        self.node.create_subscription(
            ActionChunk,
            topics.ACTION_CHUNK,
            lambda m: self.chunks.append(conversions.action_chunk_from_msg(m)),
            qos.COMMAND,
        )

    def wait_for_recorder(self) -> None:
        self.wait(lambda: any(s["state"] == "ready" for s in self.statuses), "the recorder")
        publishers = [*self.publishers.values(), self.episodes]
        self.wait(lambda: all(p.get_subscription_count() for p in publishers), "its subscriptions")

    def observe(self, episode: Episode, step: int, size: int = 16) -> None:
        stamp_ns = episode.start_ns + step * PERIOD_NS
        joints, pose = conversions.robot_state_to_msgs(
            make_state(stamp_ns), joint_prefix="panda", frame_id="base"
        )
        self.publishers[topics.JOINT_STATES].publish(joints)
        self.publishers[topics.CURRENT_POSE].publish(pose)
        state = SimState(
            stamp_ns=stamp_ns,
            episode_id=episode.episode_id,
            objects={"cube": POSE},
            tcp_pose=POSE,
            gripper_width=0.0,
            success=False,
        )
        self.publishers[topics.SIM_STATE].publish(conversions.sim_state_to_msg(state))
        for offset, camera in ((1000, "wrist"), (0, "fixed")):
            message = images.image_to_msg(make_image(offset + step, size), stamp_ns, camera)
            self.publishers[topics.image_topic(camera)].publish(message)

    def apply(self, episode: Episode, step: int) -> None:
        message = conversions.applied_action_to_msg(make_action(episode, step))
        self.publishers[topics.APPLIED_ACTION].publish(message)

    def announce(self, episode: Episode, phase: EpisodePhase = EpisodePhase.RUNNING, step: int = 0) -> None:
        self.episodes.publish(conversions.episode_to_msg(replace(episode, phase=phase, step=step)))


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    with node_starter(DOMAIN) as start_module:

        def run(name: str, **parameters: object) -> subprocess.Popen[str]:
            return start_module(f"physgen_control.nodes.{name}", **parameters)

        yield run


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_recorder_records_whole_episodes_and_stops_cleanly(
    tmp_path: Path, world: World, start: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    recorder = start("recorder_node", bag_dir=tmp_path, source="sim", min_free_mb=0.0)
    world.wait_for_recorder()
    for seed in range(2):
        episode = make_episode(seed=seed, episode_id=f"e{seed}", start_ns=START_NS * (seed + 1))
        world.observe(episode, 0)  # the first observation overtakes the EpisodeInfo
        world.announce(episode)
        for step in range(6):
            world.apply(episode, step)
            world.observe(episode, step + 1)
            world.executor.spin_once(timeout_sec=0.02)
        world.announce(episode, EpisodePhase.SUCCESS, 6)

        def is_written(episode: Episode = episode) -> bool:
            path = str(bag_of(tmp_path, episode))
            return any(s["state"] == "ready" and s["bag_path"] == path for s in world.statuses)

        world.wait(is_written, "the bag")
        recording = read_episode(bag_of(tmp_path, episode))
        assert json.loads(recording.custom_data["audit"])["complete"], recording.custom_data["audit"]
        assert len(recording.fixed) == len(recording.wrist) == 7
        np.testing.assert_array_equal(recording.fixed.rgb(6), make_image(6))
        for step, action in enumerate(recording.applied):
            assert_equal(action, make_action(episode, step))
        assert len(recording.applied) == 6
    third = make_episode(seed=2, episode_id="e2", start_ns=START_NS * 3)
    world.announce(third)
    world.wait(lambda: world.statuses[-1]["state"] == "recording", "the third episode")
    recorder.send_signal(number)
    assert recorder.wait(WAIT_S) == 0
    assert read_episode(bag_of(tmp_path, third)).outcome == EpisodePhase.CRASHED


def test_a_killed_recorder_leaves_a_bag_that_repair_recovers(
    tmp_path: Path, world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """Kill -9 while recording: what was on the disk is a gapless beginning, equal to what was published."""
    recorder = start("recorder_node", bag_dir=tmp_path, source="sim", min_free_mb=0.0)
    world.wait_for_recorder()
    episode = make_episode()
    world.announce(episode)
    world.wait(lambda: world.statuses[-1]["state"] == "recording", "the recording")
    step = 0

    def enough() -> bool:
        nonlocal step
        world.observe(episode, step, size=128)
        world.apply(episode, step)
        step += 1
        partial = bag_of(tmp_path, episode, ".partial")
        return sum(file.stat().st_size for file in partial.glob("*.mcap")) > 1_500_000

    world.wait(enough, "two chunks on the disk")
    recorder.kill()
    recorder.wait()
    partial = bag_of(tmp_path, episode, ".partial")
    on_disk = sum(file.stat().st_size for file in partial.glob("*.mcap"))
    recording = read_episode(repair_bag(partial).path)
    assert recording.outcome == EpisodePhase.CRASHED
    assert [action.step for action in recording.applied] == list(range(len(recording.applied)))
    for action in recording.applied:
        assert_equal(action, make_action(episode, action.step))
    image_bytes = 128 * 128 * 3
    for offset, stream in ((1000, recording.wrist), (0, recording.fixed)):
        assert [(int(s) - START_NS) // PERIOD_NS for s in stream.stamps_ns] == list(range(len(stream)))
        for index in range(len(stream)):
            np.testing.assert_array_equal(stream.rgb(index), make_image(offset + index, 128))
    # Random pixels do not compress: the file is as long as its images, and none of them is missing.
    assert (len(recording.fixed) + len(recording.wrist) + 2) * image_bytes * 1.05 > on_disk


def test_jpeg_recording_and_its_health_over_dds(
    tmp_path: Path, world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """The recorder makes JPEG of raw images, and tells while it records what arrives and what is missing."""
    start(
        "recorder_node",
        bag_dir=tmp_path,
        source="real",
        min_free_mb=0.0,
        drain_s=0.1,
        image_transport="jpeg",
        health_period_s=0.5,
        camera_rate_hz=2.0,
        state_rate_hz=0.0,
    )
    diagnostics: list[Any] = []
    world.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, diagnostics.append, qos.COMMAND)
    world.wait_for_recorder()
    episode = make_episode()
    world.announce(episode)
    step = 0

    def has_health() -> bool:
        nonlocal step
        world.observe(episode, step)
        world.apply(episode, step)
        step += 1
        if len(world.statuses) and "health" in world.statuses[-1]:
            health: Any = world.statuses[-1]["health"]
            return health["topics"].get(compressed, {}).get("count", 0) > 3
        return False

    compressed = topics.image_topic("fixed", compressed=True)
    world.wait(has_health, "the health of the recording")
    health: Any = world.statuses[-1]["health"]
    assert world.statuses[-1]["state"] == "recording"
    assert health["topics"][compressed]["promised_hz"] == 2.0
    assert health["disk_free_mb"] > 0
    assert health["minutes_left"] > 0
    world.wait(lambda: world.statuses[-1].get("health", {}).get("problems"), "the complaint about silence")
    world.wait(lambda: any(d.status[0].level == DiagnosticStatus.WARN for d in diagnostics), "diagnostics")
    assert diagnostics[-1].status[0].name == "recorder_node: recording"
    step_of_silence = step
    world.wait(lambda: has_health() and step > step_of_silence + 3, "the images after the silence")
    world.announce(episode, EpisodePhase.SUCCESS, step - 1)
    world.wait(lambda: bag_of(tmp_path, episode).exists(), "the bag")
    recording = read_episode(bag_of(tmp_path, episode))
    assert recording.counts[compressed] >= 3
    assert topics.image_topic("fixed") not in recording.counts
    assert recording.fixed.rgb(0).shape == (16, 16, 3)


def test_services_start_and_stop_episodes_of_the_real_arm(
    tmp_path: Path, world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    start("recorder_node", bag_dir=tmp_path, source="real", min_free_mb=0.0, drain_s=0.1)
    # In this test nobody else may announce episodes.
    world.node.destroy_publisher(world.episodes)
    begin = world.node.create_client(StartEpisode, "/physgen/start_episode")
    end = world.node.create_client(StopEpisode, "/physgen/stop_episode")
    world.wait(lambda: begin.service_is_ready() and end.service_is_ready(), "the services")

    def call(client: Any, request: Any) -> Any:
        future = client.call_async(request)
        world.wait(future.done, "an answer")
        return future.result()

    assert "No episode" in call(end, StopEpisode.Request(outcome=2)).message
    assert "instruction" in call(begin, StartEpisode.Request(instruction=" ")).message
    request = StartEpisode.Request(instruction="open the drawer", operator_name="ada", task="drawer")
    world.wait(lambda: call(begin, request).success, "the other publisher to be gone")
    assert "still running" in call(begin, request).message
    world.wait(lambda: world.infos and world.infos[-1].phase == EpisodePhase.RUNNING, "the announcement")
    assert "must be one of" in call(end, StopEpisode.Request(outcome=9)).message
    answer = call(end, StopEpisode.Request(outcome=2))
    assert answer.success
    world.wait(lambda: Path(answer.bag_path, "metadata.yaml").exists(), "the bag")
    recording = read_episode(answer.bag_path)
    assert (recording.outcome, recording.instruction) == (EpisodePhase.SUCCESS, "open the drawer")
    assert (recording.episode.source, recording.episode.task) == ("real", "drawer")
    assert world.infos[-1].phase == EpisodePhase.SUCCESS


def test_replay_sends_the_recorded_actions_bit_by_bit(
    tmp_path: Path, world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    recorded = make_episode(seed=3)
    write_bag(tmp_path / "bag", recorded, steps=11)
    start("replay_node", bag_dir=tmp_path)
    world.wait(lambda: any(s.ready for s in world.policy), "the replay node")
    subscribed = [
        world.publishers[topics.JOINT_STATES],
        world.publishers[topics.APPLIED_ACTION],
        world.episodes,
    ]
    world.wait(lambda: all(p.get_subscription_count() for p in subscribed), "its subscriptions")
    episode = replace(recorded, episode_id="again", start_ns=START_NS * 7)
    world.announce(episode)
    world.observe(episode, 0)
    step = 0
    for length in (8, 3):
        count = len(world.chunks)

        def has_chunk(count: int = count) -> bool:
            return len(world.chunks) > count

        world.wait(has_chunk, "a chunk")
        chunk = world.chunks[-1]
        assert (chunk.base_step, chunk.data.shape, chunk.execute_steps) == (step, (1, length, 7), length)
        for index in range(length):
            action = replace(
                make_action(episode, step, chunk.session_id),
                raw=chunk.data[0, index],
                applied=chunk.data[0, index],
                source=Source.POLICY,
            )
            np.testing.assert_array_equal(action.applied, make_action(recorded, step).applied)
            # The state overtakes the action that led to it: the node must not need an order across topics.
            world.observe(episode, step + 1)
            world.publishers[topics.APPLIED_ACTION].publish(conversions.applied_action_to_msg(action))
            step += 1
    count = len(world.chunks)
    world.wait(lambda: len(world.chunks) > count, "the chunk after the recording")
    assert not world.chunks[-1].data[0, :, :6].any()
    world.announce(replace(episode, episode_id="unknown", seed=77, start_ns=START_NS * 9))
    world.wait(lambda: world.policy and not world.policy[-1].ready, "the refusal")
    assert (
        "no bag for task 'PickCube-v1' and seed 77: its seeds for this task are [3]"
        in world.policy[-1].detail
    )


@pytest.mark.parametrize(
    ("parameters", "words"),
    [({}, "bag_dir must name"), ({"bag_dir": "/nowhere/at/all"}, "does not exist")],
)
def test_replay_without_bags_is_one_sentence(
    parameters: dict[str, str], words: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start("replay_node", **parameters)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 2
    assert words in errors
    assert "Traceback" not in errors
