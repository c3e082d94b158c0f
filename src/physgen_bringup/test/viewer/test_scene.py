# SPDX-License-Identifier: Apache-2.0
"""What the scene says and forgets: keys, refusals, the end of an episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rerun", reason="the viewer is not installed (./physgen setup --viewer)")

from rrd_file import rows, values
from value_strategies import make_episode

from physgen_bringup.viewer import blueprint as names
from physgen_bringup.viewer.prediction import ActionLimits
from physgen_bringup.viewer.scene import Scene
from physgen_bringup.viewer.sink import open_sink
from physgen_control.messages import topics
from physgen_control.messages.status import MeasuredPose, PredictionReport, SafetyReport
from physgen_control.types import AckResult, ActionChunk, CameraFrame, ChunkAck, Fault, Pose, SafetyState

LIMITS = ActionLimits(
    translation=0.05, rotation=0.1, low=np.array([0.2, -0.5, 0.0]), high=np.array([0.9, 0.5, 0.8])
)
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
STEP_NS = 50_000_000


def drawn(folder: Path, draw: Callable[[Scene], None], *, keys: bool = False) -> Path:
    """The file of a scene after `draw`."""
    sink = open_sink("file", folder / "scene.rrd", {})
    draw(Scene(sink.recording, limits=LIMITS, keys=keys))
    sink.close()
    assert sink.file is not None
    return sink.file


def pose(stamp_ns: int, x: float) -> MeasuredPose:
    return MeasuredPose(stamp_ns=stamp_ns, frame_id="base", pose=Pose(np.array([x, 0.0, 0.2]), DOWN))


def chunk(stamp_ns: int, forward: float) -> ActionChunk:
    data = np.zeros((3, 8, 7), np.float32)
    data[:, :, 0] = forward
    return ActionChunk.of(
        data, session_id="s", chunk_seq=0, base_step=0, stamp_ns=stamp_ns, step_period_ns=STEP_NS
    )


def test_a_person_at_the_keyboard_sees_the_keys(tmp_path):
    file = drawn(tmp_path, lambda scene: None, keys=True)
    assert "gripper" in values(file, names.KEYS, "TextDocument:text")[0][0]
    assert names.KEYS not in rows(drawn(tmp_path / "policy", lambda scene: None))


def test_a_prediction_starts_at_the_pose_of_its_observation_and_marks_what_is_cut(tmp_path):
    def draw(scene: Scene) -> None:
        scene.show(topics.CURRENT_POSE, pose(STEP_NS, 0.30))
        scene.show(topics.CURRENT_POSE, pose(2 * STEP_NS, 0.50))  # measured after the observation
        scene.show(topics.ACTION_CHUNK, chunk(STEP_NS, 0.06))

    file = drawn(tmp_path, draw)
    strips = values(file, names.PREDICTED, "LineStrips3D:strips")[-1]
    assert [len(strip) for strip in strips] == [9, 9, 9]
    np.testing.assert_allclose(strips[0][0], [0.3, 0.0, 0.2], atol=1e-6)
    np.testing.assert_allclose(strips[2][-1], [0.3 + 24 * 0.06, 0.0, 0.2], atol=1e-5)
    colours = values(file, names.PREDICTED, "LineStrips3D:colors")[-1]
    assert len(set(colours)) == 3
    assert len(values(file, f"{names.PREDICTED}/cut", "Points3D:positions")[-1]) == 24


def test_an_imagined_frame_stands_at_the_time_that_it_is_imagined_for(tmp_path):
    """Eight steps of 50 ms after the observation: then the real frame is beside it."""

    def draw(scene: Scene) -> None:
        scene.show(topics.CURRENT_POSE, pose(STEP_NS, 0.3))
        scene.show(topics.ACTION_CHUNK, chunk(STEP_NS, 0.01))
        frame = np.zeros((16, 32, 3), np.uint8)
        scene.show(topics.PREDICTED_IMAGE, CameraFrame(stamp_ns=STEP_NS, rgb=frame, frame_id="x"))

    file = drawn(tmp_path, draw)
    times = values(file, names.IMAGINED["wrist"], names.TIMELINE)
    assert [time.total_seconds() for time in times] == [pytest.approx(0.45)]


def test_where_an_expected_frame_was_wrong_is_shown_with_the_picture_of_its_instant(tmp_path):
    """Only that picture has one; another size of the camera does not matter."""

    def draw(scene: Scene) -> None:
        scene.show(topics.CURRENT_POSE, pose(STEP_NS, 0.3))
        scene.show(topics.ACTION_CHUNK, chunk(STEP_NS, 0.01))
        expected = np.zeros((16, 32, 3), np.uint8)
        scene.show(topics.PREDICTED_IMAGE, CameraFrame(stamp_ns=STEP_NS, rgb=expected, frame_id="x"))
        for step in range(1, 11):
            seen = CameraFrame(stamp_ns=step * STEP_NS, rgb=np.zeros((48, 48, 3), np.uint8), frame_id="x")
            scene.show(topics.image_topic("fixed"), seen)
        report = PredictionReport(stamp_ns=9 * STEP_NS, errors=(40.0, 4.0, 3.0, 1.0))
        scene.show(topics.PREDICTION_ERROR, report)

    file = drawn(tmp_path, draw)
    times = values(file, names.WRONG["fixed"], names.TIMELINE)
    assert [time.total_seconds() for time in times] == [pytest.approx(9 * 0.05)]
    assert values(file, f"{names.SURPRISE}/fixed_worst", "Scalars:scalars") == [[40.0]]


def test_a_refused_chunk_says_why_and_a_fault_is_named(tmp_path):
    def draw(scene: Scene) -> None:
        scene.show(topics.EPISODE_INFO, make_episode())
        scene.show(
            topics.CHUNK_ACK,
            ChunkAck(
                stamp_ns=1,
                session_id="s",
                episode_id="e",
                chunk_seq=3,
                result=AckResult.STEP,
                detail="too [far]",
            ),
        )
        report = SafetyReport(
            stamp_ns=2,
            state=SafetyState.FAULT,
            faults=Fault.TRACKING,
            estop=False,
            deadman=True,
            intervention=True,
            state_age=0.0,
            detail="stopped",
        )
        scene.show(topics.SAFETY_STATUS, report)

    file = drawn(tmp_path, draw)
    status = values(file, names.STATUS, "TextDocument:text")[-1][0]
    assert "pick up the cube" in status
    assert "step: too \\[far\\]" in status
    assert "tracking" in status
    assert "a person is in command" in status
    assert any("refused" in line[0] for line in values(file, names.EVENTS, "TextLog:text"))


def test_the_path_of_an_episode_that_is_over_is_forgotten(tmp_path):
    def draw(scene: Scene) -> None:
        first = make_episode(episode_id="first", start_ns=0)
        scene.show(topics.EPISODE_INFO, first)
        for step in range(5):
            scene.show(topics.CURRENT_POSE, pose(step * 2 * STEP_NS + 1, 0.3 + 0.01 * step))
        start = 10**9
        scene.show(topics.EPISODE_INFO, replace(first, episode_id="second", start_ns=start))
        for step in range(3):
            scene.show(topics.CURRENT_POSE, pose(start + step * 2 * STEP_NS, 0.6))

    file = drawn(tmp_path, draw)
    lengths = [len(strips[0]) for strips in values(file, names.EXECUTED, "LineStrips3D:strips") if strips]
    assert lengths == [2, 3, 4, 5, 2, 3]
