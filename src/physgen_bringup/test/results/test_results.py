# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from physgen_bringup.results import results
from physgen_bringup.results.provenance import describe_environment
from physgen_bringup.results.results import EpisodeResult, Evaluation, Protocol, ResultsError

PROTOCOL = Protocol(
    suite="fake",
    task="FakePush-v0",
    policy="expert",
    pace="lockstep",
    execution="sync",
    control_mode="ee",
    max_steps=100,
    success_rule="the block is at the goal",
    transport="in-process",
)


def episode(seed: int, success: bool = True, crashed: bool = False) -> EpisodeResult:
    return EpisodeResult(
        seed=seed,
        success=success,
        steps=10,
        crashed=crashed,
        error="the simulator died" if crashed else "",
        wall_s=0.5,
        stale_steps=1,
        limited_steps=2,
    )


def test_wilson_interval_equals_published_values():
    """Values from Brown, Cai, DasGupta (2001)-style tables, computed independently."""
    low, high = results.wilson_interval(8, 10)
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert results.wilson_interval(0, 0) == (0.0, 1.0)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_interval_is_that_of_scipy(successes, n):
    """SciPy takes longer to import than a results file to write."""
    successes = min(successes, n)
    theirs = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert results.wilson_interval(successes, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_interval_contains_the_rate(successes, n):
    successes = min(successes, n)
    low, high = results.wilson_interval(successes, n)
    assert 0.0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1.0


def test_a_crash_is_neither_success_nor_failure():
    summary = results.summarize([episode(0), episode(1, success=False), episode(2, False, crashed=True)])
    assert (summary["n"], summary["successes"], summary["crashes"]) == (2, 1, 1)
    assert summary["success_rate"] == 0.5
    assert summary["failed_seeds"] == [1]
    assert summary["crashed_seeds"] == [2]


def test_written_results_read_back_and_hold_the_documented_keys(tmp_path):
    evaluation = Evaluation(PROTOCOL, environment=describe_environment())
    evaluation.add(episode(0))
    evaluation.latencies.observation_to_chunk += [1.0, 2.0, 3.0]
    values = json.loads(evaluation.write(tmp_path).read_text())
    assert values["format"] == 1
    assert {"suite", "task", "policy", "checkpoint", "pace", "execution", "control_mode", "max_steps"} <= set(
        values
    )
    assert {"success_rule", "episodes", "summary", "latency_ms", "versions", "machine", "git"} <= set(values)
    assert {"seed", "success", "steps", "crashed", "error", "wall_s", "stale_steps", "limited_steps"} <= set(
        values["episodes"][0]
    )
    assert {"n", "successes", "success_rate", "wilson_95", "crashes"} <= set(values["summary"])
    assert values["latency_ms"]["observation_to_chunk"]["p50"] == 2.0
    again = results.read(tmp_path / "results.json")
    assert again.protocol == PROTOCOL
    assert again.episodes == evaluation.episodes
    assert "| 0 | success | 10 |" in (tmp_path / "results.md").read_text()


def test_an_interrupted_evaluation_continues_and_repeats_crashes(tmp_path):
    evaluation = Evaluation(PROTOCOL, environment=describe_environment())
    evaluation.add(episode(0))
    evaluation.add(episode(1, False, crashed=True))
    evaluation.write(tmp_path)
    continued = results.open_evaluation(tmp_path, PROTOCOL)
    assert continued.missing(range(4)) == [1, 2, 3]
    continued.add(episode(1))
    assert [e.seed for e in continued.episodes] == [0, 1]


def test_results_of_another_protocol_are_not_mixed(tmp_path):
    Evaluation(PROTOCOL, environment=describe_environment()).write(tmp_path)
    with pytest.raises(ResultsError, match="max_steps 100, but this run has 50"):
        results.open_evaluation(tmp_path, replace(PROTOCOL, max_steps=50))


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', '{"format": 2}', "not json"])
def test_a_broken_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(ResultsError) as caught:
        results.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
