# SPDX-License-Identifier: Apache-2.0
"""Videos of other programs: any size and rate with a camera file; what cannot be used ends in one sentence."""

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
from drawn_scene import film
from PIL import Image
from value_strategies import make_episode, make_state

from physgen_control.bags.serialize import CameraSpec, EpisodeBag
from physgen_control.errors import UserError
from physgen_control.types import EpisodePhase
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.values import Video
from physgen_physworld.video.bag import BagSource
from physgen_physworld.video.camera_file import camera_text, read_camera
from physgen_physworld.video.clip import ClipSource
from physgen_physworld.video.source import VideoError, checked


@pytest.fixture(scope="module")
def pushed() -> Video:
    count = 6
    positions = np.stack([np.linspace(0.5, 0.6, count), np.full(count, 0.02), np.full(count, 0.02)], axis=1)
    return film(positions, np.zeros(count))


@pytest.fixture
def camera_path(pushed: Video, tmp_path: Path) -> Path:
    path = tmp_path / "camera.yaml"
    path.write_text(camera_text(pushed.camera))
    return path


def test_a_camera_survives_its_file(pushed: Video, camera_path: Path) -> None:
    again = read_camera(camera_path)
    points = np.array([[0.5, 0.1, 0.0], [0.7, -0.1, 0.1]])
    assert np.allclose(again.project(points), pushed.camera.project(points))
    assert np.allclose(again.on_plane(again.project(points[:1]), 0.0), points[:1])
    small = again.scaled((128, 128))
    assert np.allclose(small.project(points), again.project(points) / 2)
    with pytest.raises(UserError, match="proportion must be the same"):
        again.scaled((128, 256))


@pytest.mark.parametrize("name", ["clip.gif", "clip.mp4"])
def test_a_film_of_another_size_and_rate_is_tracked(
    name: str, pushed: Video, camera_path: Path, tmp_path: Path
) -> None:
    """The camera file is for 256 pixels, the film has 384."""
    path = tmp_path / name
    large = [np.asarray(Image.fromarray(frame).resize((384, 384))) for frame in pushed.frames]
    if name.endswith("gif"):
        pictures = [Image.fromarray(frame) for frame in large]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=80)
    else:
        imageio.imwrite(path, np.stack(large), plugin="FFMPEG", fps=12, macro_block_size=2, quality=9)
    video = ClipSource(path=path, camera_path=camera_path).video()
    assert video.frames.shape == (6, 384, 384, 3) and video.camera.image_size == (384, 384)
    assert video.period_s == pytest.approx(0.08 if name.endswith("gif") else 1 / 12, rel=0.01)
    assert len(video.sha256) == 64
    moved = reconstruct_tracks(video, find_things(video, things_named("push the cube"), PlaneDepth())).moved
    assert np.linalg.norm(moved.positions[0] - [0.5, 0.02, 0.02]) < 0.006
    assert np.linalg.norm(moved.positions[-1] - [0.6, 0.02, 0.02]) < 0.008


def test_a_recorded_bag_is_a_video(pushed: Video, camera_path: Path, tmp_path: Path) -> None:
    """Its pictures alone are read; every second one, with the time between them."""
    episode = make_episode()
    cameras = {name: CameraSpec(frame_id=name) for name in ("fixed", "wrist")}
    with EpisodeBag(tmp_path / "bag", episode, cameras, joint_prefix="panda") as bag:
        for step, frame in enumerate(pushed.frames):
            stamp_ns = episode.start_ns + step * 50_000_000
            bag.add_observation(stamp_ns, frame, frame, make_state(stamp_ns))
        path = bag.finish(EpisodePhase.SUCCESS, step=len(pushed.frames) - 1)
    video = BagSource(path=path, camera_path=camera_path, every=2).video()
    assert np.array_equal(video.frames, pushed.frames[::2])
    assert video.period_s == pytest.approx(0.1)
    with pytest.raises(UserError):
        BagSource(path=tmp_path / "none", camera_path=camera_path).video()


def test_files_that_cannot_be_used_are_one_sentence(pushed: Video, camera_path: Path, tmp_path: Path) -> None:
    def sentence(path: Path, camera: Path = camera_path) -> str:
        with pytest.raises(UserError) as caught:
            ClipSource(path=path, camera_path=camera).video()
        return str(caught.value)

    empty, broken, broken_gif = tmp_path / "empty.mp4", tmp_path / "broken.mp4", tmp_path / "broken.gif"
    empty.touch()
    broken.write_bytes(b"no film " * 100)
    broken_gif.write_bytes(b"GIF89a nonsense")
    short = tmp_path / "short.gif"
    Image.fromarray(pushed.frames[0]).save(short)
    assert "no video file" in sentence(tmp_path / "none.mp4")
    assert "is empty" in sentence(empty)
    assert "no picture that can be read" in sentence(broken)
    assert "broken" in sentence(broken_gif)
    assert "at least 3 are needed" in sentence(short)
    assert "no camera file" in sentence(short, tmp_path / "none.yaml")
    with pytest.raises(VideoError, match="of one colour"):
        checked(
            Video(
                frames=np.zeros((3, 8, 8, 3), np.uint8),
                period_s=0.1,
                camera=pushed.camera,
                source="a black film",
            )
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_size: [256, 256]", "neither a matrix nor a fov_y"),
        ("image_size: [256, 256]\nfov_y: 0.8", "does not say where the camera stands"),
        ("image_size: 256", "must be 2 numbers"),
        ("image_size: [256, 256]\nfov_y: 0.8\nlens: wide", "unknown key 'lens'"),
        (
            "image_size: [256, 256]\nfov_y: 0.8\nbase_from_camera: {position: [0, 0, 1], quaternion: [0, 0, 0, 0]}",
            "names no rotation",
        ),
    ],
)
def test_a_camera_file_that_describes_no_camera_is_one_sentence(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "camera.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        read_camera(path)
