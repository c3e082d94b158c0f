# SPDX-License-Identifier: Apache-2.0
"""The evaluation benchmark: what it counts, and its sentences; its figures are never asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from physgen_bringup.bench.evaluation import steps_per_second
from physgen_bringup.commands import bench_eval
from physgen_control.errors import UserError


def test_the_rate_leaves_start_up_out() -> None:
    """Two workers needed 20 s and 22 s to start; from then on they did 10 steps per second each."""
    ends = [(20.0, 10), (22.0, 10), (21.0, 10), (23.0, 10), (22.0, 10), (24.0, 10)]
    assert steps_per_second(ends[::-1], workers=2) == pytest.approx(40 / 3)


def test_too_few_episodes_are_refused() -> None:
    with pytest.raises(UserError, match="at least 4 episodes, got 3"):
        steps_per_second([(1.0, 1)] * 3, workers=2)


def test_a_short_run_on_the_fake_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real workers, one round each way."""
    out = tmp_path / "bench.json"
    words = ["--sim", "fake", "--task", "FakeReach-v0", "--policy", "expert", "--episodes", "4"]
    assert bench_eval.main([*words, "--workers", "2", "--rounds", "1", "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert min(result["bare"], result["serial"], result["parallel"]) > 0
    assert "2 workers / 1 worker" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--episodes", "3", "--workers", "2"], ["--rounds", "0"]])
def test_bad_input_is_a_sentence(words: list[str]) -> None:
    with pytest.raises(UserError, match="at least one round"):
        bench_eval.main(words)
