# SPDX-License-Identifier: Apache-2.0
"""The rule that picks images and actions for the next chunk: same result for any order of arrival."""

from typing import Any

import numpy as np
import pytest
from gate_rig import DT, EPISODE, START, applied, expect, gate, lockstep_events, show
from hypothesis import given, settings
from hypothesis import strategies as st

from physgen_control.types import Source
from physgen_policy.contract.observation import GateConfig, ObservationGate, PolicyObservation, Waiting


@settings(max_examples=150, deadline=None)
@given(data=st.data(), execute_steps=st.integers(1, 8))
def test_lockstep_observations_do_not_depend_on_arrival_order(data, execute_steps: int) -> None:
    """Any order across and within topics, repeats included: same images, same actions."""
    g = ObservationGate(GateConfig(step_period_ns=DT, execute_steps=execute_steps, queue_size=16))
    observations = []
    for batch in lockstep_events(3, execute_steps):
        repeats = data.draw(st.lists(st.sampled_from(batch), max_size=4))
        last_frames = {"fixed": 0, "wrist": 0}
        for kind, value in data.draw(st.permutations(batch + [r for r in repeats if r[0] != "start"])):
            if kind == "start":
                g.start_episode(EPISODE, "s")
            elif kind == "action":
                g.put_action(value)
            else:
                g.put_frame(kind, value)
                last_frames[kind] = value.stamp_ns
            result = g.take(START + 10**12)
            if isinstance(result, PolicyObservation):
                observations.append(result)
                g.chunk_sent()
    assert [o.base_step for o in observations] == [k * execute_steps for k in range(4)]
    assert [o.frames.stamp_ns for o in observations] == [START + k * execute_steps * DT for k in range(4)]
    assert [o.first for o in observations] == [True, False, False, False]
    for k, observation in enumerate(observations[1:]):
        steps = np.arange(k * execute_steps, (k + 1) * execute_steps)
        assert observation.past_actions.dtype == np.float32
        assert observation.past_actions.shape == (8, 7)
        np.testing.assert_array_equal(observation.past_actions[:execute_steps, 0], steps + 1)
        rest = observation.past_actions[execute_steps:]
        assert not rest[:, :6].any()
        assert (rest[:, 6] == observation.past_actions[execute_steps - 1, 6]).all()


@settings(max_examples=100, deadline=None)
@given(data=st.data(), holds=st.integers(0, 12), jitter=st.integers(-DT // 8, DT // 8))
def test_realtime_holds_shift_the_base_but_never_enter_the_context(data, holds: int, jitter: int) -> None:
    """Hold steps during inference move base_step on; the context is exactly the eight own actions."""
    g = gate(lockstep=False)
    show(g, 0)
    assert expect(g, 0).base_step == 0
    for step in range(holds):
        g.put_action(applied(step, 0, Source.HOLD))
        show(g, step + 1, jitter)
    g.chunk_sent()
    for step in range(holds, holds + 8):
        assert isinstance(g.take(START + (step + 1) * DT), Waiting)
        g.put_action(applied(step, 0))
    show(g, holds + 7, jitter)
    assert isinstance(g.take(START + 10**12), Waiting), "the image before the last action's effect was taken"
    show(g, holds + 8, jitter)
    observation = expect(g, 10**3)
    assert observation.base_step == holds + 8
    np.testing.assert_array_equal(observation.past_actions[:, 0], np.arange(holds + 1, holds + 9))


def test_late_clock_does_not_let_an_old_image_through() -> None:
    """A controller may stamp an action before it heard of the new time: the state's stamp counts too."""
    g = gate()
    show(g, 0)
    expect(g, 0)
    for step in range(8):
        g.put_action(applied(step, 0, stamp_ns=START + max(0, step - 1) * DT))
    show(g, 7)
    assert isinstance(g.take(START + 10**12), Waiting)
    show(g, 8)
    assert expect(g, 8).base_step == 8


def test_human_actions_enter_the_context_and_count() -> None:
    """After a takeover the policy continues from eight human actions."""
    g = gate(lockstep=False)
    show(g, 0)
    expect(g, 0)
    g.chunk_sent()
    for step in range(3):
        g.put_action(applied(step, 0))
    for step in range(3, 8):
        g.put_action(applied(step, 0, Source.TELEOP))
    show(g, 8)
    observation = expect(g, 8)
    np.testing.assert_array_equal(observation.past_actions[:, 0], np.arange(1, 9))


def test_interrupted_chunk_is_replaced_and_its_part_padded() -> None:
    """A chunk that stopped (refused, taken over) must not block the policy for ever."""
    g = gate(lockstep=False)
    show(g, 0)
    expect(g, 0)
    g.chunk_sent()
    for step in range(3):
        g.put_action(applied(step, 0))
    g.put_action(applied(3, 0, Source.HOLD))
    show(g, 4)
    assert isinstance(g.take(START + 10**12), Waiting)
    g.put_action(applied(4, 0, Source.HOLD))
    show(g, 5)
    observation = expect(g, 5)
    assert observation.base_step == 5
    np.testing.assert_array_equal(observation.past_actions[:, 0], [1, 2, 3, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(observation.past_actions[:, 6], [1, -1, 1, 1, 1, 1, 1, 1])


def test_chunk_that_never_started_is_asked_again_only_after_it_was_sent() -> None:
    """Slow inference must not be restarted by its own delay; a lost chunk must be."""
    g = gate(lockstep=False, abandon_steps=4)
    show(g, 0)
    expect(g, 0)
    for step in range(10):
        g.put_action(applied(step, 0, Source.HOLD))
    show(g, 10)
    assert isinstance(g.take(START + 10**12), Waiting), "inference was running"
    g.chunk_sent()
    for step in range(10, 14):
        assert isinstance(g.take(START + 10**12), Waiting)
        g.put_action(applied(step, 0, Source.HOLD))
    show(g, 14)
    assert expect(g, 14).base_step == 14


def test_actions_from_before_the_chunk_was_sent_do_not_count_against_it() -> None:
    """A backlog of hold steps heard of after sending once made the policy ask again at once."""
    g = gate(lockstep=False, abandon_steps=4)
    show(g, 0)
    expect(g, 0)
    g.chunk_sent(START + 10 * DT)
    for step in range(10):
        g.put_action(applied(step, 0, Source.HOLD))
    show(g, 10)
    assert isinstance(g.take(START + 10**12), Waiting)
    for step in range(10, 14):
        g.put_action(applied(step, 0, Source.HOLD))
    show(g, 14)
    assert expect(g, 14).base_step == 14


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("the chunk never started", {"abandon_steps": 4}),
        ("the chunk was interrupted", {"interrupt_steps": 2}),
        ("pipelined", {"lead_steps": 2, "execute_steps": 4}),
    ],
)
@pytest.mark.parametrize("late_steps", [0.0, 0.9, 1.5, 3.0])
def test_images_that_come_later_than_the_next_action_are_taken(why, changes, late_steps: float) -> None:
    """An arm that holds makes a step every period: what is waited for must not move on with it."""
    g = gate(lockstep=False, **changes)
    show(g, 0)
    expect(g, 0.1)
    g.chunk_sent(START)
    shown, taken = 0, None
    for step in range(40):
        own = why != "the chunk never started" and step < 2
        g.put_action(applied(step, 0, Source.POLICY if own else Source.HOLD))
        while shown + 1 + late_steps <= step:
            shown += 1
            show(g, shown)
            observation = g.take(START + step * DT)
            if isinstance(observation, PolicyObservation):
                taken = step
                break
        if taken is not None:
            break
    assert taken is not None and taken < 10, f"no observation within 10 steps: {g.take(START + 40 * DT)}"


def test_pipelined_asks_early_and_takes_the_last_eight_actions() -> None:
    """With lead_steps = 3 the next observation is due after five steps, once the previous chunk is out."""
    g = gate(lockstep=False, lead_steps=3)
    show(g, 0)
    expect(g, 0)
    for step in range(5):
        g.put_action(applied(step, 0))
    show(g, 5)
    assert isinstance(g.take(START + 5 * DT), Waiting), "one inference at a time"
    g.chunk_sent()
    second = expect(g, 5)
    assert second.base_step == 5
    np.testing.assert_array_equal(second.past_actions[:, 0], [1, 2, 3, 4, 5, 0, 0, 0])
    g.chunk_sent()
    for step in range(5, 10):
        g.put_action(applied(step, 0 if step < 8 else 5))
    show(g, 10)
    third = expect(g, 10)
    assert third.base_step == 10
    np.testing.assert_array_equal(third.past_actions[:, 0], np.arange(3, 11))


def test_conversion_yields_every_step_of_a_recording() -> None:
    """With execute_steps=1 and any_session the same class gives the image pair of every control step."""
    g = ObservationGate(GateConfig(step_period_ns=DT, execute_steps=1, any_session=True))
    g.start_episode(EPISODE)
    seen = []
    for step in range(6):
        show(g, step)
        seen.append(expect(g, step).base_step)
        g.put_action(applied(step, 0, Source.TELEOP if step > 3 else Source.POLICY, session="x"))
    assert seen == list(range(6))


@pytest.mark.parametrize(
    "changes", [{"step_period_ns": 0}, {"execute_steps": 9}, {"execute_steps": 0}, {"lead_steps": 8}]
)
def test_bad_configuration_is_refused(changes: dict[str, Any]) -> None:
    """Impossible settings end before an episode starts."""
    with pytest.raises(ValueError):
        GateConfig(**({"step_period_ns": DT} | changes))
