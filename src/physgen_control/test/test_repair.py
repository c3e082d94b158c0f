# SPDX-License-Identifier: Apache-2.0
"""Repair keeps every complete message of a cut bag and never touches the original."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from value_strategies import assert_equal, make_action, make_episode, make_image, write_bag

from physgen_control.bags import topics
from physgen_control.bags.errors import BagError
from physgen_control.bags.reader import read_episode, read_summary
from physgen_control.bags.repair import repair_bag
from physgen_control.commands import repair as command
from physgen_control.types import EpisodePhase


def _cut(tmp_path: Path, fraction: float, **options: str) -> Path:
    bag = write_bag(tmp_path / "bag", steps=20, size=64, **options)
    partial = tmp_path / "bag.partial"
    partial.mkdir()
    data = next(bag.glob("*.mcap")).read_bytes()
    (partial / "bag_0.mcap").write_bytes(data[: int(len(data) * fraction)])
    return partial


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
def test_complete_messages_of_a_cut_bag_are_kept(tmp_path: Path, fraction: float, compression: str) -> None:
    partial = _cut(tmp_path, fraction, compression=compression)
    before = (partial / "bag_0.mcap").read_bytes()
    report = repair_bag(partial)
    assert (partial / "bag_0.mcap").read_bytes() == before
    assert report.path == tmp_path / "bag-repaired"
    recording = read_episode(report.path)
    assert recording.outcome == EpisodePhase.CRASHED
    assert recording.instruction == "pick up the cube"
    # What is there is a true beginning of the episode; about as much as the file kept.
    assert len(recording.applied) >= int(20 * fraction) - 4
    for step, action in enumerate(recording.applied):
        assert_equal(action, make_action(make_episode(), step))
    for step in range(len(recording.fixed)):
        np.testing.assert_array_equal(recording.fixed.rgb(step), make_image(step, 64))
    assert report.messages == sum(recording.counts.values())


def test_a_whole_bag_survives_repair_unchanged(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag")
    report = repair_bag(bag, tmp_path / "again")
    assert (report.outcome, report.notes) == ("SUCCESS", ())
    first, second = read_episode(bag), read_episode(report.path)
    assert {t: n for t, n in first.counts.items() if n} == second.counts
    assert first.episode == second.episode


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", steps=200, size=64)  # several chunks
    file = next(bag.glob("*.mcap"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 64] = bytes(64)
    file.write_bytes(data)
    with pytest.raises(BagError, match="physgen repair"):
        read_episode(bag)
    report = repair_bag(bag)
    assert any("damaged" in note for note in report.notes)
    assert len(read_episode(report.path).applied) > 100


def test_nothing_to_repair_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"no \.mcap file"):
        repair_bag(tmp_path)
    (tmp_path / "x.mcap").write_bytes(b"not a bag at all")
    with pytest.raises(BagError, match="no complete message"):
        repair_bag(tmp_path / "x.mcap")


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = _cut(tmp_path, 0.5)
    assert command.main([str(partial), "--out", str(tmp_path / "out")]) == 0
    assert "outcome CRASHED" in capsys.readouterr().out
    assert read_summary(tmp_path / "out").custom_data["repaired_from"] == "bag.partial"


def test_a_killed_writer_leaves_its_finished_chunks(tmp_path: Path) -> None:
    """Kill -9 in the middle of an episode: all but the open chunk is recovered."""
    code = f"""
        from pathlib import Path
        from physgen_control.bags import topics
        from physgen_control.bags.serialize import CameraSpec, EpisodeBag
        from value_strategies import *
        episode = make_episode()
        cameras = {{name: CameraSpec(frame_id=name) for name in topics.CAMERAS}}
        bag = EpisodeBag.open(Path({str(tmp_path)!r}) / "bag", episode, cameras, joint_prefix="panda")
        for step in range(100):
            stamp = START_NS + step * PERIOD_NS
            bag.add_observation(stamp, make_image(step, 128), make_image(step, 128), make_state(stamp))
            bag.add_applied(make_action(episode, step))
        print("written", flush=True)
        import time; time.sleep(60)
    """
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    recording = read_episode(repair_bag(tmp_path / "bag.partial").path)
    # One chunk holds eight observations of two 128 x 128 images.
    assert len(recording.applied) >= 90
    assert recording.counts[topics.EPISODE_INFO] == 1
