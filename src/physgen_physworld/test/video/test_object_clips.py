# SPDX-License-Identifier: Apache-2.0
"""Clips of objects alone: evenly spaced pictures, the middle of the camera's, a dataset without actions."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from drawn_scene import camera, film

from physgen_control.errors import UserError
from physgen_physworld.commands.physworld import main
from physgen_physworld.video.clip_dataset import ClipDataset
from physgen_physworld.video.object_clips import CLIP_FRAMES, ObjectClip, evenly_along
from physgen_physworld.video.view import OBJECT_VIEW, View
from physgen_policy.data.dataset import Dataset


def clip(seed: int) -> ObjectClip:
    images = np.random.default_rng(seed).integers(
        0, 256, (CLIP_FRAMES, OBJECT_VIEW.side, OBJECT_VIEW.side, 3), dtype=np.uint8
    )
    return ObjectClip(images=images, task="StackCube-v1", seed=seed, instruction="stack the red cube")


def test_pictures_are_evenly_spaced_along_the_way_whatever_its_pace() -> None:
    way = np.concatenate([np.zeros(20), np.linspace(0, 0.3, 90) ** 2 / 0.3, np.full(15, 0.3)])
    steps = evenly_along(way)
    assert len(steps) == CLIP_FRAMES - 1 and steps[-1] == len(way) - 1
    shares = np.diff(way[steps]) / 0.3
    assert np.all(np.abs(shares - 1 / (CLIP_FRAMES - 1)) < 0.03)


def test_a_point_is_seen_at_the_same_place_of_the_window() -> None:
    view = View(height=128, side=96)
    large = camera(256)
    points = np.array([[0.6, 0.0, 0.02], [0.55, 0.1, 0.1]])
    expected = large.scaled((128, 128)).project(points) - 16
    assert view.camera(large).project(points) == pytest.approx(expected, abs=1e-9)
    picture = film(points[:1], np.zeros(1)).frames[0]
    window = view.cut(picture)
    red = (window[..., 0] > 120) & (window[..., 1] < 60)
    rows, columns = np.nonzero(red)
    assert np.hypot(columns.mean() + 0.5 - expected[0, 0], rows.mean() + 0.5 - expected[0, 1]) < 3.0


def test_a_picture_that_is_too_narrow_is_refused() -> None:
    with pytest.raises(UserError, match="too narrow"):
        View(height=128, side=96).cut(np.zeros((400, 200, 3), np.uint8))


def test_a_dataset_of_clips_has_no_actions_and_goes_on(tmp_path: Path) -> None:
    dataset = ClipDataset(tmp_path / "clips")
    dataset.add(clip(3))
    dataset.finish()
    again = ClipDataset(tmp_path / "clips")
    assert again.holds("StackCube-v1", 3) and not again.holds("StackCube-v1", 4)
    again.add(clip(4))
    again.finish()
    read = Dataset(tmp_path / "clips")
    assert len(read) == 2 and not read.embodiment.acts and read.norm.count == 0
    assert read.images(1).shape == (CLIP_FRAMES, OBJECT_VIEW.side, OBJECT_VIEW.side, 3)
    assert np.array_equal(read.images(1), clip(4).images)
    assert not read.labels(0).any() and not read.actions(0).any()


def test_clips_of_a_task_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ManiSkill task"):
        main(["clips", "--task", "Fly-v1", "--out", str(tmp_path / "clips")])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="mani-skill is not installed")
def test_nothing_but_the_objects_is_in_a_clip_of_the_simulator() -> None:
    """The arm and the ball that marks the goal are in the first picture alone; the cube ends where the ball was."""
    from physgen_physworld.reconstruction.colours import colour_mask
    from physgen_physworld.video.object_clips import film_objects
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    world = ManiSkillWorld("PickCube-v1", image_size=OBJECT_VIEW.height)
    images = film_objects(world, "PickCube-v1", 1_000_001).images
    world.close()
    ball = colour_mask(images[0], "green")
    assert ball.sum() > 100 and all(colour_mask(image, "green").sum() < 5 for image in images[1:])
    cube = np.argwhere(colour_mask(images[-1], "red")).mean(axis=0)
    assert np.linalg.norm(cube - np.argwhere(ball).mean(axis=0)) < 6.0
