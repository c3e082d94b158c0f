# SPDX-License-Identifier: Apache-2.0
"""Limits, motion checks and gripper: small excess is clipped and flagged, gross excess refuses, no chatter."""

from __future__ import annotations

import numpy as np
import pytest
from controller_rig import DOWN, POSE, Rig, make_actions, make_chunk, make_config
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_control.controller.gate import check_motion
from physgen_control.controller.gripper import CLOSED, MAX_TRIES, OPEN, GripperAdapter, GripperSwitch
from physgen_control.controller_config import Execution, Pacing
from physgen_control.geometry import moved, tilt
from physgen_control.motion.limits import ROUNDING, box_excess, limit_motion, step_excess
from physgen_control.types import AckResult, Limit, Pose

CONFIG = make_config()
MS = 1_000_000


def motion(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def at(*position: float) -> Pose:
    return Pose(position=np.array(position), quaternion=DOWN)


# --- limits -------------------------------------------------------------------------------------------------------


def test_a_motion_within_all_limits_passes_bit_by_bit() -> None:
    values = motion(0.005, -0.004, 0.003, 0.01, -0.02, 0.03)
    limited = limit_motion(values, POSE, CONFIG)
    assert limited.motion.tobytes() == values.tobytes()
    assert limited.limits == Limit.NONE


def test_a_limit_commanded_exactly_passes() -> None:
    values = motion(0.25 * 0.05, 0, 0, 0, 0.05, 0)
    limited = limit_motion(values, POSE, CONFIG)
    assert limited.motion.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("length", "flags"), [(0.013, Limit.SPEED), (0.049, Limit.SPEED), (0.06, Limit.SPEED | Limit.STEP)]
)
def test_too_long_a_step_is_shortened_along_its_direction(length: float, flags: Limit) -> None:
    direction = np.array([2.0, -1.0, 2.0]) / 3
    limited = limit_motion(motion(*(direction * length), 0, 0, 0), POSE, CONFIG)
    assert limited.limits == flags
    assert np.linalg.norm(limited.motion[:3]) == pytest.approx(0.0125, rel=1e-5)
    np.testing.assert_allclose(limited.motion[:3] / np.linalg.norm(limited.motion[:3]), direction, atol=1e-6)


def test_too_large_a_turn_is_shortened() -> None:
    limited = limit_motion(motion(0, 0, 0, 0, 0, 0.2), POSE, CONFIG)
    assert limited.limits == Limit.SPEED | Limit.STEP
    assert limited.motion[5] == pytest.approx(0.05, rel=1e-5)


def test_motion_ends_at_the_wall_of_the_box() -> None:
    limited = limit_motion(motion(0.01, 0.005, 0, 0, 0, 0), at(0.745, 0.0, 0.3), CONFIG)
    assert limited.limits == Limit.WORKSPACE
    np.testing.assert_allclose(limited.motion[:3], [0.005, 0.005, 0.0], atol=1e-8)


@pytest.mark.parametrize("side", [-1, 1])
def test_rounding_leads_no_motion_through_the_wall(side: int) -> None:
    """Motions are float32, walls are not."""
    corner = np.array(CONFIG.workspace_max if side > 0 else CONFIG.workspace_min)
    for gap in np.linspace(0.001, 0.0069, 40):
        position = corner - side * gap
        limited = limit_motion(motion(*[side * 0.007] * 3, 0, 0, 0), at(*position), CONFIG)
        left = np.abs(corner - position) - np.abs(limited.motion[:3].astype(np.float64))
        assert np.all(left >= 0.0) and np.all(left < 1e-9)


def test_from_outside_the_box_only_the_way_back_is_open() -> None:
    outside = at(0.80, 0.0, 0.3)
    away = limit_motion(motion(0.01, 0, 0, 0, 0, 0), outside, CONFIG)
    assert away.motion[0] == 0.0 and away.limits == Limit.WORKSPACE
    back = limit_motion(motion(-0.01, 0, 0, 0, 0, 0), outside, CONFIG)
    assert back.motion[0] == np.float32(-0.01) and back.limits == Limit.NONE


def test_the_tool_stays_within_the_tilt_cone() -> None:
    config = make_config(tilt_limit=0.1)
    pose = moved(POSE, motion(0, 0, 0, 0.08, 0, 0))
    limited = limit_motion(motion(0, 0, 0, 0.05, 0, 0), pose, config)
    assert limited.limits == Limit.WORKSPACE
    assert tilt(moved(pose, limited.motion).quaternion) == pytest.approx(0.1, abs=1e-4)
    upright = limit_motion(motion(0, 0, 0, -0.05, 0, 0), pose, config)
    assert upright.limits == Limit.NONE
    yaw = limit_motion(motion(0, 0, 0, 0, 0, 0.05), POSE, config)
    assert yaw.limits == Limit.NONE


finite = st.floats(-0.5, 0.5, width=32)


@given(
    values=hnp.arrays(np.float32, 6, elements=finite),
    position=hnp.arrays(np.float64, 3, elements=st.floats(-1, 1)),
    turn=hnp.arrays(np.float64, 3, elements=st.floats(-1.5, 1.5)),
)
def test_limiting_never_lengthens_and_is_idempotent(
    values: np.ndarray, position: np.ndarray, turn: np.ndarray
) -> None:
    pose = moved(Pose(position=position, quaternion=DOWN), np.concatenate([np.zeros(3), turn]))
    once = limit_motion(values, pose, CONFIG)
    assert np.all(np.abs(once.motion) <= np.abs(values))
    assert step_excess(once.motion, CONFIG)[0] <= ROUNDING
    assert box_excess(position + once.motion[:3], position, CONFIG) <= 1e-7
    after = tilt(moved(pose, once.motion).quaternion)
    assert after <= max(CONFIG.tilt_limit, tilt(pose.quaternion)) + 1e-6
    twice = limit_motion(once.motion, pose, CONFIG)
    assert twice.motion.tobytes() == once.motion.tobytes()
    assert twice.limits == Limit.NONE


# --- gate ---------------------------------------------------------------------------------------------------------


def test_a_small_excess_is_clipped_when_played_and_flagged() -> None:
    rig = Rig().begin()
    data = make_actions()
    data[0, 1, :3] = [0.02, 0.0, 0.0]
    assert rig.send(data=data).result == AckResult.ACCEPTED
    first, second = rig.step(), rig.step()
    assert first is not None and first.limits == Limit.NONE
    assert second is not None and second.limits == Limit.SPEED
    assert second.applied[0] == pytest.approx(0.0125, rel=1e-5)
    np.testing.assert_array_equal(second.raw, data[0, 1])


@pytest.mark.parametrize(("count", "refused"), [(4, False), (5, True)])
def test_a_chunk_with_too_many_clipped_actions_is_refused(count: int, refused: bool) -> None:
    data = make_actions()
    data[0, :count, 0] = 0.02
    refusal = check_motion(make_chunk(0, data=data), 0, POSE, CONFIG)
    assert (refusal is not None) == refused
    if refusal is not None:
        assert refusal.result == AckResult.STEP and "5 of 8 actions exceed" in refusal.sentence


@pytest.mark.parametrize(("length", "refused"), [(0.0249, False), (0.026, True)])
def test_gross_excess_refuses_the_chunk(length: float, refused: bool) -> None:
    data = make_actions()
    data[0, 7, :3] = [0.0, length, 0.0]
    refusal = check_motion(make_chunk(0, data=data), 0, POSE, CONFIG)
    assert (refusal is not None) == refused


def test_only_actions_that_will_be_played_are_judged() -> None:
    data = make_actions(8, chunks=2)
    data[0, 6:, 0] = data[1, :, 0] = 1.0
    assert check_motion(make_chunk(0, data=data, execute_steps=6), 0, POSE, CONFIG) is None


def test_the_workspace_is_judged_where_there_is_a_pose_and_an_action() -> None:
    """A world that waits may show its first state after the first chunk."""
    data = make_actions()
    assert check_motion(make_chunk(0, data=data), 0, None, CONFIG) is None
    pipelined = make_config(execution=Execution.PIPELINED)
    assert check_motion(make_chunk(0, data=data), 8, POSE, pipelined) is None
    rig = Rig(pacing=Pacing.STATE, arm_without_state=True)
    rig.core.on_publisher_count(1)
    assert rig.core.arm()[0]
    assert rig.send(episode_id="").result == AckResult.ACCEPTED


# --- gripper ------------------------------------------------------------------------------------------------------


def test_the_gripper_begins_as_the_fingers_are() -> None:
    switch = GripperSwitch(CONFIG)
    assert switch.current(0.08) == OPEN
    assert switch.current(0.01) == CLOSED
    assert switch.decide(float("nan"), 0.01, 0).command == CLOSED


def test_numbers_within_the_dead_band_keep_the_command() -> None:
    switch = GripperSwitch(CONFIG)
    assert switch.decide(1.0, 0.08, 0).command == OPEN
    decision = switch.decide(-0.1, 0.08, 10**9)
    assert decision.command == OPEN and decision.delayed
    assert switch.decide(-0.3, 0.08, 2 * 10**9).command == CLOSED
    held = switch.decide(0.1, 0.0, 4 * 10**9)
    assert held.command == CLOSED and held.delayed
    assert not switch.decide(0.0, 0.0, 4 * 10**9).delayed


def test_changes_keep_the_minimum_interval() -> None:
    switch = GripperSwitch(CONFIG)
    assert switch.decide(-1.0, 0.08, 0).command == CLOSED
    early = switch.decide(1.0, 0.0, 499 * MS)
    assert early.command == CLOSED and early.delayed
    late = switch.decide(1.0, 0.0, 500 * MS)
    assert late.command == OPEN and not late.delayed


@given(st.lists(st.tuples(st.floats(), st.integers(0, 300)), max_size=60))
def test_the_command_never_chatters(script: list[tuple[float, int]]) -> None:
    switch, now_ns, changed_ns, command = GripperSwitch(CONFIG), 0, None, OPEN
    for value, wait in script:
        now_ns += wait * MS
        decision = switch.decide(value, 0.08, now_ns)
        assert decision.command in (OPEN, CLOSED)
        if decision.command != command:
            assert changed_ns is None or now_ns - changed_ns >= 500 * MS
            command, changed_ns = decision.command, now_ns


def test_a_driver_gets_one_goal_per_change_and_none_while_one_runs() -> None:
    adapter = GripperAdapter(CONFIG)
    goal = adapter.goal(-1.0, 0)
    assert goal is not None and (goal.width, goal.speed, goal.force) == (0.0, 0.1, 20.0)
    assert adapter.running
    assert adapter.goal(1.0, 10**9) is None
    adapter.finished(ok=True)
    assert adapter.goal(-1.0, 2 * 10**9) is None
    opening = adapter.goal(1.0, 2 * 10**9)
    assert opening is not None and (opening.width, opening.force) == (0.08, 0.0)
    adapter.finished(ok=False)
    assert adapter.goal(1.0, 2 * 10**9 + 100 * MS) is None  # not more often than the interval
    assert adapter.goal(1.0, 3 * 10**9) is not None
    adapter.finished(ok=True)
    assert adapter.goal(float("nan"), 4 * 10**9) is None


def test_a_goal_that_always_fails_is_not_sent_for_ever() -> None:
    adapter = GripperAdapter(CONFIG)
    sent = 0
    for second in range(20):
        if adapter.goal(-1.0, second * 10**9) is not None:
            sent += 1
            adapter.finished(ok=False)
    assert sent == MAX_TRIES and adapter.gave_up
    assert adapter.goal(1.0, 20 * 10**9) is not None  # another command is another matter
    assert not adapter.gave_up
