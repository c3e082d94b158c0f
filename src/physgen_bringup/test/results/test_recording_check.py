# SPDX-License-Identifier: Apache-2.0
"""A recording that is lost or empty is said at the end of the graph, and is its exit status."""

from __future__ import annotations

import shutil
from pathlib import Path

from value_strategies import write_bag

from physgen_bringup.results.recording_check import bags_in, check_recordings
from physgen_control.recording.audit import Audit


def test_new_bags_are_counted_and_old_ones_are_not(tmp_path: Path) -> None:
    write_bag(tmp_path / "old")
    (tmp_path / "broken.partial").mkdir()
    (tmp_path / "broken.partial" / "broken_0.mcap").write_bytes(b"")
    before = bags_in(tmp_path)
    for name in ("a", "b"):
        write_bag(tmp_path / name)
    found = check_recordings(tmp_path, before)
    assert found.good
    assert found.line() == f"Recorded 2 bags into {tmp_path}"


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    found = check_recordings(tmp_path / "none", bags_in(tmp_path / "none"))
    assert not found.good
    assert found.line().startswith("NOTHING WAS RECORDED")


def test_what_was_lost_is_said_by_name(tmp_path: Path) -> None:
    before = bags_in(tmp_path)
    warnings = ("/camera/wrist/color/image_raw is missing.", "/joint_states has a gap of 1.000 s.")
    audit = Audit(counts={}, gaps={}, warnings=warnings).to_json()
    write_bag(tmp_path / "blind", extra={"audit": audit})
    shutil.copytree(write_bag(tmp_path / "cut"), tmp_path / "cut.partial")
    (write_bag(tmp_path / "damaged") / "metadata.yaml").write_text("")
    found = check_recordings(tmp_path, before)
    assert not found.good
    line = found.line()
    assert line.startswith("RECORDING LOST: ")
    assert "cut.partial is not finished" in line
    assert "blind: /camera/wrist/color/image_raw is missing." in line
    assert "damaged" in line and "gap" not in line
