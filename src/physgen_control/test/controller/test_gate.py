# SPDX-License-Identifier: Apache-2.0
"""The controller's state machine: what may be armed, what is played, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controller_rig import PERIOD_NS, POSE, S_NS, START_NS, Rig, assert_hold, make_actions, make_episode

from physgen_control.controller_config import Execution, Mode, Pacing
from physgen_control.types import (
    AckResult,
    ActionSpace,
    DeltaReference,
    EpisodePhase,
    Fault,
    GripperMode,
    Limit,
    Pose,
    SafetyState,
    Source,
)

# --- arming -------------------------------------------------------------------------------------------------------


def test_arming_needs_a_robot_state() -> None:
    rig = Rig()
    rig.core.on_publisher_count(1)
    ok, sentence = rig.core.arm()
    assert not ok and "No robot state" in sentence
    assert rig.core.state == SafetyState.DISARMED
    rig.observe()
    assert rig.core.arm()[0]


def test_arming_needs_a_fresh_robot_state() -> None:
    rig = Rig()
    rig.core.on_publisher_count(1)
    rig.observe()
    rig.now_ns += S_NS
    assert rig.tick() is None
    ok, sentence = rig.core.arm()
    assert not ok and "1.000 s old" in sentence


@pytest.mark.parametrize(("count", "words"), [(0, "Nobody publishes"), (2, "2 nodes publish")])
def test_arming_needs_exactly_one_publisher(count: int, words: str) -> None:
    rig = Rig()
    rig.observe()
    rig.core.on_publisher_count(count)
    ok, sentence = rig.core.arm()
    assert not ok and words in sentence


def test_teleoperation_may_be_armed_without_a_policy() -> None:
    rig = Rig(require_publisher=False)
    rig.observe()
    rig.core.on_publisher_count(0)
    assert rig.core.arm()[0]


def test_auto_arm_happens_once() -> None:
    rig = Rig(auto_arm=True, arm_without_state=True)
    rig.core.on_publisher_count(0)
    assert not rig.core.auto_arm()
    rig.core.on_publisher_count(1)
    assert rig.core.auto_arm()
    assert rig.core.disarm()[0]
    assert not rig.core.auto_arm()
    assert rig.core.state == SafetyState.DISARMED


def test_a_latched_fault_needs_clearing_before_arming() -> None:
    rig = Rig().begin()
    rig.core.internal_fault("boom")
    ok, sentence = rig.core.arm()
    assert not ok and "clear_fault" in sentence and "boom" in sentence
    assert rig.core.clear_fault()[0]
    assert rig.core.state == SafetyState.DISARMED
    assert rig.core.arm()[0]


def test_an_unarmed_controller_emits_nothing() -> None:
    rig = Rig()
    rig.observe()
    assert rig.step() is None


# --- playing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pacing", list(Pacing))
def test_a_good_chunk_is_played_bit_by_bit(pacing: Pacing) -> None:
    rig = Rig(pacing=pacing).begin()
    data = make_actions(8, chunks=3)
    ack = rig.send(data=data)
    assert ack.result == AckResult.ACCEPTED
    actions = [rig.tick(), *(rig.step() for _ in range(7))]
    for index, action in enumerate(actions):
        assert action is not None
        assert action.applied.tobytes() == action.raw.tobytes() == data[0, index].tobytes()
        assert (action.step, action.step_index, action.source) == (index, index, Source.POLICY)
        assert (action.executed, action.limits, action.session_id) == (True, Limit.NONE, "s0")
        assert action.state_stamp_ns == START_NS + index * PERIOD_NS
        np.testing.assert_array_equal(action.target_pose.position, POSE.position + data[0, index, :3])
    after = rig.step()
    assert after is None if pacing is Pacing.STATE else after is not None and after.source == Source.HOLD


def test_shadow_computes_everything_and_executes_nothing() -> None:
    rig = Rig(mode=Mode.SHADOW).begin()
    data = make_actions()
    assert rig.core.state == SafetyState.SHADOW
    assert rig.send(data=data).result == AckResult.SHADOW
    for index in range(8):
        action = rig.step()
        assert action is not None and not action.executed
        np.testing.assert_array_equal(action.applied, data[0, index])


def test_changing_the_mode_drops_the_chunk() -> None:
    rig = Rig(mode=Mode.SHADOW).begin()
    rig.send()
    assert rig.core.set_mode("armed")[0]
    assert_hold(rig.step())
    assert not rig.core.set_mode("reckless")[0]


def test_a_repeated_state_repeats_the_same_action() -> None:
    rig = Rig(pacing=Pacing.STATE).begin()
    rig.send()
    first = rig.tick()
    for _ in range(3):
        rig.observe()
        assert rig.tick() is first
    assert rig.tick() is None  # no state, no answer
    second = rig.step()
    assert second is not None and second.step == 1


def test_timer_makes_one_step_per_period() -> None:
    rig = Rig().begin()
    rig.send()
    assert rig.tick() is not None
    rig.now_ns += PERIOD_NS // 4
    assert rig.tick() is None


def test_pipelined_chunks_start_at_the_action_of_this_step() -> None:
    rig = Rig(execution=Execution.PIPELINED).begin()
    for _ in range(3):
        assert_hold(rig.step())
    data = make_actions()
    assert rig.send(data=data).result == AckResult.ACCEPTED
    action = rig.step()
    assert action is not None and action.step_index == 3
    np.testing.assert_array_equal(action.applied, data[0, 3])


def test_lookahead_actions_bridge_a_late_policy() -> None:
    rig = Rig(bridge_steps=2).begin()
    data = make_actions(4, chunks=2)
    rig.send(data=data)
    played = [rig.step() for _ in range(6)]
    assert [(a.chunk_index, a.step_index) for a in played if a] == [
        (0, 0),
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 0),
        (1, 1),
    ]
    assert_hold(rig.step())


# --- refusals -----------------------------------------------------------------------------------------------------


def changed(index: tuple[int, ...], value: float) -> np.ndarray:
    data = make_actions()
    data[index] = value
    return data


REFUSALS: dict[str, tuple[dict[str, Any], AckResult, str]] = {
    "two dimensions": ({"data": make_actions()[0]}, AckResult.BAD_SHAPE, "float32 (num_chunks, horizon, 7)"),
    "six numbers": ({"data": make_actions()[..., :6]}, AckResult.BAD_SHAPE, "(1, 8, 6)"),
    "empty": ({"data": make_actions()[:, :0]}, AckResult.BAD_SHAPE, "(1, 0, 7)"),
    "float64": ({"data": make_actions().astype(float)}, AckResult.BAD_SHAPE, "float64"),
    "nothing to execute": ({"execute_steps": 0}, AckResult.BAD_SHAPE, "execute_steps must be 1 .. 8"),
    "too much to execute": ({"execute_steps": 9}, AckResult.BAD_SHAPE, "got 9"),
    "joint actions": ({"action_space": ActionSpace.JOINT_DELTA}, AckResult.BAD_SHAPE, "JOINT_DELTA"),
    "unknown space": ({"action_space": 99}, AckResult.BAD_SHAPE, "unknown value 99"),
    "gripper width": ({"gripper_mode": GripperMode.WIDTH_M}, AckResult.BAD_SHAPE, "SIGNED_PM1"),
    "anchor": ({"delta_reference": DeltaReference.CHUNK_ANCHOR}, AckResult.BAD_SHAPE, "MEASURED"),
    "commanded": ({"delta_reference": DeltaReference.COMMANDED}, AckResult.BAD_SHAPE, "MEASURED"),
    "frame": ({"frame_id": "world"}, AckResult.BAD_SHAPE, "'world'"),
    "period": ({"step_period_ns": 100_000_000}, AckResult.BAD_SHAPE, "every 0.1 s"),
    "NaN": ({"data": changed((0, 3, 2), np.nan)}, AckResult.NONFINITE, "1 of 56 numbers"),
    "infinity": ({"data": changed((0, 7, 6), np.inf)}, AckResult.NONFINITE, "NaN or infinite"),
    "no episode": ({"episode_id": ""}, AckResult.OUT_OF_ORDER, "of no episode, but episode 'e0' is running"),
    "old observation": ({"observation_stamp_ns": START_NS - S_NS}, AckResult.STALE_OBSERVATION, "1.000 s old"),
    "future observation": ({"observation_stamp_ns": START_NS + S_NS}, AckResult.STALE_OBSERVATION, "in the future"),
    "expired": ({"valid_until_ns": START_NS - S_NS}, AckResult.EXPIRED, "1.000 s after its valid_until"),
    "gross step": ({"data": changed((0, 2, 0), 0.5)}, AckResult.STEP, "Action 2 is grossly too large: 0.5"),
    "gross turn": ({"data": changed((0, 2, 3), 1.0)}, AckResult.STEP, "rad in one step"),
    "gross gripper": ({"data": changed((0, 2, 6), 40.0)}, AckResult.STEP, "gripper number 40"),
    "all clipped": ({"data": make_actions() + np.float32(0.011)}, AckResult.STEP, "8 of 8 actions exceed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_chunk_is_refused_with_a_sentence(name: str) -> None:
    changes, result, words = REFUSALS[name]
    rig = Rig().begin()
    ack = rig.send(**changes)
    assert (ack.result, ack.session_id, ack.chunk_seq) == (result, "s0", 1)
    assert words in ack.detail
    assert ack.detail.endswith(".") and ack.detail in rig.core.status.detail
    assert rig.core.status.faults & Fault.CHUNK_REJECTED
    assert_hold(rig.step())
    assert rig.send().result == AckResult.ACCEPTED
    assert not rig.core.status.faults


def test_a_refused_chunk_leaves_the_playing_one_alone() -> None:
    rig = Rig().begin()
    data = make_actions()
    rig.send(data=data)
    rig.step()
    assert rig.send(chunk_seq=2, data=changed((0, 0, 0), np.nan)).result == AckResult.NONFINITE
    action = rig.step()
    assert action is not None
    np.testing.assert_array_equal(action.applied, data[0, 1])


def test_sequence_numbers_must_increase_and_old_sessions_stay_away() -> None:
    rig = Rig().begin()
    assert rig.send(chunk_seq=5).result == AckResult.ACCEPTED
    for seq in (5, 4):
        ack = rig.send(chunk_seq=seq)
        assert ack.result == AckResult.OUT_OF_ORDER and "must increase" in ack.detail
    assert rig.send(session_id="s1", chunk_seq=1).result == AckResult.ACCEPTED
    ack = rig.send(chunk_seq=6)
    assert ack.result == AckResult.OUT_OF_ORDER and "new session" in ack.detail


def test_a_chunk_of_an_ended_episode_is_refused() -> None:
    rig = Rig().begin()
    rig.core.on_episode(make_episode(phase=EpisodePhase.SUCCESS))
    ack = rig.send()
    assert ack.result == AckResult.OUT_OF_ORDER and "no episode is running" in ack.detail
    rig.core.on_episode(make_episode())  # a late repetition does not bring it back
    assert rig.send().result == AckResult.OUT_OF_ORDER


def test_the_end_of_an_episode_stops_its_chunk() -> None:
    rig = Rig().begin()
    rig.send()
    assert rig.step() is not None
    rig.core.on_episode(make_episode(phase=EpisodePhase.FAILURE))
    assert_hold(rig.step())


def test_a_chunk_before_its_episode_waits_for_it() -> None:
    rig = Rig().begin()
    ack = rig.send(episode_id="e1")
    assert ack.result == AckResult.ACCEPTED and "Waiting for episode 'e1'" in ack.detail
    assert_hold(rig.step())
    rig.core.on_episode(make_episode("e1", rig.now_ns))
    action = rig.step()
    assert action is not None
    assert (action.source, action.episode_id, action.step) == (Source.POLICY, "e1", 0)
    assert rig.core.take_acks() == []


def test_a_waiting_chunk_that_fails_its_check_is_answered_again() -> None:
    rig = Rig().begin()
    rig.send(episode_id="e1")
    rig.now_ns += S_NS
    rig.observe()
    rig.core.on_episode(make_episode("e1", rig.now_ns))
    assert [ack.result for ack in rig.core.take_acks()] == [AckResult.STALE_OBSERVATION]
    assert rig.send(episode_id="e2", data=make_actions().astype(float)).result == AckResult.BAD_SHAPE


def test_a_late_pipelined_chunk_is_expired() -> None:
    rig = Rig(execution=Execution.PIPELINED).begin()
    for _ in range(8):
        rig.step()
    ack = rig.send()
    assert ack.result == AckResult.EXPIRED and "steps 0 .. 7, the arm is at 8" in ack.detail


def test_a_first_target_far_outside_the_box_is_refused() -> None:
    rig = Rig(speed_translation=5.0, step_translation=0.2).begin()
    rig.observe(pose=Pose(position=np.array([0.74, 0.0, 0.3]), quaternion=POSE.quaternion))
    ack = rig.send(data=changed((0, 0, 0), 0.1))
    assert ack.result == AckResult.WORKSPACE and "0.090 m outside the workspace box" in ack.detail


def test_a_chunk_needs_a_fresh_state() -> None:
    rig = Rig().begin()
    rig.now_ns += 200_000_000
    ack = rig.send()
    assert ack.result == AckResult.STATE_STALE and "0.200 s old" in ack.detail


def test_a_chunk_needs_an_armed_controller() -> None:
    rig = Rig().begin()
    rig.core.disarm()
    ack = rig.send()
    assert ack.result == AckResult.NOT_ARMED and "DISARMED" in ack.detail
    rig.core.arm()
    assert rig.send().result == AckResult.ACCEPTED


def test_hold_stops_until_armed_again() -> None:
    rig = Rig().begin()
    rig.send()
    rig.core.hold()
    assert rig.core.status.estop and rig.core.state == SafetyState.HOLD
    assert_hold(rig.step())
    ack = rig.send(chunk_seq=2)
    assert ack.result == AckResult.NOT_ARMED and "Held by request" in ack.detail
    assert rig.core.arm()[0]
    assert_hold(rig.step())  # what was playing is forgotten
    assert rig.send(chunk_seq=2).result == AckResult.ACCEPTED


def test_a_required_deadman_gates_chunks_and_stops_on_release() -> None:
    rig = Rig(require_deadman=True).begin()
    ack = rig.send()
    assert ack.result == AckResult.NOT_ARMED and "deadman" in ack.detail
    rig.core.on_deadman(True, rig.now_ns)
    assert rig.send().result == AckResult.ACCEPTED
    action = rig.step()
    assert action is not None and action.source == Source.POLICY
    rig.core.on_deadman(False, rig.now_ns)
    assert_hold(rig.step())
    assert rig.core.status.faults & Fault.DEADMAN
    rig.core.on_deadman(True, rig.now_ns)
    assert_hold(rig.step())  # pressing alone does not resume
