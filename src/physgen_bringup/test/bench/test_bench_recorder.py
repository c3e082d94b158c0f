# SPDX-License-Identifier: Apache-2.0
"""The recorder benchmark counts every image it sent: what it reports as recorded and dropped adds up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")

from physgen_bringup.commands import bench_recorder
from physgen_control.errors import UserError


@pytest.mark.ros
def test_a_short_run_counts_every_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "result.json"
    words = ["--duration", "1", "--size", "64x48", "--rate", "10", "--modes", "jpeg"]
    assert bench_recorder.main([*words, "--dir", str(tmp_path), "--json", str(out)]) == 0
    (result,) = json.loads(out.read_text())
    assert result["sent"] == 10
    for camera in ("fixed", "wrist"):
        assert result["recorded"][camera] + result["dropped"][camera] == 10
    assert result["bag_mb"] > 0
    assert "dropped" in capsys.readouterr().out
    assert not list(tmp_path.glob("bench-recorder-*"))  # the bag is gone


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--size", "big"], "--size must be like"),
        (["--modes", "webp"], "must be one of raw, jpeg"),
        (["--duration", "0"], "must be positive"),
        (["--duration", "1e9"], "MB free"),
    ],
)
def test_bad_input_is_a_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        bench_recorder.main([*words, "--dir", str(tmp_path)])
