# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the viewer: how it compares, and its sentences; its figures are never asserted."""

from __future__ import annotations

import json

import pytest

from physgen_bringup.bench.viewer import IMAGINING, LOOKING, WITHOUT, ViewerBenchmark, table
from physgen_bringup.commands import bench_viewer
from physgen_control.errors import UserError


def test_a_share_compares_what_ran_side_by_side():
    """A machine that slows down between rounds does not count: each round is its own comparison."""
    result = ViewerBenchmark(
        task="t",
        policy="p",
        episodes=1,
        rounds={WITHOUT: [10.0, 100.0, 20.0], LOOKING: [11.0, 103.0, 20.2], IMAGINING: [20.0, 200.0, 40.0]},
    )
    assert result.share(LOOKING) == pytest.approx(0.03)
    assert result.share(IMAGINING) == pytest.approx(1.0)
    assert "+3.0 %" in table(result)


def test_no_round_is_a_sentence(monkeypatch):
    monkeypatch.setattr("physgen_bringup.graph.checks.is_installed", lambda: True)
    with pytest.raises(UserError, match="at least one round"):
        bench_viewer.main(["--sim", "fake", "--policy", "expert", "--rounds", "0"])


@pytest.mark.slow
@pytest.mark.ros
def test_a_short_run_on_the_fake_world(tmp_path, capsys):
    """Three graphs, one after the other."""
    pytest.importorskip("rerun", reason="the viewer is not installed (./physgen setup --viewer)")
    out = tmp_path / "bench.json"
    words = ["--sim", "fake", "--policy", "expert", "--episodes", "1", "--rounds", "1", "--json", str(out)]
    assert bench_viewer.main(words) == 0
    assert set(json.loads(out.read_text())["shares"]) == {WITHOUT, LOOKING, IMAGINING}
    assert "observation to chunk" in capsys.readouterr().out
