# SPDX-License-Identifier: Apache-2.0
"""`physgen view` shows what is in a bag or a folder of bags."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from value_strategies import make_episode, make_image, write_bag

from physgen_bringup.commands import view
from physgen_bringup.pictures import bag_tables
from physgen_control.bags.reader import read_episode
from physgen_control.bags.summary import BagSummary
from physgen_control.errors import UserError
from physgen_control.types import AppliedAction


def test_a_bag_becomes_a_table_and_a_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write_bag(tmp_path / "bag", steps=4)
    assert view.main([str(bag)]) == 0
    text = capsys.readouterr().out
    assert "outcome      SUCCESS after 4 steps" in text
    assert "pick up the cube" in text
    assert any(line.split() == ["/physgen/applied_action", "4", "20.0"] for line in text.splitlines())
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(tmp_path / "bag.mp4"))
    assert frames == 5 + 14  # five pictures, the last one for 0.7 s more


def test_a_folder_becomes_one_line_per_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        write_bag(tmp_path / "run" / f"e{seed}", make_episode(seed=seed, episode_id=f"e{seed}"), steps=2)
    assert view.main([str(tmp_path / "run"), "--no-video"]) == 0
    assert "2 of 2 episodes succeeded." in capsys.readouterr().out
    assert view.main([str(tmp_path / "run"), "--no-video", "--seed", "2"]) == 0
    assert "e2" in capsys.readouterr().out
    with pytest.raises(UserError, match="of seed 3"):
        view.main([str(tmp_path / "run"), "--seed", "3"])
    with pytest.raises(UserError, match="does not exist"):
        view.main([str(tmp_path / "nothing")])


def test_images_are_decoded_one_at_a_time_and_in_order(tmp_path: Path) -> None:
    recording = bag_tables.recording_of(read_episode(write_bag(tmp_path / "bag", steps=3)))
    assert len(recording.fixed) == 4
    for step, rgb in enumerate(recording.fixed):
        np.testing.assert_array_equal(rgb, make_image(step))
    np.testing.assert_array_equal(recording.fixed[-1], make_image(3))
    assert recording.rate_hz == 20.0


def test_the_audit_of_a_bag_is_shown() -> None:
    """What the recorder missed is said, a bag without an audit says nothing."""

    def text(**custom: str) -> str:
        return bag_tables.audit_text(
            BagSummary(
                path=Path("bag"),
                task="",
                robot="",
                seed=0,
                episode_id="",
                instruction="",
                outcome="SUCCESS",
                steps=0,
                custom_data=custom,
                counts={},
                duration_ns=0,
            )
        )

    assert text(audit='{"warnings": [], "complete": true}').endswith("complete")
    assert "x is missing." in text(audit='{"warnings": ["x is missing."]}')
    assert text() == text(audit="not JSON") == ""
    assert "bag.partial" in text(repaired_from="bag.partial")


def test_bags_that_cannot_be_shown_are_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    for seed, change in enumerate((same, wide, endless, same, same)):
        write_bag(
            run / f"e{seed}",
            make_episode(seed=seed, episode_id=f"e{seed}"),
            steps=2,
            change_action=change,
        )
    (run / "e3" / "metadata.yaml").write_text("")
    (run / "e4" / "metadata.yaml").unlink()
    assert view.main([str(run)]) == 0
    text = capsys.readouterr().out
    left_out = [line for line in text.splitlines() if line.startswith("left out")]
    names = ("e1", "e2", "e3", "e4")
    assert all(sum(name in line for line in left_out) == 1 for name in names)
    assert len(left_out) == len(names)
    assert "3 of 3 episodes succeeded." in text
    (run / "e0").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="finite"):
        view.main([str(run)])


def same(action: AppliedAction) -> AppliedAction:
    return action


def wide(action: AppliedAction) -> AppliedAction:
    return replace(action, raw=np.zeros(8, np.float32), applied=np.zeros(8, np.float32))


def endless(action: AppliedAction) -> AppliedAction:
    return replace(action, applied=np.full(7, np.inf, np.float32))
