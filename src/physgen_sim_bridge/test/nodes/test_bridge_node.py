# SPDX-License-Identifier: Apache-2.0
"""The bridge over DDS, in real processes, with the fake world."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from bridge_probe import Probe
from node_rig import start_node, stop_node

from physgen_control.messages import topics
from physgen_control.nodes.conversions import stamp_to_ns
from physgen_control.types import EpisodePhase

pytestmark = pytest.mark.ros
DT = 50_000_000
BRIDGE = "physgen_sim_bridge.nodes.bridge_node"


@pytest.fixture(scope="module")
def lockstep() -> Iterator[Probe]:
    process = start_node(BRIDGE, 20, sim="fake", task="FakePush-v0", image_size=32, republish_s=0.3)
    probe = Probe(20)
    assert probe.until(probe.connected, 90), "the bridge did not come up"
    yield probe
    probe.close()
    assert stop_node(process) == 0


def begin(probe: Probe, **fields: Any) -> tuple[str, int]:
    response = probe.reset(**{"seed": 1, **fields})
    assert response.success, response.message
    assert probe.until(lambda: EpisodePhase.RUNNING in probe.phases(response.episode_id))
    info = next(e for e in probe.episodes if e.episode_id == response.episode_id)
    start = stamp_to_ns(info.header.stamp)
    assert probe.until(lambda: probe.observed(start))
    return response.episode_id, start


def test_lockstep_steps_exactly_once_per_action(lockstep):
    """Duplicates, wrong steps, other episodes and unexecuted actions never move the world."""
    episode, start = begin(lockstep)
    lockstep.answer(episode, 1)
    lockstep.answer("another", 0)
    lockstep.answer(episode, 0, executed=False)
    lockstep.settle(0.5)
    assert max(lockstep.stamps[topics.SIM_STATE]) == start
    for step in range(5):
        lockstep.answer(episode, step, motion=0.01)
        lockstep.answer(episode, step, motion=0.01)
        assert lockstep.until(lambda step=step: lockstep.observed(start + (step + 1) * DT))
    lockstep.answer(episode, 2)
    lockstep.settle(0.5)
    assert max(lockstep.stamps[topics.SIM_STATE]) == start + 5 * DT
    moved = lockstep.last[topics.CURRENT_POSE].pose.position.x
    assert 0.6 < moved < 0.7


def test_unanswered_observation_is_repeated_with_the_same_stamp(lockstep):
    """Readers get a second chance, and time stands still."""
    _, start = begin(lockstep)
    fixed = topics.image_topic("fixed")
    assert lockstep.until(lambda: lockstep.stamps[fixed].count(start) >= 3)
    assert max(lockstep.stamps[fixed]) == start


def test_stamps_agree_and_the_clock_never_goes_back(lockstep):
    """Every topic of an observation has its stamp; a reset moves the clock on by at least a second."""
    episode, start = begin(lockstep)
    lockstep.answer(episode, 0)
    assert lockstep.until(lambda: lockstep.observed(start + DT))
    _, second = begin(lockstep)
    assert second >= start + DT + 1_000_000_000
    assert lockstep.clock == sorted(lockstep.clock)
    sets = [set(stamps) for stamps in lockstep.stamps.values()]
    assert all(stamps == sets[0] for stamps in sets)


def test_reset_gives_up_the_running_episode(lockstep):
    """Late actions of the old episode move nothing.

    Its DISCARDED may be overtaken by the new RUNNING: the latched topic keeps only the newest message.
    """
    first, _ = begin(lockstep)
    second, start = begin(lockstep)
    assert set(lockstep.phases(first)) <= {EpisodePhase.RUNNING, EpisodePhase.DISCARDED}
    lockstep.answer(first, 0)
    lockstep.settle(0.4)
    assert max(lockstep.stamps[topics.SIM_STATE]) == start
    assert lockstep.phases(second) == [EpisodePhase.RUNNING]


def test_step_limit_is_a_failure_and_same_seed_is_the_same_episode(lockstep):
    """max_steps of the request ends the episode with the step count; images of one seed agree."""
    episode, start = begin(lockstep, seed=7, max_steps=2)
    first = bytes(lockstep.last[topics.image_topic("fixed")].data)
    for step in range(2):
        lockstep.answer(episode, step)
        assert lockstep.until(lambda step=step: lockstep.observed(start + (step + 1) * DT))
    assert lockstep.until(lambda: EpisodePhase.FAILURE in lockstep.phases(episode))
    last = lockstep.episodes[-1]
    assert (last.step, last.max_steps) == (2, 2) and "limit" in last.detail
    begin(lockstep, seed=7)
    assert bytes(lockstep.last[topics.image_topic("fixed")].data) == first


def test_message_contents(lockstep):
    """Names, frames and calibration are those of the contract."""
    begin(lockstep)
    joints = lockstep.last[topics.JOINT_STATES]
    assert list(joints.name)[:2] == ["panda_joint1", "panda_joint2"]
    assert list(joints.name)[7:] == ["panda_finger_joint1", "panda_finger_joint2"]
    assert sum(joints.position[7:]) == pytest.approx(0.08)
    assert lockstep.last[topics.CURRENT_POSE].header.frame_id == "base"
    image = lockstep.last[topics.image_topic("wrist")]
    assert (image.encoding, image.width, image.height, image.step) == ("rgb8", 32, 32, 96)
    assert image.header.frame_id == "camera_wrist_color_optical_frame"
    info = lockstep.last[topics.camera_info_topic("wrist")]
    assert info.k[0] == pytest.approx(16.0) and info.k[2] == pytest.approx(16.0)
    assert list(lockstep.last[topics.SIM_STATE].names) == ["cube", "goal"]


def test_bad_requests_are_refused_with_a_sentence(lockstep):
    """An unknown task or a negative seed changes nothing."""
    for fields in ({"task": "Nope-v9", "seed": 1}, {"seed": -1}):
        response = lockstep.reset(**fields)
        assert not response.success and response.message.endswith(".")


def test_lockstep_timeout_is_a_crash_not_a_failure():
    """Nobody answers: the episode ends as CRASHED with a sentence, and the next one works."""
    process = start_node(BRIDGE, 21, image_size=32, republish_s=0.2, lockstep_timeout_s=0.6)
    probe = Probe(21)
    try:
        assert probe.until(probe.connected, 90)
        first = probe.reset(seed=1).episode_id
        assert probe.until(lambda: EpisodePhase.CRASHED in probe.phases(first))
        assert "controller" in probe.episodes[-1].detail
        episode, start = begin(probe)
        probe.answer(episode, 0)
        assert probe.until(lambda: probe.observed(start + DT))
    finally:
        probe.close()
        assert stop_node(process) == 0


def test_realtime_steps_without_actions():
    """The world does not wait: it holds, and says how many steps it held."""
    process = start_node(BRIDGE, 22, image_size=32, pace="realtime")
    probe = Probe(22)
    try:
        assert probe.until(probe.connected, 90)
        episode = probe.reset(seed=1, max_steps=8).episode_id
        assert probe.until(lambda: EpisodePhase.FAILURE in probe.phases(episode))
        assert "8 steps had no action" in probe.episodes[-1].detail
        assert probe.clock == sorted(probe.clock)
    finally:
        probe.close()
        assert stop_node(process) == 0


@pytest.mark.parametrize(
    ("parameters", "word"),
    [({"task": "Nope-v1"}, "FakePush-v0"), ({"sim": "gazebo"}, "maniskill"), ({"pace": "fast"}, "lockstep")],
)
def test_bad_start_is_one_sentence_and_status_2(parameters, word):
    """No traceback, and the sentence names what there is."""
    process = start_node(BRIDGE, 23, **parameters)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert word in errors and "Traceback" not in errors


def test_stopping_in_the_middle_of_an_episode_is_quiet():
    """An interrupted bridge once printed the world thread's traceback."""
    process = start_node(BRIDGE, 24, image_size=32, pace="realtime")
    probe = Probe(24)
    try:
        assert probe.until(probe.connected, 90)
        begin(probe, max_steps=10_000)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in errors
    finally:
        probe.close()
        stop_node(process)


def test_a_perturbed_bridge_tells_each_episode_its_own_words():
    """What `eval --perturb --through-ros` runs: the instruction of the episode, not of the world."""
    process = start_node(
        BRIDGE, 25, sim="fake", task="FakePush-v0", image_size=32, perturb="wrong_instruction"
    )
    probe = Probe(25)
    try:
        assert probe.until(probe.connected, 90), "the bridge did not come up"
        episode, _ = begin(probe)
        [running] = [e for e in probe.episodes if e.episode_id == episode][-1:]
        assert running.instruction == "move the gripper to the goal"
    finally:
        probe.close()
        assert stop_node(process) == 0
