# SPDX-License-Identifier: Apache-2.0
"""`physgen camera calibrate` as it is typed: one file for both cameras, what is missing said at the end."""

from pathlib import Path

import pytest
from drawn_tags import record

from physgen_bringup.commands.camera import main as camera
from physgen_bringup.graph.calibration import read_calibration
from physgen_control.errors import UserError


def test_one_file_gets_the_place_and_the_next_line_asks_for_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "bags" / "tag", 12)
    out = tmp_path / "cell" / "cameras.yaml"
    words = ["calibrate", str(tmp_path / "bags"), "--tag-size", "0.08", "--out", str(out)]
    assert camera([*words, "--camera", "wrist"]) == 0
    said = capsys.readouterr().out
    assert "12 pictures of 12 places" in said and "--camera fixed" in said
    (entry,) = read_calibration(out, whole=False)
    assert (entry.name, entry.parent) == ("wrist_camera", "fr3_hand_tcp")
    with pytest.raises(UserError, match="found in 0 usable pictures"):
        camera([*words, "--camera", "fixed"])
    with pytest.raises(UserError, match="describes the fixed camera"):
        camera([*words, "--camera", "wrist", "--physworld", str(tmp_path / "camera.yaml")])
    assert read_calibration(out, whole=False) == (entry,)  # nothing was written
