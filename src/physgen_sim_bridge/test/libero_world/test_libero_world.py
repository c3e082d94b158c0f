# SPDX-License-Identifier: Apache-2.0
"""LIBERO itself: signs, frames, images, determinism, experts. Needs the extra and a folder of scene files."""

import hashlib
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from libero_here import why_not

from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_rotation_vector, matrix_from_unit_quaternion
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.libero.assets import VARIABLE, find_assets
from physgen_sim_bridge.libero.init_states import read_init_states
from physgen_sim_bridge.libero.tasks import STEP_LIMITS, libero_tasks
from physgen_sim_bridge.registry import make_world
from physgen_sim_bridge.world import DRAWN, World

# Imports and the first scene take seconds of a core, minutes where many share it.
pytestmark = [
    pytest.mark.sim,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]

FOUR_SUITES = [task for task in libero_tasks() if not task.startswith("libero_90")]


@pytest.fixture(scope="module")
def worlds() -> Iterator[Callable[[str], World]]:
    """State-only worlds by task, made when first asked for."""
    made = {}

    def get(task: str) -> World:
        if task not in made:
            made[task] = make_world("libero", task, render=False, in_worker=True)
        return made[task]

    yield get
    for world in made.values():
        world.close()


@pytest.fixture(scope="module")
def rendered() -> Iterator[World]:
    world = make_world("libero", "libero_goal/0", image_size=96, in_worker=True)
    yield world
    world.close()


def still(gripper: float = 1.0) -> np.ndarray:
    action = np.zeros(7, dtype=np.float32)
    action[6] = gripper
    return action


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_translation_goes_where_it_says_in_the_base_frame(worlds, axis, sign):
    """Scale, sign and axis: in the long run OSC_POSE covers about a quarter of every command."""
    world = worlds("libero_object/0")
    start = world.reset(0).tcp_pose.position
    action = still()
    action[axis] = sign * 0.02
    for _ in range(10):
        moved = world.step(action).tcp_pose.position - start
    assert int(np.argmax(np.abs(moved))) == axis
    assert 0.02 < sign * moved[axis] < 0.10


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1, -1])
def test_rotation_is_right_handed_about_the_base_axes(worlds, axis, sign):
    """Ten steps of 0.2 rad turn the hand about 0.2 rad, about the commanded axis."""
    world = worlds("libero_object/0")
    first = world.reset(0).tcp_pose
    action = still()
    action[3 + axis] = sign * 0.2
    for _ in range(10):
        last = world.step(action).tcp_pose
    turned = matrix_from_unit_quaternion(last.quaternion) @ matrix_from_unit_quaternion(first.quaternion).T
    vector = (
        np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]]) / 2
    )
    assert int(np.argmax(np.abs(vector))) == axis
    assert 0.1 < sign * vector[axis] < 0.6
    assert np.linalg.norm(last.position - first.position) < 0.06


def test_gripper_closes_on_minus_one_and_opens_on_plus_one(worlds):
    """The simulator's own sign is the other one; gripper_width is the sum of both fingers."""
    world = worlds("libero_object/0")
    assert world.reset(0).gripper_width > 0.07  # settling opens it
    for _ in range(12):
        width = world.step(still(-1.0)).gripper_width
    assert width < 0.005
    for _ in range(12):
        width = world.step(still(1.0)).gripper_width
    assert width > 0.07


def test_the_tcp_frame_is_the_one_of_the_other_worlds(worlds):
    """z out of the hand, here down; y along the fingers' motion; x forward; position near the tips."""
    pose = worlds("libero_object/0").reset(0).tcp_pose
    np.testing.assert_allclose(
        matrix_from_unit_quaternion(pose.quaternion), np.diag([1.0, -1.0, -1.0]), atol=0.15
    )
    assert pose.position == pytest.approx([0.45, 0.0, 0.25], abs=0.04)


def test_objects_lie_still_on_the_floor_after_settling(worlds):
    """Stored states hold objects in the air; after ten steps nothing moves and nothing is solved."""
    world = worlds("libero_object/0")
    before = world.reset(0)
    assert not before.success
    assert {"alphabet_soup_1", "basket_1", "basket_1_contain_region"} <= set(before.objects)
    for _ in range(3):
        after = world.step(still())
    for name, pose in before.objects.items():
        assert np.linalg.norm(after.objects[name].position - pose.position) < 2e-3, name
        assert 0.3 < pose.position[0] < 0.9 and abs(pose.position[1]) < 0.4 and abs(pose.position[2]) < 0.1, (
            name
        )


def states(world: World, seed: int, init_state: int = -1, steps: int = 6) -> list[Any]:
    rng = np.random.default_rng(seed)
    observation = world.reset(seed, init_state)
    seen = [observation]
    for _ in range(steps):
        action = np.array([*rng.normal(0, 0.03, 3), *rng.normal(0, 0.1, 3), 1.0], dtype=np.float32)
        seen.append(world.step(action))
    return [
        o.positions.tobytes()
        + b"".join(p.position.tobytes() + p.quaternion.tobytes() for p in [o.tcp_pose, *o.objects.values()])
        + hashlib.sha256(o.rgb_fixed.tobytes() + o.rgb_wrist.tobytes()).digest()
        for o in seen
    ]


def test_the_same_seed_is_the_same_episode_whatever_ran_before(rendered):
    """Re-seeded before every reset: fixtures too stand where they stood, and every pixel is the same."""
    first = states(rendered, 3)
    other = states(rendered, 4)
    assert states(rendered, 3) == first
    assert other[0] != first[0]


def test_seed_picks_the_initial_state_and_an_index_overrides_it(worlds):
    """Seed 52 has the objects of initial state 2; the robot's joints show which state it is."""
    world = worlds("libero_object/0")
    by_seed, by_index = world.reset(52), world.reset(0, 2)
    assert by_seed.positions == pytest.approx(by_index.positions, abs=1e-9)
    for bad in (50, -3):
        with pytest.raises(UserError, match="initial states 0 to 49"):
            world.reset(0, bad)
    with pytest.raises(UserError, match="seed"):
        world.reset(-1)


def test_drawn_placements_are_no_stored_state(worlds):
    """Demonstrations begin in placements that no evaluation starts from, spread over the same regions."""
    world = worlds("libero_object/0")

    def basket(seed, init_state=DRAWN):
        return world.reset(seed, init_state).objects["basket_1"].position

    drawn = np.array([basket(seed) for seed in range(12)])
    stored = np.array([basket(0, index) for index in range(50)])
    np.testing.assert_array_equal(basket(3), drawn[3])
    apart = np.linalg.norm(drawn[:, None] - np.concatenate([stored, drawn])[None], axis=2)
    assert np.sum(apart < 1e-6) == len(drawn)  # each is near itself alone
    low, high = stored.min(axis=0) - 0.01, stored.max(axis=0) + 0.01
    assert np.all((drawn > low) & (drawn < high))


def test_the_arm_begins_as_scattered_as_in_the_stored_states(worlds):
    """A policy that has seen one start only is lost a centimetre beside it."""
    world = worlds("libero_object/0")
    drawn = np.array([world.reset(seed, DRAWN).positions for seed in range(40)])
    stored = np.array([world.reset(0, index).positions for index in range(50)])
    np.testing.assert_array_equal(world.reset(7, DRAWN).positions, drawn[7])
    assert np.all(np.abs(drawn.std(axis=0) / stored.std(axis=0) - 1.0) < 0.4)
    assert np.all(np.abs(drawn.mean(axis=0) - stored.mean(axis=0)) < 0.015)


def test_drawn_things_lie_on_their_fixtures_whatever_ran_before(worlds):
    """The bowl of libero_spatial/7 stands on the stove; it was put beside the table from the second reset on."""
    world = worlds("libero_spatial/7")
    first = world.reset(4, DRAWN).objects
    for seed in (3, 4):
        seen = world.reset(seed, DRAWN).objects
        apart = seen["akita_black_bowl_1"].position - seen["flat_stove_1"].position
        assert np.linalg.norm(apart[:2]) < 0.2 and 0.0 < apart[2] < 0.1
    np.testing.assert_array_equal(seen["akita_black_bowl_1"].position, first["akita_black_bowl_1"].position)


def pixel(point: np.ndarray, eye: np.ndarray, axes: np.ndarray, fov: float, size: int) -> tuple[float, float]:
    """Row and column of a base-frame point in an upright pinhole image; MuJoCo's cameras look along -z, y is up."""
    local = axes.T @ (point - eye)
    focal = size / 2.0 / math.tan(fov / 2.0)
    return size / 2.0 - focal * local[1] / -local[2], size / 2.0 + focal * local[0] / -local[2]


def test_images_are_upright_and_left_is_left(rendered):
    """The goal scene is asymmetric: black bowl, white plate and the stove are where a pinhole camera has them.

    A picture that was turned once too often, by half a turn, or mirrored, has table there.
    """
    observation = rendered.reset(0)
    image = observation.rgb_fixed.astype(int)
    base = np.array([-0.66, 0.0, 0.912])  # of the robot, in LIBERO's world
    eye = np.array([0.5886131746834771, 0.0, 1.4903500240372423]) - base
    w, x, y, z = 0.6380177736282349, 0.3048497438430786, 0.30484986305236816, 0.6380177736282349
    axes = matrix_from_unit_quaternion(np.array([x, y, z, w]) / np.linalg.norm([x, y, z, w]))

    def brightness(name, lift):
        point = observation.objects[name].position + np.array([0.0, 0.0, lift])
        row, column = (round(v) for v in pixel(point, eye, axes, rendered.spec.fixed_camera.fov_y, 96))
        return image[row - 1 : row + 2, column - 1 : column + 2].mean(), (row, column)

    bowl, _ = brightness("akita_black_bowl_1", 0.02)
    plate, plate_at = brightness("plate_1", 0.01)
    assert bowl < 60 < 150 < plate
    # The cabinet is black too, and stands on the robot's right: the left of a picture taken from the front.
    cabinet, cabinet_at = brightness("wooden_cabinet_1", 0.12)
    assert cabinet < 60
    assert cabinet_at[1] < plate_at[1]
    assert image[: 96 // 4].std() > 5  # the arm comes in from above


def test_wrist_camera_sees_between_the_fingers(rendered):
    """The picture's lower edge is the gripper, dark; the table fills the rest."""
    image = rendered.reset(0).rgb_wrist.astype(int)
    assert image[-8:].mean() < image[: 96 // 2].mean()
    assert image.std() > 10


def test_the_worlds_own_step_is_the_benchmarks(tmp_path):
    """Without observables, images and rewards, but bit for bit the state that LIBERO's step() reaches."""
    code = """
import numpy as np
from physgen_sim_bridge.canonical_action import (libero_action)
from physgen_control.geometry import matrix_from_rotation_vector
from physgen_sim_bridge.libero.simulator import quiet
from physgen_sim_bridge.libero.world import LiberoWorld
world = LiberoWorld("libero_object/3", render=False)
rng = np.random.default_rng(0)
actions = rng.normal(0, 0.03, (5, 7)).astype(np.float32)
world.reset(7)
for action in actions:
    world.step(action)
ours = world._env.sim.get_state().flatten()
world._env.hard_reset = True
world.reset(7)
with quiet():
    for action in actions:
        world._env.step(libero_action(action))
native = world._env.sim.get_state().flatten()
print(bool((ours == native).all()))
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **os.environ,
        "HOME": str(home),
        "PHYSGEN_HOME": str(tmp_path / "state"),
        VARIABLE: str(find_assets()),
    }
    environment.pop("LIBERO_CONFIG_PATH", None)
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    # No question was asked (there is no terminal), nothing else was printed, and nothing went to the home folder.
    assert (result.returncode, result.stdout) == (0, "True\n"), result.stderr
    assert list(home.rglob("*")) == []


def test_stored_states_are_the_pinned_ones_of_all_tasks():
    """50 per task, finite, and the files are those of hf-libero 0.1.4."""
    from physgen_sim_bridge.libero.simulator import check_bddl, init_states_path

    for task in libero_tasks().values():
        check_bddl(task)
        stored = read_init_states(init_states_path(task), task.init_sha256)
        assert stored.shape[0] == 50 and np.all(np.isfinite(stored)), task.task_id


def solved(world: World, task: str, init_state: int) -> int:
    """Steps of a successful episode of the expert; 0 when it failed."""
    expert = make_expert("libero", task)
    expert.reset()
    observation = world.reset(init_state, init_state)
    for step in range(1, world.spec.default_max_steps + 1):
        action = expert.act(observation.objects, observation.tcp_pose, observation.gripper_width)
        assert np.abs(action[:3]).max() <= 0.0501 and np.linalg.norm(action[3:6]) <= 0.301
        observation = world.step(action)
        if observation.success:
            return step
    return 0


def test_expert_puts_the_soup_into_the_basket(worlds):
    """One episode; docs/simulators.md has the rates of all tasks."""
    assert solved(worlds("libero_object/0"), "libero_object/0", 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "task",
    ["libero_spatial/0", "libero_spatial/4", "libero_goal/0", "libero_goal/7", "libero_10/1", "libero_10/3"],
)
def test_experts_of_every_kind_solve_their_task(task):
    """Rim pinch on the table and out of a drawer, a drawer's handle, the stove's knob, two objects, a drawer shut."""
    world = make_world("libero", task, render=False, in_worker=True)
    try:
        assert solved(world, task, 1)
    finally:
        world.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", [suite for suite in STEP_LIMITS if suite != "libero_90"])
def test_every_task_builds_loads_its_states_and_steps(suite):
    """All 40 tasks of the four suites; nothing is solved at the start."""
    tasks = [task for task in FOUR_SUITES if task.startswith(f"{suite}/")]
    assert len(tasks) == 10
    for task in tasks:
        world = make_world("libero", task, image_size=64, in_worker=True)
        try:
            assert not world.reset(0, 49).success, task
            observation = world.step(still())
            assert not observation.success, task
            assert observation.rgb_fixed.std() > 5 and observation.rgb_wrist.std() > 2, task
            assert world.spec.default_max_steps == STEP_LIMITS[suite]
            assert world.spec.instruction == libero_tasks()[task].instruction
        finally:
            world.close()


def test_rotation_helper_of_the_tests_agrees():
    """matrix_from_unit_quaternion() of the scripts and the rotation vector of the adapter mean the same."""
    vector = np.array([0.0, 0.0, 0.4])
    quaternion = np.array([0.0, 0.0, math.sin(0.2), math.cos(0.2)])
    np.testing.assert_allclose(
        matrix_from_unit_quaternion(quaternion), matrix_from_rotation_vector(vector), atol=1e-12
    )
