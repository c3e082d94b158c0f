# SPDX-License-Identifier: Apache-2.0
"""What stops the arm (late policy, stale state, second publisher, exceptions) and how a human takes over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from controller_rig import PERIOD_NS, POSE, S_NS, START_NS, Rig, assert_hold, make_actions, state_of

from physgen_control.controller_config import Pacing
from physgen_control.types import AckResult, Fault, Pose, SafetyState, Source

# --- faults -------------------------------------------------------------------------------------------------------


def test_a_late_policy_holds_within_a_period_after_the_grace() -> None:
    rig = Rig(hold_grace=0.2).begin()
    rig.send(data=make_actions(2))
    last = None
    for _ in range(2):
        last = rig.step()
    assert last is not None and last.source == Source.POLICY
    raised_ns = 0
    for _ in range(10):
        assert_hold(rig.step())
        if not raised_ns and rig.core.status.faults & Fault.POLICY_LATE:
            raised_ns = rig.now_ns
            assert state_of(rig.core) == SafetyState.HOLD
    assert 0 < raised_ns - last.stamp_ns <= 200_000_000 + PERIOD_NS


def test_a_new_session_recovers_from_a_late_policy() -> None:
    rig = Rig().begin()
    rig.send(data=make_actions(1))
    rig.step()
    rig.step()
    assert state_of(rig.core) == SafetyState.HOLD
    data = make_actions(seed=1)
    assert rig.send(session_id="s1", data=data).result == AckResult.ACCEPTED
    assert state_of(rig.core) == SafetyState.ARMED and not rig.core.status.faults
    action = rig.step()
    assert action is not None
    np.testing.assert_array_equal(action.applied, data[0, 0])


def test_a_silent_policy_shows_in_a_world_that_waits() -> None:
    rig = Rig(pacing=Pacing.STATE, policy_timeout=1.0).begin()
    for second in range(4):
        rig.core.on_wall(second * S_NS)
    assert rig.core.status.faults & Fault.POLICY_LATE
    assert state_of(rig.core) == SafetyState.HOLD
    assert rig.send().result == AckResult.ACCEPTED
    assert state_of(rig.core) == SafetyState.ARMED


def test_a_stale_state_holds_and_drops_the_chunk() -> None:
    rig = Rig().begin()
    rig.send()
    rig.now_ns += 200_000_000
    assert_hold(rig.tick())
    assert rig.core.status.faults & Fault.STATE_STALE and state_of(rig.core) == SafetyState.HOLD
    assert_hold(rig.step())  # a fresh state ends the fault, not the loss of the chunk
    assert not rig.core.status.faults & Fault.STATE_STALE
    assert rig.send(chunk_seq=2).result == AckResult.ACCEPTED


def test_two_publishers_stop_the_arm() -> None:
    rig = Rig().begin()
    rig.send()
    rig.core.on_publisher_count(2)
    assert state_of(rig.core) == SafetyState.HOLD
    assert_hold(rig.step())
    assert rig.send(chunk_seq=2).result == AckResult.NOT_ARMED
    rig.core.on_publisher_count(1)
    assert rig.send(chunk_seq=2).result == AckResult.ACCEPTED


@pytest.mark.parametrize("changes", [{"width": np.nan}, {"positions": np.full(7, np.inf)}])
def test_impossible_states_are_ignored(changes: dict[str, Any]) -> None:
    rig = Rig()
    rig.observe(**changes)
    assert "ignored" in rig.core.status.detail
    assert rig.core.status.state_age == float("inf")


@pytest.mark.parametrize("quaternion", [np.zeros(4), np.full(4, 1e200), np.array([np.nan, 0, 0, 1])])
def test_impossible_quaternions_are_ignored(quaternion: np.ndarray) -> None:
    rig = Rig()
    rig.observe(pose=Pose(position=POSE.position, quaternion=quaternion))
    assert rig.core.status.state_age == float("inf")
    assert state_of(rig.core) == SafetyState.DISARMED


def test_a_state_from_the_future_is_ignored() -> None:
    rig = Rig()
    robot = Rig().begin().core._robot
    assert robot is not None
    rig.core.on_state(replace(robot, stamp_ns=START_NS + S_NS), START_NS)
    assert "in the future" in rig.core.status.detail
    assert rig.core.status.state_age == float("inf")


class BrokenPlanner:
    """A planner with a programming error."""

    def plan(self, *_: Any) -> Any:
        raise RuntimeError("boom")

    def stop(self, *_: Any) -> None: ...

    def tracking_error(self, *_: Any) -> float:
        return 0.0

    def take(self) -> None: ...

    def active(self, *_: Any) -> bool:
        return False

    def restart(self, *_: Any) -> None: ...

    def clock_jumped(self, *_: Any) -> None: ...

    def start_on_arrival(self) -> None: ...

    def withdraw(self, *_: Any) -> None: ...

    def postpone(self, *_: Any) -> None: ...

    def set_shadow(self, *_: Any) -> None: ...


def test_an_exception_latches_fault_internal() -> None:
    rig = Rig(planner=BrokenPlanner()).begin()
    with pytest.raises(RuntimeError, match="boom"):
        rig.send()
    status = rig.core.status
    assert (status.state, status.faults) == (SafetyState.FAULT, Fault.INTERNAL)
    assert "boom" in status.detail
    assert rig.step() is None
    assert rig.send(chunk_seq=2).result == AckResult.NOT_ARMED


def test_an_arm_away_from_its_command_holds_until_armed_again() -> None:
    planner = BrokenPlanner()
    planner.tracking_error = lambda *_: 0.3  # type: ignore[method-assign]
    rig = Rig(planner=planner).begin()
    assert_hold(rig.step())
    assert rig.core.status.faults & Fault.TRACKING
    assert "0.300 rad" in rig.core.status.detail
    planner.tracking_error = lambda *_: 0.0  # type: ignore[method-assign]
    assert_hold(rig.step())
    assert state_of(rig.core) == SafetyState.HOLD
    assert rig.core.arm()[0]
    assert state_of(rig.core) == SafetyState.ARMED


def test_refusals_name_the_cause_and_do_not_grow() -> None:
    """Each refusal once quoted the one before, without end."""
    planner = BrokenPlanner()
    planner.tracking_error = lambda *_: 0.3  # type: ignore[method-assign]
    rig = Rig(planner=planner).begin()
    rig.step()
    details = [rig.send(chunk_seq=index).detail for index in range(1, 6)]
    assert len(set(details)) == 1
    assert details[0].count("refused") == 0 and "0.300 rad" in details[0]


def test_a_robot_that_does_not_move_holds_until_recovered_and_armed() -> None:
    rig = Rig(planner=BrokenPlanner()).begin()
    rig.core.on_robot_mode("The robot stopped with a reflex (cartesian_reflex).")
    assert state_of(rig.core) == SafetyState.HOLD
    assert "cartesian_reflex" in rig.core.status.detail
    ok, sentence = rig.core.arm()
    assert not ok and "Recover" in sentence
    rig.core.on_robot_mode("")
    assert state_of(rig.core) == SafetyState.HOLD
    assert rig.core.arm()[0]
    assert state_of(rig.core) == SafetyState.ARMED


@pytest.mark.parametrize(("force", "torque"), [(41.0, 0.0), (0.0, 16.0), (float("nan"), 0.0)])
def test_a_force_above_the_limit_holds_until_armed_again(force: float, torque: float) -> None:
    rig = Rig().begin()
    rig.core.on_wrench(39.0, 14.0)
    assert state_of(rig.core) == SafetyState.ARMED
    rig.core.on_wrench(force, torque)
    assert rig.core.status.faults & Fault.WRENCH
    rig.core.on_wrench(0.0, 0.0)
    assert state_of(rig.core) == SafetyState.HOLD
    assert rig.core.arm()[0]
    assert state_of(rig.core) == SafetyState.ARMED


# --- teleoperation ------------------------------------------------------------------------------------------------


def test_a_human_wins_at_once_and_chunks_wait_for_the_release() -> None:
    rig = Rig().begin()
    rig.send()
    rig.step()
    twist = np.array([0.1, 0.0, -0.1, 0.0, 0.0, 0.2])
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(twist, -1.0, rig.now_ns)
    action = rig.step()
    assert action is not None and action.source == Source.TELEOP
    np.testing.assert_allclose(action.applied[:6], twist * 0.05, atol=1e-7)
    assert action.applied[6] == -1.0
    taken_over = rig.core.status.intervention
    assert taken_over
    ack = rig.send(chunk_seq=2)
    assert ack.result == AckResult.TELEOP_ACTIVE and "human" in ack.detail
    rig.core.on_deadman(False, rig.now_ns)
    assert_hold(rig.step())
    assert not rig.core.status.intervention
    assert rig.send(chunk_seq=2).result == AckResult.TELEOP_ACTIVE  # just released
    for _ in range(10):
        assert_hold(rig.step())  # the old chunk is gone
    assert rig.send(chunk_seq=2).result == AckResult.ACCEPTED


def test_a_twist_without_deadman_is_ignored() -> None:
    rig = Rig().begin()
    rig.send()
    rig.core.on_teleop(np.ones(6), 0.0, rig.now_ns)
    action = rig.step()
    assert action is not None and action.source == Source.POLICY


def test_a_twist_not_repeated_stops() -> None:
    rig = Rig(teleop_timeout=0.1).begin()
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(np.full(6, 0.1), 0.0, rig.now_ns)
    sources = []
    for _ in range(4):
        rig.core.on_deadman(True, rig.now_ns)
        action = rig.step()
        assert action is not None
        sources.append(action.source)
    assert sources == [Source.TELEOP, Source.TELEOP, Source.HOLD, Source.HOLD]


def test_a_twist_of_bad_numbers_is_ignored() -> None:
    rig = Rig().begin()
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(np.array([np.nan, 0, 0, 0, 0, 0]), 0.0, rig.now_ns)
    assert not rig.core.status.intervention
    assert "six finite numbers" in rig.core.status.detail
