# SPDX-License-Identifier: Apache-2.0
"""The policy node as a real process over DDS, driven by a synthetic world and a scripted controller."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from physgen_control.types import AppliedAction

pytest.importorskip("rclpy", reason="needs the pip runtime or a ROS 2 installation")

import itertools

from PIL import Image as PilImage
from policy_harness import (
    CAMERAS,
    DT,
    Graph,
    PolicyProcess,
    broken_image,
    camera_frame,
    private_domain,
    view,
)
from sensor_msgs.msg import Image
from tiny_checkpoint import write_tiny_checkpoint

from physgen_control.nodes import qos
from physgen_control.types import Source
from physgen_policy.checkpoint import load_checkpoint
from physgen_policy.contract.observation import GateConfig, ObservationGate, PolicyObservation
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig

pytestmark = pytest.mark.ros
FAST = {"denoise_steps": 4, "frame_ar_steps": 2, "frame_denoise_steps": 2}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture
def domain() -> Iterator[int]:
    with private_domain() as number:
        yield number


@pytest.fixture(scope="module")
def shared_domain() -> Iterator[int]:
    with private_domain() as number:
        yield number


@pytest.fixture(scope="module")
def lockstep(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, shared_domain: int
) -> Iterator[Graph]:
    """One graph and one node process for all lockstep tests, each with an episode of its own."""
    graph = Graph(shared_domain)
    process = PolicyProcess(
        shared_domain,
        tmp_path_factory.mktemp("log") / "node.txt",
        checkpoint=checkpoint,
        task="PushCube-v1",
        **FAST,
    )
    try:
        graph.wait_ready()
        yield graph
    finally:
        code = process.close()
        graph.close()
    assert code == 0, process.output


def in_process(checkpoint: Path, graph: Graph, history: Any, num_chunks: int) -> list[np.ndarray]:
    """What gate and policy give without ROS for the same images and applied actions."""
    policy = PhysGenPolicy(load_checkpoint(checkpoint), PolicyConfig(denoise_steps=4))
    gate = ObservationGate(GateConfig(step_period_ns=DT))
    policy.reset(graph.episode, "s")
    gate.start_episode(graph.episode, "s")
    start, step, chunks = graph.episode.start_ns, 0, []
    for k in range(num_chunks):
        for name in CAMERAS:
            gate.put_frame(name, camera_frame(step, name, start + step * DT))
        observation = gate.take(start + step * DT)
        assert isinstance(observation, PolicyObservation)
        chunks.append(policy.act(observation, 0).data)
        gate.chunk_sent()
        for action in history[k][1]:
            object.__setattr__(action, "session_id", "s")
            gate.put_action(action)
            step += 1
    return chunks


def test_lockstep_episode_equals_the_in_process_one(lockstep: Graph, checkpoint) -> None:
    """Seven chunks, window overflow included: identical bit for bit, base steps as agreed."""
    lockstep.start_episode("equality", seed=11)
    history = lockstep.run_lockstep(7)
    assert [chunk.base_step for chunk, _ in history] == [8 * k for k in range(7)]
    assert [chunk.observation_stamp_ns for chunk, _ in history] == [
        lockstep.episode.start_ns + 8 * k * DT for k in range(7)
    ]
    assert len({chunk.session_id for chunk, _ in history}) == 1
    for (chunk, _), expected in zip(history, in_process(checkpoint, lockstep, history, 7), strict=True):
        np.testing.assert_array_equal(chunk.data, expected)
    lockstep.end_episode()


def test_announcement_may_come_after_the_images(lockstep: Graph) -> None:
    """Topic order is not guaranteed: the first images may overtake EpisodeInfo."""
    announce = lockstep.episodes.publish
    late: list[Any] = []
    lockstep.episodes.publish = late.append
    try:
        lockstep.start_episode("late")
    finally:
        lockstep.episodes.publish = announce
    lockstep.observe()
    lockstep.spin_for(0.3)
    assert not lockstep.chunks
    announce(late[0])
    chunk = lockstep.wait_chunk(0, repeat_s=100.0)
    assert (chunk.episode_id, chunk.base_step) == ("late", 0)
    lockstep.end_episode()


def test_repeated_observation_repeats_the_same_chunk(lockstep: Graph) -> None:
    """A world that asks again gets the identical chunk and no second inference."""
    lockstep.start_episode("repeat")
    lockstep.observe()
    first = lockstep.wait_chunk(0)
    lockstep.chunks.clear()
    for _ in range(3):
        lockstep.observe()
    lockstep.spin_until(lambda: len(lockstep.chunks) >= 3, 30.0, "three repeated chunks")
    for again in lockstep.chunks:
        assert (again.session_id, again.chunk_seq, again.base_step) == (first.session_id, 0, 0)
        np.testing.assert_array_equal(again.data, first.data)
    assert lockstep.statuses[-1].predictions == 1
    lockstep.end_episode()


def test_new_episode_starts_fresh_and_ignores_the_old_one(lockstep: Graph) -> None:
    """New session, sequence from 0, the old episode has no effect; the same seed repeats."""
    lockstep.start_episode("one", seed=3)
    one = lockstep.run_lockstep(2)
    old_action = lockstep.action(one[1][0], 7)
    lockstep.start_episode("two", seed=3)
    lockstep.applied.publish(_message(old_action))
    two = lockstep.run_lockstep(2)
    assert two[0][0].session_id != one[0][0].session_id
    for (a, _), (b, _) in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert a.chunk_seq == b.chunk_seq
    lockstep.end_episode()


def test_instruction_service_and_status(lockstep: Graph) -> None:
    """The instruction changes at the next chunk, an empty one is refused, the status counts."""
    lockstep.start_episode("words")
    lockstep.run_lockstep(1)
    lockstep.wait_chunk(1)
    assert not lockstep.set_instruction("  ").success
    assert lockstep.set_instruction("stack the cube").success
    for index in range(8):
        lockstep.apply(lockstep.chunks[-1], index)
        lockstep.observe()
    assert lockstep.wait_chunk(2).instruction == "stack the cube"
    lockstep.spin_until(lambda: lockstep.statuses[-1].predictions == 3, 30.0, "three counted predictions")
    status = lockstep.statuses[-1]
    assert status.instruction == "stack the cube"
    assert status.policy_id.startswith("tiny@")
    assert 0 < status.latency_last < 30
    assert 0 < status.latency_p95 < 30
    assert status.sync_skew == 0
    lockstep.end_episode()


def test_imagined_frames_come_on_demand_only(lockstep: Graph) -> None:
    """Nobody subscribed: none; subscribed: one per chunk, stamped like its observation."""
    lockstep.start_episode("dream")
    subscription = lockstep.node.create_subscription(
        Image, "/physgen/predicted/image_raw", lockstep.imagined.append, qos.SENSOR_READER
    )
    lockstep.spin_until(lambda: lockstep.node.count_publishers("/physgen/predicted/image_raw") > 0)
    lockstep.run_lockstep(1)
    for seq in range(1, 6):
        chunk = lockstep.wait_chunk(seq)
        lockstep.spin_for(0.2)
        if lockstep.imagined:
            break
        for index in range(8):
            lockstep.apply(chunk, index)
            lockstep.observe()
    assert lockstep.imagined
    image = lockstep.imagined[0]
    assert (image.height, image.width, image.encoding) == (32, 64, "rgb8")
    lockstep.node.destroy_subscription(subscription)
    lockstep.end_episode()


def test_bad_image_is_reported_and_survived(lockstep: Graph) -> None:
    """A camera with another encoding is named in the status; good images still work afterwards."""
    lockstep.start_episode("mono")
    # Nothing orders two topics, and the complaint of before the episode gives way to the episode's start.
    lockstep.spin_until(lambda: "episode mono" in lockstep.statuses[-1].detail, 30.0, "the episode's start")
    lockstep.cameras["wrist"].publish(broken_image(lockstep.now_ns))
    lockstep.spin_until(lambda: "mono8" in lockstep.statuses[-1].detail, 30.0, "the complaint about mono8")
    assert "wrist camera" in lockstep.statuses[-1].detail
    lockstep.observe()
    assert lockstep.wait_chunk(0).base_step == 0
    lockstep.end_episode()


def test_realtime_holds_move_the_base_step(checkpoint, tmp_path, domain) -> None:
    """The world does not wait: hold steps count, the next base step follows the real steps."""
    graph = Graph(domain)
    process = PolicyProcess(domain, tmp_path / "node.txt", checkpoint=checkpoint, pace="realtime", **FAST)
    try:
        graph.wait_ready()
        graph.start_episode("realtime")
        current, index = None, 0
        bases: dict[int, int] = {}
        deadline = time.monotonic() + 60
        graph.observe()
        while len(bases) < 4 and time.monotonic() < deadline:
            graph.spin_for(DT / 1e9)
            if graph.chunks and graph.chunks[-1] is not current:
                current, index = graph.chunks[-1], 0
                bases[current.base_step] = graph.step
            if current is not None and index < 8:
                graph.apply(current, index)
                index += 1
            else:
                graph.apply(None, 0, Source.HOLD)
            graph.observe()
        assert len(bases) == 4, graph.describe()
        for base, accepted in bases.items():
            assert base <= accepted
        steps = sorted(bases)
        for earlier, later in itertools.pairwise(steps):
            assert later >= bases[earlier] + 8, f"observed before the chunk was executed: {bases}"
    finally:
        code = process.close()
        graph.close()
    assert code == 0, process.output


def test_killed_policy_resumes_in_the_middle_of_an_episode(checkpoint, tmp_path, domain) -> None:
    """kill -9 and restart: the latched EpisodeInfo and the repeated observation are enough to go on."""
    graph = Graph(domain)
    first = PolicyProcess(domain, tmp_path / "first.txt", checkpoint=checkpoint, **FAST)
    second = None
    try:
        graph.wait_ready()
        graph.start_episode("kill")
        history = graph.run_lockstep(2)
        first.kill()
        graph.statuses.clear()
        graph.chunks.clear()
        second = PolicyProcess(domain, tmp_path / "second.txt", checkpoint=checkpoint, **FAST)
        resumed = graph.wait_chunk(0, repeat_s=0.5)
        assert resumed.session_id != history[0][0].session_id
        assert resumed.base_step == 16
        for index in range(8):
            graph.apply(resumed, index)
            graph.observe()
        assert graph.wait_chunk(1).base_step == 24
    finally:
        first.close()
        code = second.close() if second is not None else -1
        graph.close()
    assert code == 0


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"checkpoint": "no_such_checkpoint"}, "no_such_checkpoint"),
        (
            {"task": "StackCube-v1", "control_period": 0.1},
            "acts at 20 Hz, the graph at 10 Hz (control_period 0.1 s); "
            "the checkpoint was trained for PushCube-v1, the graph runs StackCube-v1",
        ),
        ({"denoise_steps": 0}, "denoise_steps"),
    ],
    ids=["missing", "embodiment", "parameter"],
)
def test_unusable_settings_end_with_one_sentence(
    checkpoint, tmp_path, domain, parameters: dict[str, Any], words: str
) -> None:
    """Exit code 2, the reason on stderr, no traceback."""
    process = PolicyProcess(domain, tmp_path / "node.txt", **({"checkpoint": checkpoint} | parameters))
    try:
        assert process.process.wait(90) == 2, process.output
    finally:
        process.close()
    assert words in process.output
    assert "Traceback" not in process.output
    assert len([line for line in process.output.splitlines() if line.startswith("policy_node: ")]) == 1


def test_camera_smaller_than_the_view_is_refused(checkpoint, tmp_path, domain) -> None:
    """The image size is known only when images come: the node ends then, with the sentence."""
    graph = Graph(domain)
    process = PolicyProcess(domain, tmp_path / "node.txt", checkpoint=checkpoint, **FAST)
    try:
        graph.wait_ready()
        graph.observe(side=16)
        assert process.process.wait(60) == 2
    finally:
        process.close()
        graph.close()
    assert "16x16" in process.output
    assert "Traceback" not in process.output


def _message(action: AppliedAction) -> Any:
    from physgen_control.nodes.conversions import applied_action_to_msg

    return applied_action_to_msg(action)


@pytest.mark.parametrize("refused", [True, False])
def test_a_camera_that_sees_something_else_than_the_demonstrations_is_refused(
    checkpoint, tmp_path, domain, refused
) -> None:
    """The first picture tells; a node whose camera stands where it stood acts."""
    pixels = view(1000, "elsewhere") if refused else view(0, "fixed")
    PilImage.fromarray(pixels).save(tmp_path / "reference.png")
    graph = Graph(domain)
    process = PolicyProcess(
        domain,
        tmp_path / "node.txt",
        checkpoint=checkpoint,
        camera_reference=tmp_path / "reference.png",
        **FAST,
    )
    try:
        graph.wait_ready()
        graph.start_episode("a")
        graph.observe()
        if refused:
            assert process.process.wait(60) == 2
        else:
            graph.spin_until(lambda: bool(graph.chunks), 60.0, "a chunk")
    finally:
        process.close()
        graph.close()
    assert ("does not see the scene of the demonstrations" in process.output) is refused
    assert "Traceback" not in process.output


def test_a_reference_that_is_no_picture_is_a_sentence(checkpoint, tmp_path, domain) -> None:
    (tmp_path / "reference.png").write_bytes(b"not a picture")
    process = PolicyProcess(
        domain, tmp_path / "log", checkpoint=checkpoint, camera_reference=tmp_path / "reference.png"
    )
    assert process.process.wait(90) == 2
    process.close()
    assert "cannot be read" in process.output and "Traceback" not in process.output
