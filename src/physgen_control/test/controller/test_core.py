# SPDX-License-Identifier: Apache-2.0
"""The controller's rules: when it moves, what it refuses, and that it holds whatever happens upstream."""

from typing import Any

import numpy as np
import pytest
from controller_fakes import DT, START, chunk, config, episode, state
from controller_rig import state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_control.controller.core import ControllerCore
from physgen_control.controller_config import Mode, Pacing
from physgen_control.types import AckResult, AppliedAction, Fault, Limit, SafetyState, Source


def armed(**changes: Any) -> ControllerCore:
    core = ControllerCore(config(**changes))
    core.on_episode(episode())
    core.on_state(state(), START)
    ok, sentence = core.arm()
    assert ok, sentence
    return core


def test_arming_needs_a_state_and_one_publisher() -> None:
    """No state: refused with a sentence; two publishers: refused; then armed."""
    core = ControllerCore(config())
    ok, sentence = core.arm()
    assert not ok and "state" in sentence and state_of(core) is SafetyState.DISARMED
    core.on_state(state(), START)
    core.on_publisher_count(2)
    ok, sentence = core.arm()
    assert not ok and "2 nodes" in sentence
    core.on_publisher_count(1)
    assert core.arm()[0] and state_of(core) is SafetyState.ARMED


def test_a_chunk_is_played_step_by_step_bit_for_bit() -> None:
    """Inside the limits nothing changes; each step is emitted once; the ninth tick has nothing left."""
    core = armed()
    assert core.on_chunk(chunk(), START).result is AckResult.ACCEPTED
    for step in range(8):
        now = START + step * DT
        core.on_state(state(now), now)
        action = core.tick(now)
        assert action is not None and action.step == action.step_index == step
        assert np.array_equal(action.applied, chunk().data[0, step]) and action.applied.dtype == np.float32
        assert action.source is Source.POLICY and action.executed and action.limits is Limit.NONE
        assert core.tick(now) is None
    now = START + 8 * DT
    core.on_state(state(now), now)
    assert core.tick(now) is None


def test_a_repeated_state_sends_the_same_action_again() -> None:
    """The world asks again when an answer was lost: same step, same content."""
    core = armed()
    core.on_chunk(chunk(), START)
    first = core.tick(START)
    core.on_state(state(), START)
    assert core.tick(START) is first


def test_shadow_computes_but_does_not_command() -> None:
    """In SHADOW every action says that it was not executed."""
    core = armed(mode=Mode.SHADOW)
    assert core.on_chunk(chunk(), START).result is AckResult.SHADOW
    action = core.tick(START)
    assert action is not None and not action.executed and state_of(core) is SafetyState.SHADOW


@pytest.mark.parametrize(
    ("change", "result"),
    [
        ({"data": np.zeros((3, 8, 6), np.float32)}, AckResult.BAD_SHAPE),
        ({"data": np.full((3, 8, 7), np.nan, np.float32)}, AckResult.NONFINITE),
        ({"data": np.full((3, 8, 7), np.inf, np.float32)}, AckResult.NONFINITE),
        ({"valid_until_ns": 1}, AckResult.EXPIRED),
        ({"data": np.full((3, 8, 7), 5.0, np.float32)}, AckResult.STEP),
    ],
)
def test_bad_chunks_are_refused_with_a_reason(change: dict[str, Any], result: AckResult) -> None:
    """Nothing of a refused chunk is ever played, and the answer is a sentence."""
    core = armed()
    ack = core.on_chunk(chunk(**change), START)
    assert ack.result is result and ack.detail
    assert core.tick(START) is None


def test_old_sequence_numbers_and_disarmed_controllers_refuse() -> None:
    """A sequence number must rise within a session; a disarmed controller plays nothing."""
    core = armed()
    assert core.on_chunk(chunk(seq=3), START).result is AckResult.ACCEPTED
    assert core.on_chunk(chunk(seq=3), START).result is AckResult.OUT_OF_ORDER
    core.disarm()
    assert core.on_chunk(chunk(seq=4), START).result is AckResult.NOT_ARMED
    assert core.tick(START) is None


def test_a_chunk_may_come_before_its_episode() -> None:
    """Topics are not ordered: the chunk waits for the announcement and is then played."""
    core = ControllerCore(config())
    core.on_state(state(), START)
    core.arm()
    core.on_chunk(chunk(), START)
    assert core.tick(START) is None
    core.on_episode(episode())
    action = core.tick(START)
    assert action is not None and action.source is Source.POLICY


def test_a_late_policy_means_hold_and_a_new_session_resumes() -> None:
    """With a clock that runs on, the arm holds right after the chunk; a restarted policy is obeyed again."""
    core = armed(pacing=Pacing.TIMER)
    core.on_chunk(chunk(), START)
    actions = []
    for step in range(10):
        now = START + step * DT
        core.on_state(state(now), now)
        action = core.tick(now)
        assert action is not None
        actions.append(action)
    assert [a.source for a in actions] == [Source.POLICY] * 8 + [Source.HOLD] * 2
    assert not actions[-1].applied[:6].any() and actions[-1].applied[6] == -1.0
    assert state_of(core) is SafetyState.HOLD and core.status.faults & Fault.POLICY_LATE
    assert "policy" in core.status.detail
    now = START + 10 * DT
    core.on_state(state(now), now)
    assert (
        core.on_chunk(chunk(session_id="new", base_step=10, stamp_ns=now), now).result is AckResult.ACCEPTED
    )
    action = core.tick(now)
    assert (
        action is not None
        and action.source is Source.POLICY
        and action.step == 10
        and state_of(core) is SafetyState.ARMED
    )


def test_a_silent_policy_shows_although_simulated_time_stands_still() -> None:
    """The watchdog runs on a steady clock: HOLD with a sentence after policy_timeout."""
    core = armed(policy_timeout=1.0)
    core.on_wall(0)
    core.on_wall(500_000_000)
    assert state_of(core) is SafetyState.ARMED
    core.on_wall(2_100_000_000)
    core.on_wall(4_200_000_000)
    assert state_of(core) is SafetyState.HOLD and core.status.faults & Fault.POLICY_LATE


def test_a_second_publisher_stops_the_arm() -> None:
    """Two voices are never obeyed."""
    core = armed()
    core.on_chunk(chunk(), START)
    core.on_publisher_count(2)
    assert core.tick(START) is None and state_of(core) is SafetyState.HOLD
    assert core.status.faults & Fault.MULTIPLE_PUBLISHERS


def test_an_exception_latches_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the code did not expect ends in FAULT, and only clear_fault and arming lead back."""
    core = armed()
    core.on_chunk(chunk(), START)
    with pytest.raises(AttributeError):
        core.on_state(None, START)  # type: ignore[arg-type]
    assert state_of(core) is SafetyState.FAULT and core.tick(START) is None
    assert not core.arm()[0]
    core.clear_fault()
    assert state_of(core) is SafetyState.DISARMED and core.arm()[0]


def test_a_human_wins_at_once_and_the_policy_waits_for_the_release() -> None:
    """Teleop with the deadman pressed replaces the chunk; chunks are refused until it is let go."""
    core = armed(pacing=Pacing.TIMER, teleop_release=0.5)
    core.on_chunk(chunk(), START)
    core.on_deadman(True, START)
    core.on_teleop(np.array([0.1, 0, 0, 0, 0, 0]), -1.0, START)
    action = core.tick(START)
    assert action is not None and action.source is Source.TELEOP
    assert action.applied[0] == pytest.approx(0.1 * 0.05)
    assert core.on_chunk(chunk(seq=1), START).result is AckResult.TELEOP_ACTIVE


numbers = hnp.arrays(np.float32, (3, 8, 7), elements=st.floats(width=32, allow_nan=True, allow_infinity=True))


@settings(max_examples=60, deadline=None)
@given(data=numbers, x=st.floats(0.0, 1.2), z=st.floats(-0.1, 1.0))
def test_whatever_is_sent_what_is_applied_is_finite_and_within_limits(
    data: np.ndarray, x: float, z: float
) -> None:
    """For any chunk, NaN and infinities included, and any pose."""
    core = armed()
    limits = core.config
    core.on_state(state(START + DT, (x, 0.0, z)), START + DT)
    core.on_episode(episode("f", START + DT))
    core.on_chunk(chunk(data=data, episode_id="f", session_id="f", stamp_ns=START + DT), START + DT)
    action = core.tick(START + DT)
    if action is not None:
        assert np.isfinite(action.applied).all()
        assert np.linalg.norm(action.applied[:3]) <= limits.translation_limit * 1.001
        assert np.linalg.norm(action.applied[3:6]) <= limits.rotation_limit * 1.001
        assert abs(action.applied[6]) <= 1.0


events = st.lists(st.sampled_from(["state", "same", "chunk", "episode", "tick"]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(order=events)
def test_no_order_of_events_makes_two_actions_of_one_step(order: list[str]) -> None:
    """Arrival order never matters for the rule: one control step, one action."""
    core = armed()
    now, seq = START, 0
    sent: dict[int, AppliedAction] = {}
    for event in order:
        match event:
            case "state":
                now += DT
                core.on_state(state(now), now)
            case "same":
                core.on_state(state(now), now)
            case "chunk":
                core.on_chunk(chunk(seq=seq, stamp_ns=now), now)
                seq += 1
            case "episode":
                core.on_episode(episode())
        action = core.tick(now)
        if action is not None:
            assert sent.setdefault(action.step, action) is action
