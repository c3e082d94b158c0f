# SPDX-License-Identifier: Apache-2.0
"""The demo from start to end: simulator, shipped policy, graph, recording, table, video, plots."""

import json

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")
pytest.importorskip("mani_skill", reason="the simulator is not installed")

from physgen_bringup.commands import demo
from physgen_bringup.pictures.pictures import PANEL_PX, VIEW_PX
from physgen_bringup.pictures.recordings import load_recordings

pytestmark = pytest.mark.ros


def test_one_episode_leaves_everything_that_people_look_at(tmp_path):
    import imageio_ffmpeg

    out = tmp_path / "demo"
    assert demo.main(["--episodes", "1", "--out", str(out)]) == 0
    episode = json.loads((out / "results.json").read_text())["episodes"][0]
    assert not episode["crashed"] and episode["stale_steps"] == 0
    ((recording,), left_out) = load_recordings(out / "bags")
    assert left_out == []
    assert len(recording.fixed) == len(recording.wrist) == episode["steps"] + 1
    # Imagined once per chunk; the last one may have been overtaken by the end of the episode.
    assert set(recording.predicted) <= set(range(0, episode["steps"] + 1, 8)) and 0 in recording.predicted
    assert recording.predicted[0].shape == (128, 256, 3)
    video = imageio_ffmpeg.read_frames(str(out / "demo.mp4"))
    size = next(video)["size"]
    video.close()  # before ffmpeg ends by itself: the reader leaves its pipes open where it did
    assert size == (3 * VIEW_PX, 2 * VIEW_PX + PANEL_PX), (
        "each camera, what is expected and what came; the actions"
    )
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(out / "demo.mp4"))
    assert frames > episode["steps"]
    assert {path.stem for path in (out / "plots").iterdir()} == {"actions_1000000", "tcp_paths", "latency"}


def test_the_fake_world_is_shown_without_a_checkpoint(tmp_path, capsys):
    """Nothing was trained for it, so that the scripted expert acts; the page holds table, film and plots."""
    out = tmp_path / "demo"
    assert demo.main(["--sim", "fake", "--episodes", "1", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "FakePush-v0, policy expert" in text
    assert text.strip().splitlines()[-1].startswith("next: ./physgen view")
    page = (out / "report.html").read_text()
    assert page.count("data:video/mp4;base64,") == 1
    assert page.count("data:image/png;base64,") == 3
