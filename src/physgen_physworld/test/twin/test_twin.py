# SPDX-License-Identifier: Apache-2.0
"""The physical twin: things lie still, a hand moves them, and the base policy brings them where the video does."""

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_physworld.plan.base import GoalFollower, Phase
from physgen_physworld.plan.goals import make_goals
from physgen_physworld.scene.scene import CLEARANCE, build_scene
from physgen_physworld.values import ObjectTrack, Tracks, yaw_quaternions

mujoco = pytest.importorskip("mujoco", reason="the extra physworld is not installed")
from physgen_physworld.twin.twin import Properties, Twin, up_axis  # noqa: E402

CUBE = (0.04, 0.04, 0.04)


def track(name: str, positions: Float64Array, yaw: float = 0.0) -> ObjectTrack:
    count = len(positions)
    return ObjectTrack(
        name=name,
        size=CUBE,
        positions=positions,
        quaternions=yaw_quaternions(np.full(count, yaw)),
        confidence=np.ones(count),
    )


def way(*points: tuple[float, float, float], count: int = 20) -> Float64Array:
    at = np.linspace(0, len(points) - 1, count)
    path = np.array(points)
    return np.stack([np.interp(at, np.arange(len(path)), path[:, axis]) for axis in range(3)], axis=1)


def pick() -> Tracks:
    path = way((0.60, 0.05, 0.02), (0.60, 0.05, 0.15), (0.65, -0.08, 0.2))
    return Tracks(objects=(track("cube", path, 0.3),), period_s=0.1, source="a drawn way")


def stack() -> Tracks:
    path = way((0.60, 0.06, 0.02), (0.60, 0.06, 0.13), (0.57, -0.08, 0.13), (0.57, -0.08, 0.06))
    lower = track("green_cube", np.tile([0.57, -0.08, 0.02], (20, 1)), 0.5)
    return Tracks(objects=(track("red_cube", path), lower), period_s=0.1, source="a drawn way")


def push() -> Tracks:
    path = way((0.56, 0.03, 0.02), (0.68, 0.03, 0.02))
    return Tracks(objects=(track("cube", path, 0.2),), period_s=0.1, source="a drawn way")


def follow(tracks: Tracks, kind: str, steps: int = 150, seed: int | None = None) -> tuple[Twin, GoalFollower]:
    scene = build_scene(tracks)
    twin = Twin(scene)
    if seed is not None:
        twin.reset(Properties.drawn(scene, np.random.default_rng(seed)))
    follower = GoalFollower(make_goals(tracks), "naive" if kind == "naive" else "base")
    for _ in range(steps):
        thing = twin.object_pose(scene.moved)
        twin.step(follower.act({"object": thing}, twin.tcp_pose, twin.gripper_width))
        if follower.phase is Phase.DONE:
            break
    for _ in range(6):
        thing = twin.object_pose(scene.moved)
        twin.step(follower.act({"object": thing}, twin.tcp_pose, twin.gripper_width))
    assert twin.is_finite and twin.penetration < 0.004
    return twin, follower


def test_things_that_nobody_touches_lie_still() -> None:
    tracks = stack()
    twin = Twin(build_scene(tracks))
    still = np.array([0.0, 0, 0, 0, 0, 0, 1], np.float32)
    for _ in range(20):
        twin.step(still)
    for name, first in (("red_cube", [0.60, 0.06, 0.02]), ("green_cube", [0.57, -0.08, 0.02])):
        pose = twin.object_pose(name)
        assert np.linalg.norm(pose.position - first) < 0.002 and up_axis(pose)[2] > 0.999


def test_the_hand_goes_where_it_is_told_and_no_faster_than_allowed() -> None:
    twin = Twin(build_scene(push()))
    start = twin.tcp_pose.position
    twin.step(np.array([0.03, 0, 0, 0, 0, 0, 1], np.float32))
    twin.step(np.array([0.0, 0, 0, 0, 0, 0, 1], np.float32))
    # It lags, as an arm does: the next step's target is relative to where it has come to.
    assert 0.008 < twin.tcp_pose.position[0] - start[0] < 0.85 * 0.03 + 0.002
    here = twin.tcp_pose.position
    twin.step(np.array([0, 5.0, 0, 0, 0, 0, -1], np.float32))
    assert 0.02 < twin.tcp_pose.position[1] - here[1] < 0.065
    assert twin.gripper_width < 0.06


@pytest.mark.parametrize("kind", ["base", "naive"])
def test_following_lifts_the_cube_to_where_the_video_ends(kind: str) -> None:
    twin, follower = follow(pick(), kind)
    assert follower.phase is Phase.DONE and follower.failed_grasps == 0
    assert np.linalg.norm(twin.object_pose("cube").position - [0.65, -0.08, 0.2]) < 0.015


@pytest.mark.parametrize("kind", ["base", "naive"])
def test_following_stacks_and_lets_go(kind: str) -> None:
    twin, follower = follow(stack(), kind)
    assert follower.goals.released and follower.phase is Phase.DONE
    red = twin.object_pose("red_cube")
    assert np.linalg.norm(red.position - [0.57, -0.08, 0.06]) < 0.012 and up_axis(red)[2] > 0.99
    assert twin.gripper_width > 0.06


def test_pushing_stays_on_the_table_and_ends_where_the_video_does() -> None:
    twin, follower = follow(push(), "base")
    assert not follower.goals.lifted and follower.phase is Phase.DONE
    assert np.linalg.norm((twin.object_pose("cube").position - [0.68, 0.03, 0.02])[:2]) < 0.015


def test_unknown_masses_and_frictions_do_not_stop_the_base() -> None:
    ends = [follow(pick(), "base", seed=seed)[0].object_pose("cube").position for seed in range(4)]
    assert max(np.linalg.norm(end - [0.65, -0.08, 0.2]) for end in ends) < 0.02


def test_overlaps_are_lifted_apart_and_a_steep_table_is_refused() -> None:
    sunk = track("a", np.tile([0.5, 0.0, 0.015], (3, 1)))
    inside = track("b", np.tile([0.51, 0.0, 0.04], (3, 1)))
    scene = build_scene(Tracks(objects=(sunk, inside), period_s=0.1, source="test"))
    assert scene.boxes[0].position[2] == pytest.approx(0.02 + CLEARANCE)
    assert scene.boxes[1].position[2] == pytest.approx(0.06 + 2 * CLEARANCE)
    with pytest.raises(UserError, match="leans by 45 degrees"):
        build_scene(Tracks(objects=(sunk,), period_s=0.1, source="test"), np.array([1.0, 0.0, 1.0]))
    tilted = build_scene(Tracks(objects=(sunk,), period_s=0.1, source="test"), np.array([0.1, 0.0, 1.0]))
    assert tilted.gravity[0] < -0.9 and np.linalg.norm(tilted.gravity) == pytest.approx(9.81)
