# SPDX-License-Identifier: Apache-2.0
"""What the controller does with a planner, the configuration that moves an arm: states, clocks, stops, fingers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from controller_rig import (
    PERIOD_NS,
    S_NS,
    Rig,
    make_actions,
    make_chunk,
    make_config,
    make_episode,
    make_state,
    state_of,
)

from physgen_control.controller_config import ArmInterface, ControllerConfig, RobotType
from physgen_control.errors import UserError
from physgen_control.motion.joint_path import JointTrajectory, quintic, with_start
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import AckResult, EpisodePhase, Fault, SafetyState, Source


def arm_rig(**changes: Any) -> Rig:
    """A controller of an FR3 at rest at home, armed, settled, no episode running."""
    fields = {"arm_interface": ArmInterface.JOINT_TRAJECTORY, "robot_type": RobotType.FR3} | changes
    rig = Rig(planner=TrajectoryPlanner(make_config(**fields)), **fields)
    rig.core.on_publisher_count(1)
    rig.observe()
    ok, sentence = rig.core.arm()
    assert ok, sentence
    for _ in range(10):
        rig.step()
    rig.core.take_trajectory()
    return rig


def motion(step: float = 0.004, gripper: float = 1.0) -> np.ndarray:
    """Eight actions along y."""
    data = np.zeros((1, 8, 7), np.float32)
    data[..., 1], data[..., 6] = step, gripper
    return data


def move(rig: Rig, gripper: float = 1.0, seq: int = 1, steps: int = 3) -> None:
    """Begin a chunk and play some of it, the arm following its command."""
    ack = rig.send(data=motion(gripper=gripper), chunk_seq=seq, episode_id="")
    assert ack.result == AckResult.ACCEPTED, ack.detail
    rig.core.take_trajectory()
    follow(rig, steps)


def follow(rig: Rig, steps: int, **changes: Any) -> list[Any]:
    """Let control periods pass with the measured joints on the command."""
    planner, emitted = rig.core._planner, []
    assert isinstance(planner, TrajectoryPlanner)
    for _ in range(steps):
        rig.now_ns += PERIOD_NS
        positions = planner.command(rig.now_ns)[0]
        rig.observe(**({"positions": positions, "pose": forward(positions)} | changes))
        emitted.append(rig.tick())
    return emitted


def peaks(trajectory: JointTrajectory, start: Any, rig: Rig) -> float:
    """Return the largest share of a joint limit that a trajectory uses."""
    planner = rig.core._planner
    assert isinstance(planner, TrajectoryPlanner)
    times, knots = with_start(trajectory, start)
    _, v, a, j = quintic(times, knots, np.arange(0.0, times[-1], 0.001))
    limits = planner.limits
    shares = (np.abs(v) / limits.velocity, np.abs(a) / limits.acceleration, np.abs(j) / limits.jerk)
    return max(float(np.max(share)) for share in shares)


# --- states ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.06, 0.5, 3.0, 1e6])
def test_a_wrong_state_after_a_gap_moves_nothing(offset: float) -> None:
    rig = arm_rig()
    rig.now_ns += S_NS
    rig.tick()
    assert rig.core.status.faults & Fault.STATE_STALE
    rig.core.take_trajectory()
    wrong = HOME.copy()
    wrong[0] += offset
    rig.observe(positions=wrong, pose=forward(wrong))
    rig.tick()
    assert rig.core.take_trajectory() is None
    assert state_of(rig.core) is SafetyState.HOLD
    ok, _sentence = rig.core.arm()
    assert not ok and rig.core.take_trajectory() is None


def test_after_a_gap_only_arming_goes_on() -> None:
    rig = arm_rig()
    rig.now_ns += S_NS
    rig.tick()
    for _ in range(5):
        rig.step()
    assert state_of(rig.core) is SafetyState.HOLD
    assert rig.send(data=motion(), episode_id="").result == AckResult.NOT_ARMED
    assert rig.core.take_trajectory() is None
    assert rig.core.arm()[0] and state_of(rig.core) is SafetyState.ARMED


def test_a_simulated_arm_is_armed_again_after_a_gap_but_never_on_a_wrong_state() -> None:
    rig = arm_rig(auto_arm=True)
    rig.now_ns += S_NS
    rig.tick()
    wrong = HOME.copy()
    wrong[0] += 0.5
    rig.observe(positions=wrong, pose=forward(wrong))
    assert not rig.core.auto_arm() and state_of(rig.core) is SafetyState.HOLD
    for _ in range(3):
        rig.step()
    assert rig.core.auto_arm() and state_of(rig.core) is SafetyState.ARMED
    assert rig.core.take_trajectory() is None  # the arm is where its command is
    rig.core.hold()
    assert not rig.core.auto_arm() and state_of(rig.core) is SafetyState.HOLD


def test_a_state_whose_pose_and_joints_disagree_stops_the_arm() -> None:
    rig = arm_rig()
    move(rig)
    pose = forward(HOME)
    rig.now_ns += PERIOD_NS
    rig.observe(pose=replace(pose, position=pose.position + np.array([0.0, 0.0, 0.2])))
    assert state_of(rig.core) is SafetyState.HOLD and "pose" in rig.core.status.detail
    assert rig.core.take_trajectory() is not None


def test_a_jump_that_no_arm_can_make_stops_the_arm() -> None:
    rig = arm_rig()
    move(rig)
    wrong = HOME + 0.5
    rig.now_ns += PERIOD_NS // 5
    rig.observe(positions=wrong, pose=forward(wrong))
    assert state_of(rig.core) is SafetyState.HOLD and rig.core.status.faults & Fault.STATE_STALE
    assert rig.core.take_trajectory() is not None


def test_a_state_with_stamp_zero_stops_the_arm() -> None:
    rig = arm_rig()
    move(rig)
    rig.core.on_state(make_state(0, forward(HOME), positions=HOME), rig.now_ns)
    assert state_of(rig.core) is SafetyState.HOLD
    assert rig.core.take_trajectory() is not None


# --- stops ----------------------------------------------------------------------------------------------------------


def test_a_fault_in_motion_sends_a_stop() -> None:
    rig = arm_rig()
    move(rig)
    rig.core.internal_fault("test")
    assert state_of(rig.core) is SafetyState.FAULT
    stop = rig.core.take_trajectory()
    assert stop is not None and stop.times[-1] <= 0.3


@pytest.mark.parametrize("away", [0.03, 0.1, 0.19])
@pytest.mark.parametrize("after_ms", [20, 60, 120, 250])
def test_a_stop_while_settling_keeps_every_limit(away: float, after_ms: int) -> None:
    rig = arm_rig()
    move(rig, steps=20)
    planner = rig.core._planner
    assert isinstance(planner, TrajectoryPlanner)
    pushed = planner.command(rig.now_ns)[0].copy()
    rig.core.hold()
    pushed[3] += away
    for _ in range(10):
        rig.now_ns += PERIOD_NS // 2
        rig.observe(positions=pushed, pose=forward(pushed))
    assert rig.core.arm()[0]
    assert rig.core.take_trajectory() is not None
    rig.now_ns += after_ms * 1_000_000
    rig.observe(positions=pushed, pose=forward(pushed))
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(np.array([0, 0, 0.01, 0, 0, 0]), 0.0, rig.now_ns)
    start = planner.command(rig.now_ns)
    rig.core.on_deadman(False, rig.now_ns)
    stop = rig.core.take_trajectory()
    if stop is not None:
        assert peaks(stop, start, rig) <= 1.0 + 1e-5


@pytest.mark.parametrize("fault", [Fault.WRENCH, Fault.ROBOT_MODE])
def test_clearing_a_fault_that_stopped_the_arm_disarms(fault: Fault) -> None:
    rig = arm_rig()
    move(rig)
    if fault is Fault.WRENCH:
        rig.core.on_wrench(1e3, 0.0)
    else:
        rig.core.on_robot_mode("The robot stopped with a reflex.")
        rig.core.on_robot_mode("")
    assert state_of(rig.core) is SafetyState.HOLD
    assert rig.core.clear_fault()[0]
    assert state_of(rig.core) is SafetyState.DISARMED
    assert rig.send(data=motion(), chunk_seq=9, episode_id="").result == AckResult.NOT_ARMED


# --- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-60, -3, -0.2, 0.2, 3, 20, 60])
def test_a_clock_that_jumps_and_comes_back_holds_and_goes_on_by_itself(seconds: float) -> None:
    """Supervision once was off for good after a clock had been ahead for a while."""
    rig = arm_rig()
    rig.jump(seconds)
    rig.tick()
    assert state_of(rig.core) is SafetyState.HOLD
    assert f"The clock went {'ahead' if seconds > 0 else 'back'} by" in rig.core.status.detail
    for _ in range(20):  # the driver's clock is right: its states are from another time
        rig.now_ns += PERIOD_NS
        stamp_ns = rig.now_ns - round(seconds * S_NS)
        state = make_state(stamp_ns, positions=HOME, pose=forward(HOME))
        rig.core.on_state(state, rig.now_ns)
        rig.tick()
        assert state_of(rig.core) is SafetyState.HOLD
        assert rig.send(data=motion(), episode_id="").result == AckResult.NOT_ARMED
    rig.jump(-seconds)
    emitted = [rig.step() for _ in range(10)]
    assert state_of(rig.core) is SafetyState.ARMED
    assert all(action is not None for action in emitted[4:])
    move(rig, seq=2)
    rig.now_ns += S_NS
    rig.tick()
    assert rig.core.status.faults & Fault.STATE_STALE  # supervision goes on


@pytest.mark.parametrize("seconds", [-20, -0.2, 0.2, 20])
def test_a_jump_of_the_clock_in_motion_sends_a_stop_that_starts_on_arrival(seconds: float) -> None:
    rig = arm_rig()
    move(rig)
    planner = rig.core._planner
    assert isinstance(planner, TrajectoryPlanner)
    position, velocity, acceleration = planner.command(rig.now_ns)
    assert np.max(np.abs(velocity)) > 0.01
    rig.jump(seconds)
    rig.tick()
    stop = rig.core.take_trajectory()
    assert stop is not None and stop.start_ns == 0
    np.testing.assert_array_equal(stop.velocities[-1], 0.0)
    times, knots = with_start(stop, (position, velocity, acceleration))
    peaks = [np.max(np.abs(part), axis=0) for part in quintic(times, knots, np.arange(0.0, times[-1], 0.001))]
    assert np.all(peaks[1] <= planner.limits.velocity) and np.all(
        peaks[2] <= planner.limits.acceleration * 1.001
    )


def test_a_gap_before_a_jump_of_the_clock_still_needs_arming() -> None:
    rig = arm_rig()
    for _ in range(30):
        rig.now_ns += PERIOD_NS
        rig.tick()
    assert rig.core.status.faults & Fault.STATE_STALE
    rig.jump(20)
    for _ in range(10):
        rig.step()
    assert state_of(rig.core) is SafetyState.HOLD
    assert rig.core.arm()[0]


def test_after_a_jump_without_states_only_arming_goes_on() -> None:
    rig = arm_rig()
    rig.jump(20)
    for _ in range(30):
        rig.now_ns += PERIOD_NS
        rig.tick()
    for _ in range(10):
        rig.step()
    assert state_of(rig.core) is SafetyState.HOLD
    assert rig.core.arm()[0]


def test_a_jump_of_the_clock_moves_no_arm_that_is_held_for_another_reason() -> None:
    """When the clock was steady again the arm once settled, although a force had stopped it."""
    rig = arm_rig()
    rig.core.on_wrench(500.0, 0.0)
    rig.jump(3)
    away = HOME.copy()
    away[3] += 0.05
    for _ in range(10):
        rig.now_ns += PERIOD_NS
        rig.observe(positions=away, pose=forward(away))
        rig.tick()
    assert rig.core.status.faults & Fault.WRENCH
    assert rig.core.take_trajectory() is None


def test_a_clock_that_stands_still_does_not_end_the_supervision() -> None:
    """Liveness is judged by a clock that nobody can stop."""
    rig = arm_rig(require_deadman=True)
    rig.core.on_deadman(True, rig.now_ns)
    rig.tick()
    held = 0
    for _ in range(20):
        rig.now_ns += PERIOD_NS
        rig.jump(-PERIOD_NS / S_NS)
        held += rig.tick() is not None
    assert held == 20
    assert not rig.core.deadman_pressed
    assert rig.core.status.faults & Fault.STATE_STALE


def test_a_deadman_does_not_stay_pressed_when_the_clock_goes_back() -> None:
    rig = arm_rig(require_deadman=True)
    rig.core.on_deadman(True, rig.now_ns)
    pressed = rig.core.deadman_pressed
    assert pressed
    rig.jump(-3)
    rig.step()
    assert not rig.core.deadman_pressed
    ack = rig.core.on_chunk(make_chunk(rig.now_ns, data=motion(), episode_id=""), rig.now_ns)
    assert ack.result == AckResult.NOT_ARMED


# --- chunks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [17, 700, 30_000])
def test_a_chunk_longer_than_the_configuration_allows_is_refused(steps: int) -> None:
    rig = arm_rig()
    ack = rig.send(data=np.zeros((1, steps, 7), np.float32), episode_id="")
    assert ack.result == AckResult.BAD_SHAPE and "max_horizon" in ack.detail


def test_too_many_chunks_are_refused() -> None:
    ack = arm_rig().send(data=make_actions(8, chunks=9), episode_id="")
    assert ack.result == AckResult.BAD_SHAPE and "max_chunks" in ack.detail


def test_lookahead_is_refused_with_an_arm() -> None:
    with pytest.raises(UserError, match="bridge_steps"):
        ControllerConfig(arm_interface=ArmInterface.JOINT_TRAJECTORY, bridge_steps=4)


# --- fingers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [0.02, 0.0402, 0.05, 0.07])
def test_the_end_and_the_start_of_an_episode_keep_the_grasp(width: float) -> None:
    rig = arm_rig()
    rig.core.on_episode(make_episode("e0", rig.now_ns))
    assert (
        rig.core.on_chunk(make_chunk(rig.now_ns, data=motion(gripper=-1.0)), rig.now_ns).result
        == AckResult.ACCEPTED
    )
    follow(rig, 3, width=width)
    rig.core.on_episode(make_episode("e0", rig.now_ns, EpisodePhase.SUCCESS))
    emitted = follow(rig, 5, width=width)
    rig.core.on_episode(make_episode("e1", rig.now_ns))
    emitted += follow(rig, 5, width=width)
    assert all(action.source == Source.HOLD and action.applied[6] == -1.0 for action in emitted)


@pytest.mark.parametrize("width", [0.01, 0.0402, 0.05, 0.08])
def test_a_restarted_controller_asks_nothing_of_the_fingers(width: float) -> None:
    rig = arm_rig()
    for action in follow_at_rest(rig, 5, width):
        assert not rig.core.gripper_commanded
        assert action.gripper_width == pytest.approx(width)


def follow_at_rest(rig: Rig, steps: int, width: float) -> list[Any]:
    """Let control periods pass with the arm at home."""
    emitted = []
    for _ in range(steps):
        rig.now_ns += PERIOD_NS
        rig.observe(width=width)
        emitted.append(rig.tick())
    return emitted
