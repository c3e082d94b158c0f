# SPDX-License-Identifier: Apache-2.0
"""A point of the scene is drawn where the camera sees it."""

from __future__ import annotations

import numpy as np
import pytest

from physgen_bringup.viewer.camera import measured_view, pose_between, simulated_view
from physgen_control.geometry import quaternion_from_rotation_vector
from physgen_control.messages.status import Intrinsics, StaticTransform
from physgen_control.types import Pose, UInt8Image
from physgen_sim_bridge.fake_franka.painter import Painter
from physgen_sim_bridge.registry import make_world

DOWN = np.array([1.0, 0.0, 0.0, 0.0])
UPRIGHT = np.array([0.0, 0.0, 0.0, 1.0])


def middle_of_blue(image: UInt8Image) -> np.ndarray:
    """Column and row of the middle of what is much more blue than red."""
    rgb = image.astype(int)
    rows, columns = np.nonzero((rgb[..., 2] > 60) & (rgb[..., 2] > rgb[..., 0] + 50))
    assert len(rows) > 10, "no blue cube is seen"
    return np.array([columns.mean(), rows.mean()])


def check_cube(sim: str, task: str, size: int, tolerance: float) -> None:
    """The cube's centre is projected into the middle of the cube that the world draws."""
    world = make_world(sim, task, image_size=size, in_worker=sim == "maniskill")
    try:
        for seed in range(3):
            seen = world.reset(seed)
            view = simulated_view(sim, task, size, size)
            assert view is not None
            pixels, before = view.project(seen.objects["cube"].position)
            assert before.all()
            np.testing.assert_allclose(pixels[0], middle_of_blue(seen.rgb_fixed), atol=tolerance)
    finally:
        world.close()


def test_the_map_of_the_fake_world_is_seen_as_by_a_camera():
    # The gripper covers a part of the cube in no start position.
    check_cube("fake", "FakePush-v0", 128, 1.5)


@pytest.mark.sim
def test_the_fixed_camera_of_maniskill_stands_where_it_is_said():
    pytest.importorskip("mani_skill")
    check_cube("maniskill", "PushCube-v1", 128, 2.5)


def test_the_fixed_camera_of_the_fake_arm_stands_where_it_is_said():
    cube = np.array([0.5, 0.12, 0.02])
    painted = Painter(320, 240).paint(
        Pose(position=np.array([0.4, -0.25, 0.4]), quaternion=DOWN),
        0.08,
        cube,
        UPRIGHT,
        np.array([0.6, 0.3, 0.0]),
    )
    view = simulated_view("fake", "FrankaPick-v0", 320, 240)
    assert view is not None
    pixels, _ = view.project(cube)
    np.testing.assert_allclose(pixels[0], middle_of_blue(painted["fixed"]), atol=3.0)


def test_what_is_behind_the_camera_has_no_pixel():
    view = simulated_view("maniskill", "PushCube-v1", 128, 128)
    assert view is not None
    pixels, before = view.project(np.array([[5.0, 0.9, 2.0], [0.6, 0.0, 0.0]]))
    assert before.tolist() == [False, True]
    assert np.isnan(pixels[0]).all()


def test_a_world_whose_camera_is_not_known_has_no_view():
    assert simulated_view("libero", "libero_object/0", 128, 128) is None
    assert simulated_view("real", "real", 640, 480) is None


def test_static_transforms_lead_to_the_camera():
    """Base, mounting, optical frame: turns and shifts are composed from the inside out."""
    quarter = quaternion_from_rotation_vector(np.array([0.0, 0.0, np.pi / 2]))
    tree = [
        StaticTransform(parent="base", child="link", pose=Pose(np.array([1.0, 0.0, 0.0]), quarter)),
        StaticTransform(parent="link", child="optical", pose=Pose(np.array([0.0, 0.0, 0.5]), quarter)),
    ]
    pose = pose_between(tree, "base", "optical")
    assert pose is not None
    np.testing.assert_allclose(pose.position, [1.0, 0.0, 0.5], atol=1e-12)
    np.testing.assert_allclose(np.abs(pose.quaternion), [0.0, 0.0, 1.0, 0.0], atol=1e-12)
    intrinsics = Intrinsics(stamp_ns=0, frame_id="optical", width=64, height=48, matrix=np.eye(3))
    assert measured_view(tree, "base", intrinsics) is not None
    assert measured_view(tree[1:], "base", intrinsics) is None


def test_transforms_in_a_circle_lead_nowhere():
    pose = Pose(np.zeros(3), UPRIGHT)
    circle = [
        StaticTransform(parent="a", child="b", pose=pose),
        StaticTransform(parent="b", child="a", pose=pose),
    ]
    assert pose_between(circle, "base", "a") is None
