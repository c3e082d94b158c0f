# SPDX-License-Identifier: Apache-2.0
"""The ROC benchmark: its area, and a run of a real policy with random weights on the fake world."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.bench.anomaly import SCORES, roc_area
from physgen_bringup.commands import bench_anomaly
from physgen_control.errors import UserError
from physgen_sim_bridge.perturbation.event import KINDS

ERRORS = st.lists(st.integers(0, 9).map(float), min_size=1, max_size=20)


@given(ERRORS, ERRORS)
def test_the_area_is_mann_whitneys_statistic(normal: list[float], events: list[float]) -> None:
    """U over the number of pairs, with ties counted half; the other way round it is the rest."""
    area = roc_area(normal, events)
    assert area == pytest.approx(mannwhitneyu(events, normal).statistic / (len(normal) * len(events)))
    assert area + roc_area(events, normal) == pytest.approx(1.0)


def test_no_frames_have_no_area() -> None:
    with pytest.raises(ValueError, match="needs normal frames and events"):
        roc_area([], [1.0])


def test_a_short_run_on_the_fake_world(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every seed runs undisturbed and once per kind; an event that could not happen is counted, not dropped."""
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny", tasks=("FakePush-v0",))
    out = tmp_path / "anomaly.json"
    words = ["--sim", "fake", "--task", "FakePush-v0", "--checkpoint", str(checkpoint)]
    assert bench_anomaly.main([*words, "--episodes", "2", "--json", str(out)]) == 0
    values = json.loads(out.read_text())
    assert values["scores"] == list(SCORES) and values["seeds"] == [1_500_000, 1_500_001]
    assert np.isfinite(values["normal"]["errors"]).all() and values["normal"]["frames"] > 2
    for kind in KINDS:
        event = values["events"][kind]
        assert event["frames"] + event["missed"] == 2
        assert event["frames"] == (0 if kind == "object_slipped" else 2), kind
    assert "area under the ROC curve" in capsys.readouterr().out
    assert (tmp_path / "anomaly.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--events", "flood"], "there is no flood"), (["--episodes", "0"], "must be at least 1")],
)
def test_what_cannot_be_measured_is_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        bench_anomaly.main(words)
