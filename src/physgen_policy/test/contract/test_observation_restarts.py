# SPDX-License-Identifier: Apache-2.0
"""The observation gate after what went wrong: failed inference, restarts, lost actions, other episodes and sessions."""

from dataclasses import replace

import numpy as np
from gate_rig import DT, EPISODE, START, applied, expect, gate, show

from physgen_control.types import Source
from physgen_policy.contract.observation import Waiting


def test_failed_inference_keeps_the_context_and_asks_again() -> None:
    """The actions of the failed observation condition the next one."""
    g = gate(lockstep=False)
    show(g, 0)
    expect(g, 0)
    g.chunk_sent()
    for step in range(8):
        g.put_action(applied(step, 0))
    show(g, 8)
    expected = expect(g, 8).past_actions
    g.chunk_failed()
    g.put_action(applied(8, 8, Source.HOLD))
    show(g, 9)
    retried = expect(g, 9)
    assert retried.base_step == 9
    assert not retried.first
    np.testing.assert_array_equal(retried.past_actions, expected)


def test_failed_first_inference_is_still_first() -> None:
    """Begin-of-Action stays until a chunk was really produced."""
    g = gate(lockstep=False)
    show(g, 0)
    assert expect(g, 0).first
    g.chunk_failed()
    show(g, 1)
    assert expect(g, 1).first


def test_restart_in_lockstep_finds_its_step_from_stamps() -> None:
    """A killed policy comes back while the world waits at step 13: nobody else will tell it the step."""
    g = gate()
    show(g, 13)
    observation = expect(g, 13)
    assert observation.first
    assert observation.base_step == 13
    g.chunk_sent()
    for step in range(13, 21):
        g.put_action(applied(step, 13))
    show(g, 21)
    assert expect(g, 21).base_step == 21


def test_restart_in_realtime_waits_for_an_applied_action() -> None:
    """The controller counts the steps: a restarted policy listens before it speaks, but not for ever."""
    g = gate(lockstep=False)
    show(g, 40)
    waiting = g.take(START + 40 * DT)
    assert isinstance(waiting, Waiting)
    assert "joined a running episode" in waiting.reason
    for step in range(35, 40):
        g.put_action(applied(step, 30, session="old"))
    observation = expect(g, 40)
    assert observation.base_step == 40
    assert observation.first
    silent = gate(lockstep=False)
    show(silent, 40)
    assert isinstance(silent.take(START + 40 * DT), Waiting)
    assert expect(silent, 51).base_step == 40


def test_actions_of_another_session_do_not_end_our_chunk() -> None:
    """After a restart the old session's chunk may still be running: it is context, not progress."""
    g = gate(lockstep=False)
    show(g, 0)
    expect(g, 0)
    g.chunk_sent()
    for step in range(8):
        g.put_action(applied(step, 0, session="old"))
    show(g, 8)
    assert isinstance(g.take(START + 10**12), Waiting)


def test_lost_action_is_skipped_after_a_few_newer_ones() -> None:
    """A gap delays the policy by a few steps, never for ever."""
    g = gate(lockstep=False)
    show(g, 0)
    expect(g, 0)
    g.chunk_sent()
    for step in range(14):
        if step != 4:
            g.put_action(applied(step, 0) if step < 9 else applied(step, 0, Source.HOLD))
    show(g, 14)
    observation = expect(g, 14)
    np.testing.assert_array_equal(observation.past_actions[:, 0], [1, 2, 3, 4, 6, 7, 8, 9])


def test_episodes_do_not_mix() -> None:
    """What belongs to the previous episode is gone; the next may come before its announcement."""
    g = gate()
    show(g, 0)
    expect(g, 0)
    g.stop_episode()
    assert isinstance(g.take(START), Waiting)
    later = replace(EPISODE, episode_id="f", start_ns=START + 100 * DT)
    show(g, 99)
    show(g, 100)
    g.start_episode(later, "t")
    observation = expect(g, 100)
    assert (observation.episode_id, observation.base_step, observation.first) == ("f", 0, True)
    g.put_action(applied(0, 0))
    assert isinstance(g.take(START + 10**12), Waiting)


def test_restarted_world_with_an_earlier_clock_starts_again() -> None:
    """Time that went back must not leave the future of the old world in the queues."""
    g = gate(queue_size=2)
    for n in range(50, 53):
        show(g, n)
    earlier = replace(EPISODE, episode_id="g", start_ns=START - 20 * DT)
    g.start_episode(earlier, "t")
    show(g, -20)
    assert expect(g, -20).base_step == 0
