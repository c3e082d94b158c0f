# SPDX-License-Identifier: Apache-2.0
"""A world that does not wait, with a known delay: what is late, what is refused, and that clocks do not matter."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.episode.inprocess import Stage
from physgen_bringup.evaluation.delays import (
    DelayPoint,
    delay_steps,
    delayed,
    parse_delays,
    sweep_specs,
    write_sweep,
)
from physgen_bringup.results.results import EpisodeResult, Evaluation
from physgen_control.errors import UserError
from physgen_control.types import AppliedAction, Source

MAX_STEPS = 40


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", tasks=("FakePush-v0",))


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """One world and one policy for all tests: sessions must not notice."""
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture
def spec(checkpoint: Path, tmp_path: Path) -> EvaluationSpec:
    return EvaluationSpec(
        sim="fake",
        task="FakePush-v0",
        policy="physgen",
        checkpoint=checkpoint,
        episodes=1,
        seed=0,
        max_steps=MAX_STEPS,
        out=tmp_path,
        workers=1,
    )


def sources_of(
    stage: Stage, spec: EvaluationSpec, seed: int = 0
) -> tuple[EpisodeResult, list[Source], list[AppliedAction]]:
    session = stage.session(spec)
    result, _ = session.run_episode(seed)
    return result, [action.source for action in session.actions], session.actions


@pytest.mark.parametrize("delay_ms", [0, 50, 150, 400])
def test_sync_holds_for_exactly_the_delay_before_every_chunk(stage, spec, tmp_path, delay_ms):
    result, sources, _ = sources_of(stage, delayed(spec, delay_ms, "sync", tmp_path))
    late = delay_steps(delay_ms)
    pattern = ([Source.HOLD] * late + [Source.POLICY] * 8) * MAX_STEPS
    assert sources == pattern[: result.steps]
    assert result.stale_steps == sources.count(Source.HOLD)


@pytest.mark.parametrize("delay_ms", [50, 150, 200])
def test_pipelined_hides_a_delay_behind_the_chunk_that_still_plays(stage, spec, tmp_path, delay_ms):
    """After the first chunk nobody waits, and actions are those of the control step they were meant for."""
    late = delay_steps(delay_ms)
    _, sources, actions = sources_of(stage, delayed(spec, delay_ms, "pipelined", tmp_path))
    assert sources[:late] == [Source.HOLD] * late
    assert set(sources[late:]) == {Source.POLICY}
    assert all(action.step_index == action.step - action.base_step for action in actions[late:])


def test_pipelined_cannot_hide_a_delay_longer_than_a_chunk(stage, spec, tmp_path):
    """Every chunk has expired when it comes: the arm holds, and the result says so."""
    result, sources, _ = sources_of(stage, delayed(spec, 400, "pipelined", tmp_path))
    assert set(sources) == {Source.HOLD}
    assert result.stale_steps == result.steps == MAX_STEPS


def test_without_delay_realtime_equals_lockstep(stage, spec, tmp_path):
    lockstep, _, waited = sources_of(stage, spec, seed=3)
    realtime, _, raced = sources_of(stage, delayed(spec, 0, "sync", tmp_path), seed=3)
    assert replace(lockstep, wall_s=0) == replace(realtime, wall_s=0)
    for ours, theirs in zip(waited, raced, strict=True):
        np.testing.assert_array_equal(ours.applied, theirs.applied)


@pytest.mark.parametrize("execution", ["sync", "pipelined"])
def test_a_slow_machine_changes_nothing(stage, spec, tmp_path, execution, monkeypatch):
    """The delay is counted in the world's steps: inference may take any time."""
    late = delayed(spec, 150, execution, tmp_path)
    _, _, quick = sources_of(stage, late, seed=1)
    session = stage.session(late)
    clock = iter(range(10**6))
    monkeypatch.setattr("physgen_bringup.episode.inprocess.time.monotonic", lambda: 3600.0 * next(clock))
    session.run_episode(1)
    for ours, theirs in zip(quick, session.actions, strict=True):
        np.testing.assert_array_equal(ours.applied, theirs.applied)


def test_the_expert_copes_with_delay(stage, spec, tmp_path):
    expert = replace(spec, policy="expert", checkpoint=None, max_steps=0)
    result, sources, _ = sources_of(stage, delayed(expert, 100, "sync", tmp_path))
    assert result.success
    assert sources[:3] == [Source.HOLD, Source.HOLD, Source.POLICY]


def test_delays_are_read_as_lists_and_series():
    assert parse_delays("0,50,...,250") == [0, 50, 100, 150, 200, 250]
    assert parse_delays("300, 0") == [0, 300]
    assert [delay_steps(ms) for ms in (0, 1, 50, 51, 500)] == [0, 1, 1, 2, 10]
    for text in ("x", "0,...,5", "-1", "50,0,...,100", "9999"):
        with pytest.raises(UserError, match="--delays"):
            parse_delays(text)


def test_a_sweep_becomes_a_table_a_file_and_a_plot(spec, tmp_path):
    points = []
    for (execution, ms), late in sweep_specs(spec, [0, 100], ["sync", "pipelined"]).items():
        evaluation = Evaluation(late.protocol())
        for seed in range(4):
            evaluation.add(
                EpisodeResult(
                    seed=seed,
                    success=seed * 50 >= ms,
                    steps=10,
                    crashed=False,
                    error="",
                    wall_s=1.0,
                    stale_steps=ms // 50,
                    limited_steps=0,
                )
            )
        points.append(DelayPoint(ms, execution, evaluation))
    plot = tmp_path / "images" / "delays.png"
    table = write_sweep(tmp_path, points, plot)
    assert "| sync | 100 ms | 2 of 4 | 50 % |" in table
    values = json.loads((tmp_path / "delays.json").read_text())
    assert [row["lead_steps"] for row in values["points"]] == [0, 0, 1, 2]
    assert values["points"][1]["stale_share"] == 0.2
    assert plot.read_bytes().startswith(b"\x89PNG")
