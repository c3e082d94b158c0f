# SPDX-License-Identifier: Apache-2.0
"""The fake world, its experts, and worlds in worker processes."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import two_sizes_world
from hypothesis import given
from hypothesis import strategies as st
from two_sizes_world import WRIST_PX

from physgen_control.errors import UserError
from physgen_sim_bridge.disturbance import Disturbance, DisturbanceConfig
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.fake.world import FakeWorld
from physgen_sim_bridge.registry import UnknownTaskError, make_world
from physgen_sim_bridge.remote_world import RemoteWorld
from physgen_sim_bridge.world import World, WorldCrashed

TASKS = ("FakePush-v0", "FakeReach-v0")


def run_expert(world: World, task: str, seed: int, disturbance: Disturbance | None = None) -> bool:
    expert, rng = make_expert("fake", task), np.random.default_rng(seed)
    observation = world.reset(seed)
    expert.reset()
    if disturbance:
        disturbance.reset(rng)
    for _ in range(world.spec.default_max_steps):
        action = expert.act(observation.objects, observation.tcp_pose, observation.gripper_width)
        pushed = disturbance.apply(action, rng) if disturbance else None
        observation = world.step(action if pushed is None else pushed)
        if observation.success:
            return True
    return False


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("disturbed", [False, True])
def test_expert_solves_the_task(task, disturbed):
    """Also with disturbed execution: the expert recovers from any state."""
    world = make_world("fake", task, render=False)
    disturbance = Disturbance(DisturbanceConfig(probability=0.03, start_steps=6)) if disturbed else None
    successes = [run_expert(world, task, seed, disturbance) for seed in range(500, 530)]
    assert sum(successes) == 30


def test_push_expert_goes_around_the_cube():
    """The cube was pushed sideways and the gripper stands on the wrong side of it."""
    world = make_world("fake", "FakePush-v0", render=False)
    assert isinstance(world, FakeWorld)
    observation = world.reset(3)
    world._cube[:2] += (0.12, 0.10)
    world._tcp = world._cube + np.array([0.08, 0.0, 0.0])
    expert = make_expert("fake", "FakePush-v0")
    observation = world.step(np.zeros(7, dtype=np.float32))
    for _ in range(100):
        action = expert.act(observation.objects, observation.tcp_pose, observation.gripper_width)
        observation = world.step(action)
        if observation.success:
            break
    assert observation.success


@pytest.mark.parametrize("task", TASKS)
def test_same_seed_same_episode_whatever_ran_before(task):
    """States and images, in the same object and in a worker process."""

    def episode(world: World) -> list[tuple[bytes, ...]]:
        rng = np.random.default_rng(0)
        observations = [world.reset(5)]
        for _ in range(10):
            observations.append(world.step(rng.uniform(-0.1, 0.1, 7).astype(np.float32)))
        return [
            (
                o.rgb_fixed.tobytes(),
                o.rgb_wrist.tobytes(),
                o.tcp_pose.position.tobytes(),
                o.positions.tobytes(),
            )
            for o in observations
        ]

    world = make_world("fake", task, image_size=48)
    first = episode(world)
    world.reset(9)
    assert episode(world) == first
    worker = make_world("fake", task, image_size=48, in_worker=True)
    try:
        assert worker.spec == world.spec
        assert episode(worker) == first
    finally:
        worker.close()


def test_motion_follows_the_canonical_convention():
    """+x is +x, +z rotation is right-handed, +1 opens."""
    world = make_world("fake", "FakePush-v0")
    before = world.reset(0)
    after = world.step(np.array([0.05, 0, 0, 0, 0, 0.1, -1], dtype=np.float32))
    assert after.tcp_pose.position[0] > before.tcp_pose.position[0] + 0.02
    assert after.gripper_width < before.gripper_width
    assert np.any(after.rgb_fixed != before.rgb_fixed) and np.any(after.rgb_wrist != before.rgb_wrist)


def test_disturbances_come_in_bursts_and_leave_the_gripper_alone():
    """Between bursts nothing is changed; within one the push is constant and at most as large as configured."""
    action = np.array([0.01, 0, 0, 0, 0, 0, -1], dtype=np.float32)
    config = DisturbanceConfig(probability=0.1, longest=5, size=0.03)
    disturbance, rng = Disturbance(config), np.random.default_rng(0)
    disturbance.reset(rng)
    executed = [disturbance.apply(action, rng) for _ in range(400)]
    pushed = [e is not None for e in executed]
    assert 40 < sum(pushed) < 250
    for e in executed:
        if e is not None:
            assert np.array_equal(e[3:], action[3:])
            assert 0 < np.linalg.norm(e[:3] - action[:3]) <= 0.03 + 1e-6 and e[2] >= action[2]
    quiet = Disturbance(DisturbanceConfig())
    quiet.reset(rng)
    assert all(quiet.apply(action, rng) is None for _ in range(50))


@given(every=st.sampled_from([1, 2, 4, 8]), start_steps=st.integers(0, 6), seed=st.integers(0, 2**31))
def test_bursts_end_right_before_a_picture(every, start_steps, seed):
    """So a picture is followed by pushes, or by labels up to the next burst, never by a burst that has begun before."""
    action = np.zeros(7, np.float32)
    config = DisturbanceConfig(probability=0.1, longest=6, start_steps=start_steps)
    disturbance, rng = Disturbance(config, ends_every=every), np.random.default_rng(seed)
    disturbance.reset(rng)
    pushes = [disturbance.apply(action, rng) for _ in range(120)]
    ends = [
        step
        for step in range(1, 120)
        if (before := pushes[step - 1]) is not None
        and ((after := pushes[step]) is None or not np.array_equal(before, after))
    ]
    assert all(step % every == 0 for step in ends)


def test_unknown_names_are_one_sentence():
    """The sentence lists what there is."""
    with pytest.raises(UnknownTaskError, match="FakePush-v0"):
        make_world("fake", "Nope-v0")
    with pytest.raises(UnknownTaskError, match="maniskill"):
        make_world("gazebo", "Nope-v0")
    with pytest.raises(UserError, match="image_size"):
        make_world("fake", "FakePush-v0", image_size=0)
    with pytest.raises(UserError, match="expert"):
        make_expert("fake", "Nope-v0")


def test_worker_passes_errors_on():
    """A bad argument is the caller's error and the world lives on."""
    world = make_world("fake", "FakePush-v0", image_size=16, in_worker=True)
    try:
        world.reset(0)
        with pytest.raises(ValueError, match="finite"):
            world.step(np.full(7, np.nan, dtype=np.float32))
        with pytest.raises(UserError, match="init_state"):
            world.reset(0, init_state=3)
        world.step(np.zeros(7, dtype=np.float32))
    finally:
        world.close()
        world.close()


def test_a_killed_worker_is_a_crash():
    """The parent gets WorldCrashed with the signal, and close() returns."""
    world = make_world("fake", "FakePush-v0", image_size=16, in_worker=True)
    assert isinstance(world, RemoteWorld)
    world.reset(0)
    os.kill(world.pid, signal.SIGKILL)
    with pytest.raises(WorldCrashed, match="signal 9"):
        world.step(np.zeros(7, dtype=np.float32))
    with pytest.raises(WorldCrashed):
        world.reset(0)
    world.close()


def test_close_ends_a_worker_that_does_not_answer():
    """A stopped simulator is killed after a short wait."""
    world = make_world("fake", "FakePush-v0", image_size=16, in_worker=True)
    assert isinstance(world, RemoteWorld)
    os.kill(world.pid, signal.SIGSTOP)
    world.close()
    with pytest.raises(ProcessLookupError):
        os.kill(world.pid, 0)


def test_cameras_may_differ_in_size() -> None:
    """Also through a worker: each image has its camera's size, and the pixels are those of the world here."""
    sim = "two_sizes_world:TwoSizesWorld"
    world = make_world(sim, "FakePush-v0", image_size=48)
    here = world.reset(3)
    assert here.rgb_fixed.shape == (48, 48, 3) and here.rgb_wrist.shape == (WRIST_PX, WRIST_PX, 3)
    folder = str(Path(two_sizes_world.__file__).parent)
    worker = RemoteWorld(
        sim, "FakePush-v0", image_size=48, environment={"PYTHONPATH": f"{folder}:{os.environ['PYTHONPATH']}"}
    )
    try:
        assert worker.spec == world.spec
        there = worker.reset(3)
        np.testing.assert_array_equal(there.rgb_fixed, here.rgb_fixed)
        np.testing.assert_array_equal(there.rgb_wrist, here.rgb_wrist)
    finally:
        worker.close()
