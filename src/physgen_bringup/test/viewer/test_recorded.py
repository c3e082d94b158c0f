# SPDX-License-Identifier: Apache-2.0
"""A recorded bag becomes a file of the viewer that holds what a person looks for."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rerun", reason="the viewer is not installed (./physgen setup --viewer)")

from rrd_file import rows, values
from value_strategies import make_episode, write_bag

from physgen_bringup.commands import view
from physgen_bringup.viewer import blueprint as names
from physgen_bringup.viewer.looking import file_of
from physgen_control.errors import UserError


def viewed(bag: Path) -> Path:
    assert view.main([str(bag), "--viewer=file"]) == 0
    return file_of(bag)


def test_a_bag_becomes_a_file_with_pictures_plots_and_states(tmp_path, capsys):
    """Five observations, four actions: each is drawn once, at its time; no video is made."""
    bag = write_bag(tmp_path / "a.bag", make_episode(), steps=4)
    file = viewed(bag)
    assert file.name == "a.bag.rrd"
    assert str(file) in capsys.readouterr().out
    assert not list(tmp_path.glob("*.mp4"))
    found = rows(file)
    for entity in (names.FIXED, names.WRIST):
        assert found[entity] == 5
    assert found[f"{names.TRANSLATION}/before"] == 4 + 1  # and its colours
    assert found[names.EXECUTED]
    assert values(file, f"{names.STATES}/episode", "StateChange:state")[-1] == ["success"]
    status = values(file, names.STATUS, "TextDocument:text")[-1][0]
    assert "pick up the cube" in status
    assert "step 4" in status


def test_every_bag_of_a_folder_is_a_recording(tmp_path):
    for seed in (1, 2):
        write_bag(tmp_path / f"e{seed}", make_episode(seed=seed, episode_id=f"e{seed}"), steps=2)
    assert view.main([str(tmp_path), "--viewer=file"]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.rrd")) == ["e1.rrd", "e2.rrd"]


def test_a_damaged_bag_is_named_and_the_others_are_shown(tmp_path, capsys):
    for seed in (1, 2):
        write_bag(tmp_path / f"e{seed}", make_episode(seed=seed, episode_id=f"e{seed}"), steps=2)
    storage = next((tmp_path / "e1").glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[:-2000])
    assert view.main([str(tmp_path), "--viewer=file"]) == 0
    assert "e1" in capsys.readouterr().out
    assert rows(tmp_path / "e2.rrd")[names.FIXED] == 3


def test_a_window_without_a_display_is_one_sentence(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    file = viewed(write_bag(tmp_path / "bag", steps=1))
    with pytest.raises(UserError, match="rerun_web"):
        view.main([str(file)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bag", "bag.rrd"]
    shutil.rmtree(tmp_path / "bag")
    with pytest.raises(UserError, match="does not exist"):
        view.main([str(tmp_path / "other.rrd")])


def test_the_arm_is_drawn_only_where_its_joints_are_its_own(tmp_path):
    """Bags of this test have joints that lead nowhere near the tool centre point; then the gripper is drawn alone."""
    found = rows(viewed(write_bag(tmp_path / "bag", steps=2)))
    assert found[names.GRIPPER] == 3
    assert not any(entity.startswith(f"{names.ROBOT}/") for entity in found)
    assert np.isfinite(sum(found.values()))
