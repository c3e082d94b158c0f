# SPDX-License-Identifier: Apache-2.0
"""Simulated time and which action a step takes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physgen_control.types import AppliedAction, Pose, Source
from physgen_sim_bridge.bridge.pacing import ActionMailbox, hold_action
from physgen_sim_bridge.clock import RESET_GAP_NS, EpisodeClock

DT = 50_000_000


@given(st.lists(st.integers(0, 50), max_size=6))
def test_clock_is_monotonic_over_episodes(lengths):
    """Stamps grow by dt within an episode and by at least a second over a reset."""
    clock = EpisodeClock(DT)
    newest = clock.now_ns
    for length in lengths:
        start = clock.start()
        assert start >= newest + RESET_GAP_NS
        assert [clock.stamp(n) - start for n in range(length + 1)] == [n * DT for n in range(length + 1)]
        newest = clock.now_ns


def test_clock_refuses_to_go_back():
    """An earlier step is a bug of the caller."""
    clock = EpisodeClock(DT)
    clock.start()
    clock.stamp(5)
    with pytest.raises(ValueError, match="never goes back"):
        clock.stamp(4)


def action(step: int, episode: str = "e", executed: bool = True) -> AppliedAction:
    values = np.full(7, step, dtype=np.float32)
    return AppliedAction(
        stamp_ns=0, state_stamp_ns=0, session_id="", episode_id=episode, step=step, chunk_seq=0, base_step=0,
        step_index=0, chunk_index=0, source=Source.POLICY, executed=executed, raw=values, applied=values,
        target_pose=Pose(position=np.zeros(3), quaternion=np.array([0.0, 0, 0, 1])), gripper_width=0.0,
    )  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["e", "f"]), st.booleans()), max_size=30))
def test_lockstep_takes_every_step_once_in_order(offers):
    """For any order of duplicates, late, early and foreign actions."""
    mailbox = ActionMailbox()
    mailbox.start("e", exact=True)
    taken = []
    for step, episode, executed in offers:
        mailbox.offer(action(step, episode, executed))
        result = mailbox.take(0.0)
        if result is not None:
            taken.append(result.step)
    assert taken == list(range(len(taken)))


def test_realtime_takes_the_newest():
    """Skipped steps are not made up for."""
    mailbox = ActionMailbox()
    mailbox.start("e", exact=False)
    assert mailbox.offer(action(0)) and mailbox.offer(action(3))
    newest = mailbox.take(0.0)
    assert newest is not None and newest.step == 3
    assert not mailbox.offer(action(3))
    assert mailbox.take(0.0) is None


def test_interruption_wakes_and_is_forgotten_by_the_next_start():
    """Without waiting for the timeout."""
    mailbox = ActionMailbox()
    mailbox.start("e", exact=True)
    mailbox.interrupt()
    assert mailbox.take(60.0) is None
    mailbox.start("g", exact=True)
    assert mailbox.offer(action(0, "g")) and mailbox.take(0.0) is not None


def test_hold_keeps_the_gripper():
    """Zero motion."""
    np.testing.assert_array_equal(hold_action(-1.0), np.array([0, 0, 0, 0, 0, 0, -1], dtype=np.float32))
