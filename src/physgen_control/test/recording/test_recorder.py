# SPDX-License-Identifier: Apache-2.0
"""The recorder's state machine: nothing of an episode is lost, whatever the order, and the disk may fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_names import bag_of
from value_strategies import PERIOD_NS, POSE, START_NS, make_action, make_episode, make_image, make_state

from physgen_control.bags.reader import read_episode
from physgen_control.bags.serialize import BUILDER, serialize
from physgen_control.bags.summary import read_summary
from physgen_control.messages import build, topics
from physgen_control.recording.config import RecorderConfig
from physgen_control.recording.recorder import EpisodeRecorder
from physgen_control.recording.status_board import RecorderStatus
from physgen_control.types import Episode, EpisodePhase, SimState

STEPS = 4


@dataclass(frozen=True)
class Sent:
    topic: str
    data: bytes
    stamp_ns: int


def observation(episode: Episode, step: int) -> list[Sent]:
    stamp_ns = episode.start_ns + step * PERIOD_NS
    state = SimState(
        stamp_ns=stamp_ns,
        episode_id=episode.episode_id,
        objects={},
        tcp_pose=POSE,
        gripper_width=0,
        success=False,
    )
    robot = make_state(stamp_ns)
    messages: dict[str, Any] = {
        topics.JOINT_STATES: build.build_joint_state(BUILDER, robot, "panda", ""),
        topics.CURRENT_POSE: build.build_current_pose(BUILDER, robot, "base"),
        topics.SIM_STATE: build.build_sim_state(BUILDER, state),
        topics.image_topic("wrist"): build.build_image(BUILDER, make_image(1000 + step), stamp_ns, "wrist"),
        topics.image_topic("fixed"): build.build_image(BUILDER, make_image(step), stamp_ns, "fixed"),
    }
    return [Sent(topic, serialize(message), stamp_ns) for topic, message in messages.items()]


def info(episode: Episode, phase: EpisodePhase = EpisodePhase.RUNNING, step: int = 0) -> Sent:
    message = build.build_episode(BUILDER, replace(episode, phase=phase, step=step), "")
    return Sent(topics.EPISODE_INFO, serialize(message), episode.start_ns)


def applied(episode: Episode, step: int) -> Sent:
    action = make_action(episode, step)
    return Sent(
        topics.APPLIED_ACTION, serialize(build.build_applied_action(BUILDER, action)), action.stamp_ns
    )


def whole_episode(episode: Episode) -> Iterator[Sent]:
    yield info(episode)
    for step in range(STEPS + 1):
        yield from observation(episode, step)
        if step < STEPS:
            yield applied(episode, step)
    yield info(episode, EpisodePhase.SUCCESS, STEPS)


class Bench:
    """A recorder with a hand-driven clock."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.statuses: list[RecorderStatus] = []
        config = RecorderConfig(bag_dir=str(folder), min_free_mb=0.0, **options)
        self.recorder = EpisodeRecorder(config, topics.recorded_topics(), self.statuses.append)
        self.mono_ns = 0

    def send(self, *messages: Sent) -> None:
        for message in messages:
            self.mono_ns += 1_000_000
            self.recorder.on_message(message.topic, message.data, message.stamp_ns, self.mono_ns)

    def wait(self, seconds: float) -> None:
        self.mono_ns += int(seconds * 1e9)
        self.recorder.on_time(self.mono_ns)


def check(folder: Path, episode: Episode) -> None:
    recording = read_episode(bag_of(folder, episode))
    assert [a.step for a in recording.applied] == list(range(STEPS))
    assert len(recording.fixed) == len(recording.wrist) == len(recording.sim_states) == STEPS + 1
    np.testing.assert_array_equal(recording.fixed.rgb(0), make_image(0))
    assert recording.outcome == EpisodePhase.SUCCESS
    audit = json.loads(recording.custom_data["audit"])
    assert audit["complete"], audit["warnings"]


def test_an_episode_becomes_a_bag_at_once(tmp_path: Path) -> None:
    bench, episode = Bench(tmp_path), make_episode()
    bench.send(*whole_episode(episode))
    check(tmp_path, episode)  # without waiting: everything had arrived
    assert [status.state for status in bench.statuses] == ["recording", "ready"]


@pytest.mark.parametrize("seed", range(8))
def test_the_order_across_topics_does_not_matter(tmp_path: Path, seed: int) -> None:
    """DDS keeps the order within a topic only: any interleaving of topics gives a complete bag."""
    random = np.random.default_rng(seed)
    bench, episode = Bench(tmp_path), make_episode()
    queues: dict[str, list[Sent]] = {}
    for message in whole_episode(episode):
        queues.setdefault(message.topic, []).append(message)
    while queues:
        topic = sorted(queues)[int(random.integers(len(queues)))]
        bench.send(queues[topic].pop(0))
        if not queues[topic]:
            del queues[topic]
    bench.wait(2)
    check(tmp_path, episode)


def test_late_messages_wait_for_the_drain(tmp_path: Path) -> None:
    bench, episode = Bench(tmp_path), make_episode()
    messages = list(whole_episode(episode))
    end = messages.pop()
    late = messages[-3:]
    bench.send(*messages[:-3], end)
    assert not bag_of(tmp_path, episode).exists()
    bench.send(*late)
    check(tmp_path, episode)


def test_missing_messages_are_named_in_the_audit(tmp_path: Path) -> None:
    bench, episode = Bench(tmp_path), make_episode()
    dropped = {
        (topics.APPLIED_ACTION, START_NS + PERIOD_NS),
        (topics.image_topic("fixed"), START_NS + 2 * PERIOD_NS),
    }
    bench.send(*[m for m in whole_episode(episode) if (m.topic, m.stamp_ns) not in dropped])
    bench.wait(0.5)
    assert not bag_of(tmp_path, episode).exists()
    bench.wait(1.0)
    audit = json.loads(read_summary(bag_of(tmp_path, episode)).custom_data["audit"])
    text = " ".join(audit["warnings"])
    assert "4 of 5 observations" in text
    assert "the first is step 1" in text
    assert "gap of 0.100 s" in text
    assert "Incomplete" in bench.statuses[-1].detail


def test_the_next_episode_closes_a_draining_bag(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = make_episode()
    second = make_episode(seed=4, episode_id="PickCube-4", start_ns=START_NS + 10**9)
    messages = list(whole_episode(first))
    early, rest = observation(second, 0), list(whole_episode(second))
    lost = messages.pop(-2)
    bench.send(*messages, *early)  # the new world speaks before its EpisodeInfo
    bench.send(*[m for m in rest if m not in early])
    check(tmp_path, second)
    recording = read_episode(bag_of(tmp_path, first))
    assert max(recording.joints.stamps_ns) < second.start_ns
    assert lost.topic == topics.image_topic("fixed")
    assert len(recording.fixed) == STEPS


def test_a_world_that_dies_gives_a_crashed_bag(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first, second = make_episode(), make_episode(seed=4, episode_id="PickCube-4", start_ns=START_NS + 10**9)
    bench.send(*list(whole_episode(first))[:12])
    bench.send(*whole_episode(second))
    check(tmp_path, second)
    assert read_summary(bag_of(tmp_path, first)).outcome == "CRASHED"
    assert read_episode(bag_of(tmp_path, first)).outcome == EpisodePhase.CRASHED


def test_shutdown_completes_the_bag(tmp_path: Path) -> None:
    bench, episode = Bench(tmp_path), make_episode()
    bench.send(*list(whole_episode(episode))[:12])
    bench.recorder.close()
    assert read_episode(bag_of(tmp_path, episode)).outcome == EpisodePhase.CRASHED


def test_latched_states_from_before_are_in_the_bag(tmp_path: Path) -> None:
    bench, episode = Bench(tmp_path), make_episode()
    header = build.build_header(BUILDER, 1, "")
    status = BUILDER.make(
        "physgen_msgs/msg/SafetyStatus",
        header=header,
        state=2,
        faults=0,
        estop=False,
        deadman=True,
        intervention=False,
        state_age=0.0,
        last_chunk_seq=0,
        detail="armed",
    )
    bench.send(Sent(topics.SAFETY_STATUS, serialize(status), 1))
    bench.wait(3600)
    bench.send(*whole_episode(episode))
    summary = read_summary(bag_of(tmp_path, episode))
    assert summary.counts[topics.SAFETY_STATUS] == 1
    assert summary.duration_ns < 10**9


def test_a_repeated_episode_info_changes_nothing(tmp_path: Path) -> None:
    bench, episode = Bench(tmp_path), make_episode()
    messages = list(whole_episode(episode))
    bench.send(*[copy for m in messages for copy in (m, m)], info(episode))
    check(tmp_path, episode)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_a_sentence_and_the_next_episode_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    first, second = make_episode(), make_episode(seed=4, episode_id="PickCube-4", start_ns=START_NS + 10**9)
    bench.recorder.config = replace(bench.recorder.config, min_free_mb=1e12)
    bench.send(*whole_episode(first))
    assert bench.statuses[-1].state == "error"
    assert "MB free" in bench.statuses[-1].detail
    bench.recorder.config = replace(bench.recorder.config, min_free_mb=0.0)
    bench.send(*whole_episode(second))
    check(tmp_path, second)


def test_a_failing_write_is_a_sentence(tmp_path: Path) -> None:
    """/dev/full answers every write with "no space left on device"."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    bench, episode = Bench(tmp_path, compression="none"), make_episode()
    messages = list(whole_episode(episode))
    bench.send(*messages[:3])
    writer = bench.recorder._writer
    assert writer is not None
    with Path("/dev/full").open("wb", buffering=0) as full:
        import os

        os.dup2(full.fileno(), writer._file.fileno())
    bench.send(*messages[3:])
    assert bench.statuses[-1].state == "error"
    assert "No space left" in bench.statuses[-1].detail
    shutil.rmtree(bag_of(tmp_path, episode, ".partial"))


def test_a_message_without_header_is_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.send(Sent(topics.JOINT_STATES, b"\0\1\0\0", 5))
    assert "at least 12 bytes" in bench.statuses[-1].detail


def test_a_bag_keeps_its_name_when_the_next_episode_is_announced_first(tmp_path: Path) -> None:
    """An operator who starts anew at once: the bag of before then went elsewhere than its episode said."""
    bench = Bench(tmp_path)
    first, second = (make_episode(episode_id=name) for name in ("e1", "e2"))
    announced = bench.recorder.bag_path(first)
    assert bench.recorder.bag_path(second) != announced, "in one second there are two names, too"
    bench.send(*whole_episode(first))
    assert bench.recorder.bag_path(first) == announced
    check(tmp_path, first)
    assert announced.is_dir()
