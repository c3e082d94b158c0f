# SPDX-License-Identifier: Apache-2.0
"""What a controller forgets, keeps and says when a clock jumps, a world starts anew or a plan fails."""

from __future__ import annotations

from typing import Any

import numpy as np
from controller_rig import (
    PERIOD_NS,
    S_NS,
    Rig,
    assert_hold,
    make_actions,
    make_config,
    make_episode,
    make_state,
    state_of,
)

from physgen_control.controller_config import ArmInterface, Pacing, RobotType
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import AckResult, EpisodePhase, Fault, Limit, RobotState, SafetyState, Source

ARM: dict[str, Any] = {"arm_interface": ArmInterface.JOINT_TRAJECTORY, "robot_type": RobotType.FR3}
CONFIG = make_config(**ARM)
# Elbow aside until the shoulder is nearly singular.
SINGULAR = np.array([1.31, -0.04, -1.40, -2.66, -0.09, 2.65, 0.61])


class BlockedPlanner(TrajectoryPlanner):
    """A planner that finds no way to settle once the arm is blocked."""

    blocked = False

    def restart(self, state: RobotState, now_ns: int) -> None:
        if self.blocked:
            raise PlanRefusedError(AckResult.STEP, "The arm is blocked.")
        super().restart(state, now_ns)


def settled(planner: TrajectoryPlanner, joints: np.ndarray = HOME, **changes: Any) -> Rig:
    """An FR3 at rest, armed and settled, in an episode."""
    rig = Rig(planner=planner, **ARM, **changes)
    rig.core.on_publisher_count(1)
    see(rig, joints)
    ok, sentence = rig.core.arm()
    assert ok, sentence
    rig.core.on_episode(make_episode())
    for _ in range(12):
        see(rig, joints)
    rig.core.take_trajectory()
    return rig


def see(rig: Rig, joints: np.ndarray) -> Any:
    """One control period passes with the arm at these joints."""
    rig.now_ns += PERIOD_NS
    rig.observe(positions=joints, pose=forward(joints))
    return rig.tick()


def teleoperate(rig: Rig, twist: np.ndarray, joints: np.ndarray = HOME) -> Any:
    """A human moves the arm for one control period."""
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(twist, 0.0, rig.now_ns)
    return see(rig, joints)


def moving(size: float = 0.0015) -> np.ndarray:
    data = np.zeros((1, 8, 7), np.float32)
    data[..., 1], data[..., 6] = size, 1.0
    return data


# --- time ---------------------------------------------------------------------------------------------------------


def commanded(rig: Rig) -> tuple[bool, bool]:
    """Whether a deadman is pressed and a human in command."""
    return rig.core.deadman_pressed, rig.core.status.intervention


def test_a_human_must_be_heard_anew_after_the_smallest_jump_of_the_clock() -> None:
    """Also after one that is shorter than every timeout."""
    rig = Rig().begin()
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(np.full(6, 0.01), 0.0, rig.now_ns)
    assert commanded(rig) == (True, True)
    rig.jump(0.1)
    rig.tick()
    assert commanded(rig) == (False, False)


def test_a_jump_of_the_clock_excuses_no_wrong_state_that_comes_later() -> None:
    rig = settled(TrajectoryPlanner(CONFIG))
    rig.jump(3)
    rig.tick()
    assert state_of(rig.core) is SafetyState.HOLD
    for _ in range(4):
        see(rig, HOME)
    assert state_of(rig.core) is SafetyState.ARMED
    wrong = HOME + 0.5
    rig.now_ns += PERIOD_NS // 5
    rig.observe(positions=wrong, pose=forward(wrong))
    for _ in range(4):
        see(rig, HOME)
    assert state_of(rig.core) is SafetyState.HOLD and rig.core.status.faults == Fault.STATE_STALE
    assert rig.core.arm()[0]


def test_a_world_that_goes_back_in_time_does_not_go_on_with_its_chunk() -> None:
    """Not even when it reaches the time at which the chunk was left."""
    rig = Rig(pacing=Pacing.STATE).begin()
    assert rig.send().result == AckResult.ACCEPTED
    for action in (rig.tick(), rig.step(), rig.step()):
        assert action is not None and action.source is Source.POLICY
    rig.now_ns -= 2 * S_NS
    rig.observe()
    assert not rig.core.chunk_loaded
    later = [rig.step() for _ in range(2 * S_NS // PERIOD_NS + 8)]
    assert all(step in (None, action) for step in later)  # at most the step that was lost is repeated


def test_a_state_from_a_second_before_the_newest_is_not_believed() -> None:
    rig = Rig(max_state_age=2.0).begin()
    rig.send()
    rig.step()
    rig.core.on_state(make_state(rig.now_ns - S_NS, width=0.0), rig.now_ns)
    assert rig.core.status.state_age == 0.0 and rig.core.chunk_loaded
    assert "stamped 1.000 s before now" in rig.core.status.detail


# --- plans that fail ----------------------------------------------------------------------------------------------


def test_an_arm_that_cannot_settle_for_an_episode_holds_and_says_why() -> None:
    planner = BlockedPlanner(CONFIG)
    rig = settled(planner)
    planner.blocked = True
    rig.core.on_episode(make_episode("e1", rig.now_ns))
    status = rig.core.status
    assert (status.state, status.faults) == (SafetyState.HOLD, Fault.TRACKING)
    assert status.detail == "The arm is blocked. Arm again when the arm is free."
    assert_hold(see(rig, HOME))
    planner.blocked = False
    assert rig.core.arm()[0] and state_of(rig.core) is SafetyState.ARMED


def test_an_arm_that_cannot_settle_after_a_jump_of_the_clock_holds_and_says_why() -> None:
    planner = BlockedPlanner(CONFIG)
    rig = settled(planner)
    rig.jump(3)
    rig.tick()
    planner.blocked = True
    see(rig, HOME)
    status = rig.core.status
    assert (status.state, status.faults) == (SafetyState.HOLD, Fault.TRACKING)
    assert status.detail == "The arm is blocked. Arm again when the arm is free."


def test_the_start_and_end_of_an_episode_hide_no_cause_of_a_hold() -> None:
    rig = settled(TrajectoryPlanner(CONFIG))
    rig.core.on_wrench(500.0, 0.0)
    cause = rig.core.status.detail
    assert "500.0 N" in cause
    rig.core.on_episode(make_episode(phase=EpisodePhase.SUCCESS))
    assert rig.core.status.detail == cause
    rig.core.on_episode(make_episode("e1", rig.now_ns))
    assert rig.core.status.detail == cause


def test_an_internal_fault_is_told_with_the_stop_that_failed() -> None:
    class Unstoppable(TrajectoryPlanner):
        def stop(self, state: RobotState | None, now_ns: int) -> None:
            raise ArithmeticError

    rig = settled(Unstoppable(CONFIG))
    rig.core.internal_fault("boom")
    assert state_of(rig.core) is SafetyState.FAULT
    assert "boom" in rig.core.status.detail
    assert "No stop could be planned: ArithmeticError" in rig.core.status.detail


def test_a_refusal_of_a_waiting_chunk_is_told_once() -> None:
    rig = Rig().begin()
    rig.send(episode_id="e1", data=make_actions(size=5.0))
    rig.core.on_episode(make_episode("e1"))
    assert [ack.result for ack in rig.core.take_acks()] == [AckResult.STEP]
    assert rig.core.take_acks() == []


def test_auto_arming_says_why_it_waits_and_then_what_it_waits_for() -> None:
    rig = Rig(auto_arm=True)
    rig.core.on_publisher_count(1)
    assert not rig.core.auto_arm() and "No robot state" in rig.core.status.detail
    rig.observe()
    assert rig.core.auto_arm() and rig.core.status.detail == "ARMED: waiting for a chunk."


# --- trajectories -------------------------------------------------------------------------------------------------


def test_a_late_trajectory_from_rest_starts_when_its_lateness_was_reported() -> None:
    """Not when the controller last looked at its clock."""
    rig = settled(TrajectoryPlanner(CONFIG))
    assert rig.send(data=moving(), base_step=0).result == AckResult.ACCEPTED
    assert rig.core.take_trajectory() is not None
    rig.now_ns += 30_000_000
    postponed = rig.core.on_late_trajectory(0.03, rig.now_ns)
    assert postponed is not None and postponed.start_ns == rig.now_ns


def test_a_step_whose_trajectory_was_not_sent_claims_no_motion_and_no_joints() -> None:
    planner = TrajectoryPlanner(CONFIG)
    rig = settled(planner)
    twist = np.array([0.0, 0.03, 0.0, 0.0, 0.0, 0.0])
    joints = HOME
    for _ in range(4):
        action = teleoperate(rig, twist, joints)
        assert action.source is Source.TELEOP and np.isfinite(action.target_positions).all()
        assert rig.core.take_trajectory() is not None
        joints = planner.command(rig.now_ns + PERIOD_NS)[0]
    assert rig.core.on_late_trajectory(0.2, rig.now_ns) is not None
    sent = rig.core.as_sent(action)
    assert not sent.applied[:6].any() and sent.limits & Limit.JOINT
    np.testing.assert_array_equal(sent.target_positions, np.full(7, np.nan))


# --- people -------------------------------------------------------------------------------------------------------


def test_between_episodes_a_person_may_lead_the_arm_by_hand() -> None:
    rig = settled(TrajectoryPlanner(CONFIG))
    rig.core.on_episode(make_episode(phase=EpisodePhase.SUCCESS))
    for away in (0.1, 0.2, 0.3, 0.4):
        assert_hold(see(rig, HOME + away))
    assert state_of(rig.core) is SafetyState.ARMED and not rig.core.status.faults
    rig.core.on_episode(make_episode("e1", rig.now_ns))
    for away in (0.5, 0.6, 0.7, 0.8):
        see(rig, HOME + away)
    assert rig.core.status.faults & Fault.TRACKING  # in an episode nobody may


def test_a_refused_human_is_told_whether_a_singularity_or_a_joint_is_in_the_way() -> None:
    wide = {
        "workspace_max": (2, 2, 2),
        "workspace_min": (-2, -2, -2),
        "tilt_limit": 3.15,
        "joint_margin": 0.0,
    }
    rig = settled(TrajectoryPlanner(make_config(**ARM, **wide)), SINGULAR, **wide)
    farther_in = teleoperate(rig, np.array([0.06, 0.0, 0.0, 0.0, 0.0, 0.0]), SINGULAR)
    assert farther_in.limits == Limit.SINGULARITY and not farther_in.applied[:6].any()
    assert "Teleop motion refused (IK)" in rig.core.status.detail

    settling = Rig(planner=TrajectoryPlanner(CONFIG), **ARM).begin()
    too_soon = teleoperate(settling, np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert too_soon.limits == Limit.JOINT and not too_soon.applied[:6].any()
    assert "settles" in settling.core.status.detail


def test_chunks_are_refused_for_exactly_the_release_time_after_a_human() -> None:
    rig = Rig(teleop_release=0.5).begin()
    rig.core.on_deadman(True, rig.now_ns)
    rig.core.on_teleop(np.full(6, 0.01), 0.0, rig.now_ns)
    rig.core.on_deadman(False, rig.now_ns)
    rig.now_ns += S_NS // 2 - 1
    rig.observe()
    assert rig.send().result == AckResult.TELEOP_ACTIVE
    rig.now_ns += 1
    assert rig.send().result == AckResult.ACCEPTED
