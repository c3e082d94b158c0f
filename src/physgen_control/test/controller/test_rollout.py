# SPDX-License-Identifier: Apache-2.0
"""When a rollout is over, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from value_strategies import make_action, make_episode

from physgen_control.controller.rollout import Limits, Rollout, Termination
from physgen_control.types import AckResult, ChunkAck, EpisodePhase, Source

EPISODE = make_episode()
NO_LIMITS = Limits(max_steps=0, max_duration_s=0.0)


def rollout(limits: Limits = NO_LIMITS) -> Rollout:
    return Rollout(EPISODE.episode_id, limits, 100.0)


@given(st.floats(100.0, 1e9), st.integers(0, 10_000))
def test_without_limits_only_its_episode_ends_it(now_s: float, step: int) -> None:
    run = rollout()
    run.on_applied(make_action(EPISODE, step))
    assert run.verdict(now_s) is None
    assert run.steps == step + 1
    run.on_episode(replace(EPISODE, phase=EpisodePhase.SUCCESS))
    assert run.verdict(now_s) is Termination.COMPLETED


@given(st.integers(1, 50), st.lists(st.integers(0, 80), max_size=60))
def test_the_step_limit_is_the_number_of_steps(limit: int, steps: list[int]) -> None:
    run = rollout(Limits(max_steps=limit, max_duration_s=0.0))
    for step in steps:
        run.on_applied(make_action(EPISODE, step))
    over = max(steps, default=-1) + 1 >= limit
    assert (run.verdict(100.0) is Termination.STEP_LIMIT) == over


def test_time_ends_it_too() -> None:
    run = rollout(Limits(max_steps=0, max_duration_s=2.0))
    assert run.verdict(101.9) is None
    assert run.verdict(102.0) is Termination.TIMEOUT


def test_other_episodes_do_not_count_and_one_that_begins_ends_it() -> None:
    run = rollout()
    other = make_episode(episode_id="other")
    run.on_applied(make_action(other, 70))
    run.on_episode(replace(other, phase=EpisodePhase.SUCCESS))
    assert run.steps == 0
    assert run.verdict(100.0) is None
    run.on_episode(replace(other, phase=EpisodePhase.RUNNING))
    assert run.verdict(100.0) is Termination.ABORTED


def test_an_episode_that_somebody_discards_is_aborted() -> None:
    for phase in (EpisodePhase.DISCARDED, EpisodePhase.CRASHED):
        run = rollout()
        run.on_episode(replace(EPISODE, phase=phase))
        assert run.verdict(100.0) is Termination.ABORTED


def test_latency_is_the_policys() -> None:
    run = rollout()
    run.on_applied(replace(make_action(EPISODE, 0), latency=0.25))
    run.on_applied(replace(make_action(EPISODE, 1), latency=0.0, source=Source.HOLD))
    assert run.latency_s == 0.25


@given(st.permutations([0, 1, 2, "end"]))
def test_the_steps_are_those_that_the_world_took_whenever_they_are_heard_of(order: list[object]) -> None:
    """The controller answers the last observation too, and steps may be heard of after the end."""
    run = rollout()
    for event in order:
        if event == "end":
            run.on_episode(replace(EPISODE, phase=EpisodePhase.FAILURE, step=2))
        else:
            run.on_applied(make_action(EPISODE, int(str(event))))
    assert run.steps == 2
    assert run.verdict(100.0) is Termination.COMPLETED


def test_an_episode_before_it_does_not_replace_it_and_one_after_it_does() -> None:
    other = replace(EPISODE, episode_id="other")
    run = rollout()
    run.on_early_episode(other)
    assert run.verdict(0.0) is None
    run.on_early_episode(EPISODE)
    run.on_early_episode(other)
    assert run.verdict(0.0) is Termination.ABORTED


def test_the_newest_answer_to_a_chunk_of_its_episode_is_kept() -> None:
    run = rollout()
    assert run.ack is None
    own = ChunkAck(
        stamp_ns=1,
        session_id="s",
        episode_id=EPISODE.episode_id,
        chunk_seq=3,
        result=AckResult.ACCEPTED,
        detail="",
    )
    run.on_ack(own)
    run.on_ack(replace(own, episode_id="other", chunk_seq=4))
    assert run.ack is own


def test_why_it_ended_is_said_in_the_numbers_of_the_action() -> None:
    action = pytest.importorskip("physgen_msgs.action")
    result = action.RunPolicy.Result
    assert {reason.name: int(reason) for reason in Termination} == {
        reason.name: getattr(result, reason.name) for reason in Termination
    }
