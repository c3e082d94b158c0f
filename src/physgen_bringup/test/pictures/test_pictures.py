# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from physgen_bringup.pictures import pictures as artifacts
from physgen_bringup.pictures.pictures import Recording
from physgen_control.errors import UserError
from physgen_control.types import AppliedAction, Limit, Pose, Source

POSE = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


def action(step: int) -> AppliedAction:
    raw = np.linspace(-1, 1, 7).astype(np.float32) * np.float32(np.sin(step))
    return AppliedAction(
        stamp_ns=step,
        state_stamp_ns=step,
        session_id="s",
        episode_id="e",
        step=step,
        chunk_seq=0,
        base_step=0,
        step_index=step,
        chunk_index=0,
        source=Source.HOLD if step == 3 else Source.POLICY,
        executed=True,
        raw=raw,
        applied=np.clip(raw, -0.5, 0.5),
        target_pose=POSE,
        gripper_width=0.08,
        limits=Limit.STEP,
    )


def recording(steps: int = 5, predicted: bool = False, size: int = 32) -> Recording:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (size, size, 3), dtype=np.uint8) for _ in range(steps + 1)]
    return Recording(
        seed=7,
        task="FakePush-v0",
        outcome="success",
        rate_hz=20.0,
        fixed=images,
        wrist=images,
        predicted={0: np.zeros((size, 2 * size, 3), np.uint8)} if predicted else {},
        actions=[action(step) for step in range(steps)],
        tcp=np.zeros((steps + 1, 3)),
    )


@pytest.mark.parametrize("predicted", [False, True])
def test_every_observation_becomes_a_picture_and_the_last_one_stays(predicted):
    frames = list(artifacts.video_frames(recording(predicted=predicted)))
    assert len(frames) == 6 + int(20 * artifacts.FREEZE_S)
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert all(size % 8 == 0 for size in frames[0].shape[:2])


def test_an_expected_frame_stands_beside_the_picture_that_came():
    """From the step at which it was imagined on; before it, and where no picture followed, its place is empty."""
    view, size = artifacts.VIEW_PX, 32
    made = replace(recording(20), predicted={4: np.full((size, 2 * size, 3), 200, np.uint8)})
    frames = list(artifacts.video_frames(made))
    assert {frame.shape for frame in frames} == {(2 * view + artifacts.PANEL_PX, 3 * view, 3)}
    middle = slice(40, view)  # below the titles
    assert len(np.unique(frames[3][middle, view : 2 * view])) < 5
    np.testing.assert_array_equal(frames[4][middle, view : 2 * view], 200)
    np.testing.assert_array_equal(frames[4][middle, 2 * view :], frames[12][middle, :view])
    late = list(artifacts.video_frames(replace(made, predicted={16: made.predicted[4]})))
    np.testing.assert_array_equal(late[16][middle, view : 2 * view], 200)
    assert len(np.unique(late[16][middle, 2 * view :])) < 5


def test_a_film_of_episodes_with_and_without_expectations_is_whole(tmp_path):
    """The canvas is that of the first one."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = artifacts.write_video([recording(), recording(3, predicted=True)], tmp_path / "film.mp4")
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == 6 + 4 + 2 * int(20 * artifacts.FREEZE_S)


def test_a_picture_stays_until_the_next_one():
    """Of an episode with fewer pictures than steps every step is shown, at the same speed, the last ones too."""
    whole = recording(10)
    few = replace(whole, fixed=whole.fixed[::4], wrist=whole.wrist[::4], picture_every=4)
    expected, frames = list(artifacts.video_frames(whole)), list(artifacts.video_frames(few))
    assert len(frames) == len(expected) == 11 + int(20 * artifacts.FREEZE_S)
    view = artifacts.VIEW_PX
    for step in range(11):
        np.testing.assert_array_equal(frames[step][:view], expected[step // 4 * 4][:view])
        np.testing.assert_array_equal(frames[step][view:], expected[step][view:])


def test_video_and_plots_are_written(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = artifacts.write_video([recording(), recording(3)], tmp_path / "demo.mp4")
    count, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == 6 + 4 + 2 * int(20 * artifacts.FREEZE_S)
    for plot in (
        artifacts.plot_actions(recording(), tmp_path / "actions.png"),
        artifacts.plot_tcp_paths([recording()], tmp_path / "tcp.png"),
        artifacts.plot_latencies(
            {"image_to_command": [1.0, 2.0], "observation_to_chunk": []}, tmp_path / "l.png"
        ),
    ):
        assert plot.read_bytes().startswith(b"\x89PNG")


def test_an_episode_without_actions_is_drawn_too(tmp_path):
    empty = recording(0)
    assert len(list(artifacts.video_frames(empty))) == 1 + int(20 * artifacts.FREEZE_S)
    artifacts.plot_actions(empty, tmp_path / "actions.png")


def test_no_images_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="no images"):
        artifacts.write_video([], tmp_path / "demo.mp4")
