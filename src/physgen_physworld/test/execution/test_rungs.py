# SPDX-License-Identifier: Apache-2.0
"""Rungs of the ladder: errors as they are said, and trials that survive an interruption."""

from pathlib import Path

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_physworld.commands.physworld import main
from physgen_physworld.execution.ladder import LadderTrial, read_ladder, write_ladder
from physgen_physworld.execution.rungs import with_errors
from physgen_physworld.values import ObjectTrack, Tracks, yaw_of, yaw_quaternions

SIZE = (0.04, 0.04, 0.04)


def lifting() -> Tracks:
    count = 20
    positions = np.stack(
        [np.linspace(0.5, 0.7, count), np.zeros(count), np.linspace(0.02, 0.2, count)], axis=1
    )
    still = np.tile([0.6, 0.1, 0.02], (count, 1))
    objects = tuple(
        ObjectTrack(
            name=name,
            size=SIZE,
            positions=places,
            quaternions=yaw_quaternions(np.zeros(count)),
            confidence=np.ones(count),
        )
        for name, places in (("red_cube", positions), ("green_cube", still))
    )
    return Tracks(objects=objects, period_s=0.1, source="test")


def test_errors_grow_from_nothing_to_what_was_said() -> None:
    before, ends, turns = lifting(), [], []
    for seed in range(300):
        after = with_errors(before, 0.01, 0.2, np.random.default_rng(seed))
        assert np.array_equal(after.moved.positions[0], before.moved.positions[0])
        assert np.array_equal(after.others[0].positions, before.others[0].positions)
        assert after.moved.positions[:, 2].min() >= SIZE[2] / 2
        ends.append(after.moved.positions[-1] - before.moved.positions[-1])
        turns.append(yaw_of(after.moved.quaternions[-1]))
    # The end has the drift's error and a third of it of its own.
    assert np.std(ends, axis=0) == pytest.approx(0.01 * np.sqrt(1 + 1 / 9), rel=0.15)
    assert np.std(turns) == pytest.approx(0.2, rel=0.15)


def test_an_interrupted_ladder_is_read_again(tmp_path: Path) -> None:
    trial = LadderTrial(
        task="PickCube-v1",
        seed=3,
        rung="generated",
        execution="base",
        success=False,
        stage="video",
        detail="none",
        steps=0,
        failed_grasps=0,
        end_error_mm=float("nan"),
        track_start_mm=1.0,
        track_end_mm=2.0,
        track_yaw_deg=3.0,
    )
    path = tmp_path / "ladder.json"
    assert read_ladder(path) == []
    write_ladder([trial], path)
    [again] = read_ladder(path)
    assert np.isnan(again.end_error_mm) and (again.seed, again.rung, again.track_end_mm) == (
        3,
        "generated",
        2.0,
    )
    path.write_text("{}")
    with pytest.raises(UserError, match="no ladder that could go on"):
        read_ladder(path)


def test_generated_rungs_need_a_video_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="need a video model"):
        main(["ladder", "--rungs", "truth,wrong", "--out", str(tmp_path / "x.json")])
