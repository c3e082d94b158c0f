# SPDX-License-Identifier: Apache-2.0
"""Laws of the controller for any input in any order: finite, limited, one action per step, only HOLD without input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from controller_rig import PERIOD_NS, POSE, Rig, make_chunk, make_episode, make_state
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_control.controller_config import Execution, Pacing
from physgen_control.motion.limits import box_excess
from physgen_control.types import AppliedAction, EpisodePhase, Fault, Pose, SafetyState, Source

ROUNDING = 1 + 2e-6
ANY = st.floats()
ANY32 = st.floats(width=32)
# Within the limits, and up to twice beyond them: clipped, not refused.
CLIPPED32 = st.floats(-0.015625, 0.015625, width=32)
SMALL32 = st.floats(-0.0078125, 0.0078125, width=32)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.just(7))
TIMES = st.integers(0, 3 * PERIOD_NS)
AGES = st.sampled_from([0, 0, 0, PERIOD_NS, 20 * PERIOD_NS])
IDS = st.sampled_from(["e0", "e0", "e0", "e0", "e1", ""])
# Patient about ages, so that most scripts get something to play.
PATIENT: dict[str, Any] = {"max_state_age": 5.0, "max_observation_age": 5.0, "teleop_release": 0.1}


def arrays(shape: Any, elements: Any, dtype: Any = np.float64) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(dtype, shape, elements=elements)


chunk_data = st.one_of(
    arrays(SHAPES, SMALL32, np.float32),
    arrays(SHAPES, CLIPPED32, np.float32),
    arrays(SHAPES, ANY32, np.float32),
)
positions = st.one_of(*[st.just(POSE.position)] * 4, arrays(3, st.floats(-1, 1)), arrays(3, ANY))
quaternions = st.one_of(*[st.just(POSE.quaternion)] * 4, arrays(4, st.floats(-1, 1)), arrays(4, ANY))
states = st.tuples(st.just("state"), positions, quaternions, st.one_of(st.just(0.08), ANY), AGES)
chunks = st.tuples(
    st.just("chunk"),
    chunk_data,
    st.integers(0, 99),
    st.sampled_from(["s0", "s0", "s1"]),
    st.integers(0, 5),
    IDS,
    AGES,
)
teleops = st.tuples(st.just("teleop"), st.one_of(arrays(6, st.floats(-1, 1)), arrays(6, ANY)), ANY)
episodes = st.tuples(
    st.just("episode"),
    IDS,
    st.sampled_from([*[EpisodePhase.RUNNING] * 5, EpisodePhase.SUCCESS]),
)
operators = st.tuples(st.sampled_from([*["arm"] * 6, "hold", "disarm", "clear_fault"]))
deadman = st.tuples(st.just("deadman"), st.booleans())
publishers = st.tuples(st.just("publishers"), st.sampled_from([1, 1, 1, 0, 2]))
ticks = st.tuples(st.just("tick"), TIMES)
periods = st.tuples(st.just("period"))
common = [periods, periods, ticks, states, chunks]
rare = [teleops, deadman, episodes, operators, publishers]
events = st.lists(st.one_of(*common * 4, *rare), min_size=10, max_size=60)


def run(rig: Rig, script: list[tuple[Any, ...]]) -> list[AppliedAction]:
    """Feed events in order and tick after each, as the node does."""
    core = rig.core
    emitted: list[AppliedAction] = []
    for kind, *values in script:
        match kind:
            case "tick":
                rig.now_ns += values[0]
            case "period":
                rig.now_ns += PERIOD_NS
                rig.observe()
            case "state":
                position, quaternion, width, back = values
                pose = Pose(position=position, quaternion=quaternion)
                core.on_state(make_state(rig.now_ns - back, pose, width), rig.now_ns)
            case "chunk":
                data, seq, session, base, episode_id, age = values
                chunk = make_chunk(
                    rig.now_ns - age,
                    data=data,
                    chunk_seq=seq,
                    session_id=session,
                    base_step=base,
                    episode_id=episode_id,
                )
                core.on_chunk(chunk, rig.now_ns)
            case "teleop":
                core.on_teleop(values[0], values[1], rig.now_ns)
            case "deadman":
                core.on_deadman(values[0], rig.now_ns)
            case "episode":
                core.on_episode(make_episode(values[0], rig.now_ns, values[1]))
            case "publishers":
                core.on_publisher_count(values[0])
            case _:
                getattr(core, kind)()
        action = core.tick(rig.now_ns)
        if action is not None:
            emitted.append(action)
    return emitted


def assert_lawful(rig: Rig, action: AppliedAction) -> None:
    config = rig.config
    assert action.applied.dtype == np.float32 and np.all(np.isfinite(action.applied))
    motion = action.applied.astype(np.float64)
    assert np.linalg.norm(motion[:3]) <= config.translation_limit * ROUNDING
    assert np.linalg.norm(motion[3:6]) <= config.rotation_limit * ROUNDING
    assert action.applied[6] in (-1.0, 1.0)
    assert action.gripper_width in (config.gripper_open_width, config.gripper_closed_width)
    target = action.target_pose
    assert np.all(np.isfinite(target.position)) and np.all(np.isfinite(target.quaternion))
    start = target.position - motion[:3]
    scale = max(1.0, float(np.max(np.abs(start))))
    assert box_excess(target.position, start, config) <= 1e-6 * scale
    if action.source == Source.HOLD:
        assert not motion[:6].any()


@pytest.mark.parametrize("pacing", list(Pacing))
@given(script=events, pipelined=st.booleans(), bridge_steps=st.integers(0, 8))
@settings(max_examples=80)
def test_every_emitted_action_is_finite_and_limited(
    pacing: Pacing, script: list[tuple[Any, ...]], pipelined: bool, bridge_steps: int
) -> None:
    execution = Execution.PIPELINED if pipelined else Execution.SYNC
    rig = Rig(pacing=pacing, execution=execution, bridge_steps=bridge_steps, **PATIENT).begin()
    for action in run(rig, script):
        assert_lawful(rig, action)
    assert not rig.core.status.faults & Fault.INTERNAL


@pytest.mark.parametrize("pacing", list(Pacing))
@given(script=events)
@settings(max_examples=80)
def test_no_step_has_two_different_actions(pacing: Pacing, script: list[tuple[Any, ...]]) -> None:
    rig = Rig(pacing=pacing, **PATIENT).begin()
    seen: dict[tuple[str, int], AppliedAction] = {}
    for action in run(rig, script):
        if not action.episode_id:
            continue  # outside episodes steps are only counted
        key = (action.episode_id, action.step)
        # The very same object is sent again, so nothing in it can differ.
        assert seen.setdefault(key, action) is action


invalid_chunks = st.tuples(
    st.just("chunk"),
    arrays(SHAPES, st.sampled_from([float("nan"), float("inf"), 0.0]), np.float32).filter(
        lambda data: not np.all(np.isfinite(data))
    ),
    st.integers(0, 6),
    st.sampled_from(["s0", "s1"]),
    st.integers(0, 5),
    IDS,
    AGES,
)
invalid_teleops = st.tuples(
    st.just("teleop"), arrays(6, st.floats(-1, 1)), ANY
)  # the deadman is never pressed


@given(
    script=st.lists(
        st.one_of(periods, ticks, states, invalid_chunks, invalid_teleops, episodes, publishers),
        min_size=10,
        max_size=60,
    )
)
@settings(max_examples=80)
def test_with_nothing_valid_the_timer_only_holds(script: list[tuple[Any, ...]]) -> None:
    rig = Rig().begin()
    emitted = run(rig, script)
    for action in emitted:
        assert action.source == Source.HOLD
        assert not action.applied[:6].any()
    assert rig.core.state in (SafetyState.ARMED, SafetyState.HOLD)
