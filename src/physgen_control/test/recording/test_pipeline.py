# SPDX-License-Identifier: Apache-2.0
"""The recorder's thread: order is kept, JPEG too, and a queue without room drops instead of growing."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from value_strategies import POSE, START_NS, make_episode, make_image

from physgen_control.bags.errors import BagError
from physgen_control.bags.reader import read_episode
from physgen_control.bags.serialize import BUILDER, serialize
from physgen_control.bags.summary import read_summary
from physgen_control.messages import build, topics
from physgen_control.messages.topics import RecordedTopic
from physgen_control.recording.config import RecorderConfig
from physgen_control.recording.jpeg import jpeg_from_image
from physgen_control.recording.pipeline import RecordingPipeline
from physgen_control.recording.recorder import EpisodeRecorder
from physgen_control.recording.status_board import RecorderStatus
from physgen_control.types import EpisodePhase

COUNT = 20
STEP_NS = 10_000_000


def smooth(number: int) -> np.ndarray:
    """An image that JPEG keeps: two ramps and a brightness of its own."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([x * 3, y * 4, np.full_like(x, 5 + number * 10)], axis=-1).astype(np.uint8)


def raw(number: int) -> bytes:
    return serialize(build.build_image(BUILDER, smooth(number), START_NS + number * STEP_NS, "camera_fixed"))


def info(phase: EpisodePhase, episode_id: str = "e0") -> bytes:
    from dataclasses import replace

    return serialize(
        build.build_episode(BUILDER, replace(make_episode(episode_id=episode_id), phase=phase), "")
    )


def recorder(folder: Path, **options: Any) -> EpisodeRecorder:
    config = RecorderConfig(bag_dir=str(folder), min_free_mb=0.0, drain_s=0.0, **options)
    return EpisodeRecorder(config, topics.recorded_topics(compressed=True, sim=False), lambda _: None)


def test_jpeg_images_arrive_in_order_and_look_like_the_raw_ones(tmp_path: Path) -> None:
    errors: list[str] = []
    pipeline = RecordingPipeline(recorder(tmp_path), limit_bytes=10**8, on_error=errors.append)
    topic = topics.image_topic("fixed", compressed=True)
    assert pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.RUNNING), START_NS, 1)
    for number in range(COUNT):
        assert pipeline.put(topic, raw(number), START_NS + number, 2 + number, encode=True)
    pipeline.put(topic, b"\0\1\0\0" + bytes(40), START_NS, 50, encode=True)
    pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.SUCCESS), START_NS, 60)
    pipeline.close()
    assert pipeline.waiting_bytes == 0
    assert len(errors) == 1
    assert "cannot be compressed" in errors[0]
    recording = read_episode(next(tmp_path.iterdir()))
    assert recording.outcome == EpisodePhase.SUCCESS
    assert len(recording.fixed) == COUNT
    for number in range(COUNT):
        frame = recording.fixed.frame(number)
        assert (frame.stamp_ns, frame.frame_id) == (START_NS + number * STEP_NS, "camera_fixed")
        assert np.abs(frame.rgb.astype(int) - smooth(number)).mean() < 2.0


def test_quality_is_what_the_size_follows() -> None:
    image = serialize(build.build_image(BUILDER, make_image(1, 64), 1, "x"))
    assert len(jpeg_from_image(image, 50)) < len(jpeg_from_image(image, 95)) < len(image)
    with pytest.raises(BagError, match="cannot be compressed"):
        jpeg_from_image(image[: len(image) // 2])


def test_a_message_that_cannot_be_read_fails_its_bag_and_not_the_recorder(tmp_path: Path) -> None:
    config = RecorderConfig(bag_dir=str(tmp_path), min_free_mb=0.0, drain_s=0.0)
    said: list[str] = []
    writer = EpisodeRecorder(
        config, topics.recorded_topics(compressed=True, sim=False), lambda status: said.append(status.detail)
    )
    pipeline = RecordingPipeline(writer, limit_bytes=10**8, on_error=said.append)
    broken = b"\0\1\0\0" + struct.pack("<iI", START_NS // 10**9, START_NS % 10**9)
    pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.RUNNING), START_NS, 1)
    pipeline.put(topics.APPLIED_ACTION, broken, START_NS + 1, 2)
    pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.SUCCESS), START_NS + 2, 3)
    pipeline.close()
    assert any("cannot be recorded" in sentence for sentence in said), said


class FailsOnce(EpisodeRecorder):
    """A recorder with a bug that shows once."""

    failed = False

    def on_time(self, mono_ns: int) -> None:
        if not self.failed:
            self.failed = True
            raise ZeroDivisionError("a bug")
        super().on_time(mono_ns)


def test_an_unexpected_error_costs_one_bag_and_not_the_recorder(tmp_path: Path) -> None:
    """Its thread once ended with the first such error, and every later episode went unrecorded."""
    config = RecorderConfig(bag_dir=str(tmp_path), min_free_mb=0.0, drain_s=0.0)
    said: list[str] = []
    writer = FailsOnce(
        config, topics.recorded_topics(compressed=True, sim=False), lambda status: said.append(status.detail)
    )
    pipeline = RecordingPipeline(writer, limit_bytes=10**8, on_error=said.append)
    pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.RUNNING), START_NS, 1)
    pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.RUNNING, "e1"), START_NS + 2, 3)
    pipeline.put(topics.EPISODE_INFO, info(EpisodePhase.SUCCESS, "e1"), START_NS + 3, 4)
    pipeline.close()
    assert any("because of ZeroDivisionError: a bug" in sentence for sentence in said), said
    finished = [path for path in tmp_path.iterdir() if path.suffix != ".partial"]
    assert "e1" in {read_summary(bag).episode_id for bag in finished}, said


class Stuck:
    """A recorder whose disk hangs until it is released."""

    def __init__(self) -> None:
        self.busy, self.release = threading.Event(), threading.Event()
        self.taken: list[str] = []

    def on_message(self, topic: str, *_: object) -> None:
        self.busy.set()
        assert self.release.wait(30)
        self.taken.append(topic)

    def on_time(self, _: int) -> None: ...

    def close(self) -> None: ...


def test_a_queue_without_room_drops_and_recovers() -> None:
    stuck = Stuck()
    pipeline = RecordingPipeline(stuck, limit_bytes=100, on_error=print)  # type: ignore[arg-type]
    assert pipeline.put("a", bytes(60), 0, 0)
    assert stuck.busy.wait(30)
    assert not pipeline.put("b", bytes(60), 0, 0)
    assert pipeline.put("c", bytes(40), 0, 0)
    stuck.release.set()
    pipeline.close()
    assert stuck.taken == ["a", "c"]
    assert pipeline.waiting_bytes == 0


def test_every_latched_transform_is_in_the_bag_and_only_the_last_robot_description(tmp_path: Path) -> None:
    """Each camera and the robot latch their own static transforms on one topic."""
    state = recorder(tmp_path)
    for mono_ns, frame in enumerate(("fixed", "wrist", "fixed")):
        transform = BUILDER.make(
            "geometry_msgs/msg/TransformStamped",
            header=build.build_header(BUILDER, 1, "base"),
            child_frame_id=frame,
            transform=BUILDER.make(
                "geometry_msgs/msg/Transform",
                translation=BUILDER.make("geometry_msgs/msg/Vector3", x=1.0, y=0.0, z=0.0),
                rotation=build.build_pose(BUILDER, POSE).orientation,
            ),
        )
        message = BUILDER.make("tf2_msgs/msg/TFMessage", transforms=[transform])
        state.on_message(topics.TF_STATIC, serialize(message), 10, mono_ns)
    for text in ("old", "new"):
        data = serialize(BUILDER.make("std_msgs/msg/String", data=text))
        state.on_message(topics.ROBOT_DESCRIPTION, data, 10, 5)
    state.on_message(topics.EPISODE_INFO, info(EpisodePhase.RUNNING), START_NS, 10**12)
    state.on_message(topics.EPISODE_INFO, info(EpisodePhase.SUCCESS), START_NS, 10**12)
    counts = read_episode(next(tmp_path.iterdir())).counts
    assert counts[topics.TF_STATIC] == 2
    assert counts[topics.ROBOT_DESCRIPTION] == 1


def test_a_disk_that_fills_up_ends_the_bag_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The episode is kept up to there as CRASHED, and says why."""
    from dataclasses import replace

    statuses: list[RecorderStatus] = []
    state = EpisodeRecorder(
        RecorderConfig(bag_dir=str(tmp_path), min_free_mb=0.0),
        (*topics.recorded_topics(sim=False), RecordedTopic(name="/x", type="std_msgs/msg/String")),
        statuses.append,
    )
    state.on_message(topics.EPISODE_INFO, info(EpisodePhase.RUNNING), START_NS, 1)
    was_recording = state.recording
    assert was_recording
    state.config = replace(state.config, min_free_mb=1e12)
    state.on_time(2 * 10**9)
    assert not state.recording
    assert statuses[-1].state == "error"
    assert "MB of disk space are left" in statuses[-1].detail
    recording = read_episode(next(tmp_path.iterdir()))
    assert recording.outcome == EpisodePhase.CRASHED
    assert "disk space" in recording.episode.detail
