# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset becomes a training dataset: pictures, actions and flags in their places, or one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numbered_bags import write_bag

from physgen_control.errors import UserError
from physgen_policy.checkpoint import read_description, resolve_checkpoint
from physgen_policy.commands.convert import main as convert
from physgen_policy.data.dataset import Dataset

pytest.importorskip("pyarrow", reason="pyarrow is not installed (requirements/lerobot.lock)")

import pyarrow as pa
import pyarrow.parquet as pq

LENGTHS = {"a": 12, "b": 9, "c": 10}


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    for seed, (name, steps) in enumerate(LENGTHS.items()):
        write_bag(folder / name, steps, seed=seed, instruction=f"push {name}", scale=0.05)
    return folder


@pytest.fixture(scope="module", params=["video", "png"])
def lerobot(request: pytest.FixtureRequest, bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lerobot") / request.param
    assert convert([str(bags), "--out", str(out), "--format", "lerobot", "--images", request.param]) == 0
    return out


@pytest.fixture
def copied(lerobot: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(lerobot, tmp_path / "copied"))


def change_info(folder: Path, **changes: Any) -> None:
    path = folder / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def taken(folder: Path, out: Path, *words: str) -> Dataset:
    assert convert([str(folder), "--out", str(out), "--image-size", "32", *words]) == 0
    return Dataset(out)


def test_there_and_back(bags: Path, lerobot: Path, tmp_path: Path) -> None:
    """All but the last step of each episode: what the cameras saw after it is not in the dataset."""
    straight, back = taken(bags, tmp_path / "straight"), taken(lerobot, tmp_path / "back")
    assert back.embodiment.robot == straight.embodiment.robot
    assert back.embodiment.control_rate_hz == 20.0
    assert [entry["steps"] for entry in back.entries] == [steps - 1 for steps in LENGTHS.values()]
    for number in range(len(LENGTHS)):
        assert back.entries[number]["instruction"] == straight.entries[number]["instruction"]
        steps = back.entries[number]["steps"]
        np.testing.assert_array_equal(back.actions(number), straight.actions(number)[:steps])
        np.testing.assert_array_equal(back.labels(number), straight.labels(number)[:steps])
        ours, theirs = (dataset.images(number)[: steps + 1] for dataset in (straight, back))
        if lerobot.name == "png":
            np.testing.assert_array_equal(theirs, ours)
        else:  # H.264 loses some; pictures of neighbouring steps differ by 4
            assert np.abs(theirs.astype(float) - ours).mean() < 1.9


def test_a_second_call_adds_nothing(
    lerobot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = taken(lerobot, tmp_path / "out")
    assert "of 3 episodes 3 converted, 0 already there, 0 left out" in capsys.readouterr().out
    assert taken(lerobot, tmp_path / "out").entries == first.entries
    assert "of 3 episodes 0 converted, 3 already there, 0 left out" in capsys.readouterr().out


def test_cameras_of_another_name(copied: Path, tmp_path: Path) -> None:
    features = json.loads((copied / "meta" / "info.json").read_text())["features"]
    features.pop("observation.images.wrist")
    change_info(copied, features=features)
    with pytest.raises(UserError, match=r"no pictures 'observation.images.wrist' .* --camera wrist=NAME"):
        taken(copied, tmp_path / "out")
    both = taken(copied, tmp_path / "out", "--camera", "wrist=observation.images.fixed")
    image = both.images(0)[0]
    np.testing.assert_array_equal(image[:, :32], image[:, 32:])
    with pytest.raises(UserError, match="expected fixed=NAME or wrist=NAME"):
        taken(copied, tmp_path / "other", "--camera", "front=observation.images.fixed")


def test_actions_of_another_name_are_taken_only_when_told(copied: Path, tmp_path: Path) -> None:
    features = json.loads((copied / "meta" / "info.json").read_text())["features"]
    features["action"]["names"] = {"motors": [f"motor_{k}" for k in range(7)]}
    change_info(copied, features=features)
    with pytest.raises(UserError, match=r"actions named .*motor_0.* --trust-actions"):
        taken(copied, tmp_path / "out")
    assert len(taken(copied, tmp_path / "out", "--trust-actions")) == len(LENGTHS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"codebase_version": "v2.1"}, "format v2.1, format v3.0 is read"),
        ({"features": None}, "names no features"),
        ({"fps": "fast"}, "frames per second"),
        ({"data_path": "../../elsewhere.parquet"}, "outside the dataset"),
        ({"data_path": "data/none.parquet"}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    copied: Path, tmp_path: Path, change: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change_info(copied, **change)
    with pytest.raises(UserError) as caught:
        taken(copied, tmp_path / "out")
    assert sentence in str(caught.value) + capsys.readouterr().out


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        (0, float("nan"), "not finite"),
        (1, 7.0, "expected metres"),
        (6, 255.0, "expected -1 (closed) to 1 (open)"),
    ],
)
def test_one_bad_episode_is_left_out_by_name(
    copied: Path, tmp_path: Path, column: int, value: float, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = copied / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    actions = np.array(table["action"].to_pylist(), np.float32)
    actions[2, column] = value
    values = pa.FixedSizeListArray.from_arrays(pa.array(actions.reshape(-1)), 7)
    pq.write_table(table.set_column(table.column_names.index("action"), "action", values), file)
    assert len(taken(copied, tmp_path / "out")) == len(LENGTHS) - 1
    said = capsys.readouterr().out
    assert "left out: episode 0" in said
    assert sentence in said
    assert "of 3 episodes 2 converted, 0 already there, 1 left out" in said


def test_a_cut_video_is_a_sentence(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = sorted(copied.rglob("*.mp4"))
    if not videos:
        pytest.skip("the pictures lie in the table")
    videos[0].write_bytes(videos[0].read_bytes()[:2000])
    with pytest.raises(UserError, match="none of the 3 episodes can be used"):
        taken(copied, tmp_path / "out")
    assert "cannot be decoded" in capsys.readouterr().out


def test_two_folders_are_refused(lerobot: Path, bags: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="converted alone"):
        convert([str(lerobot), str(bags), "--out", str(tmp_path / "out")])


def test_the_example_trains_a_shipped_policy_on_one(tmp_path: Path) -> None:
    robot = read_description(resolve_checkpoint("pushcube-tiny", "")).embodiment.robot
    for seed in range(3):
        write_bag(
            tmp_path / "bags" / f"{seed}", 30, seed=seed, scale=0.01, robot=robot, instruction="push it"
        )
    dataset = tmp_path / "lerobot"
    assert convert([str(tmp_path / "bags"), "--out", str(dataset), "--format", "lerobot"]) == 0
    example = Path(__file__).parents[4] / "examples" / "train_on_lerobot.py"
    done = subprocess.run(
        [sys.executable, str(example), str(dataset), str(tmp_path / "run"), "2"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_description(tmp_path / "run" / "train" / "checkpoint").embodiment.robot == robot
