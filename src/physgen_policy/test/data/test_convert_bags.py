# SPDX-License-Identifier: Apache-2.0
"""Each bag becomes an episode or is left out by name with its reason, whatever a user puts into the folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from value_strategies import make_episode, write_bag

from physgen_control.bags.typestore import typestore
from physgen_control.errors import UserError
from physgen_control.program.folder_lock import folder_lock
from physgen_control.types import ActionSpace, AppliedAction, Pose, RobotState
from physgen_policy.commands import convert
from physgen_policy.data.bags_to_dataset import convert_bags
from physgen_policy.data.dataset import Dataset, DatasetError

ARGUMENTS = ["--image-size", "16"]
FORMATS = ("physgen", "lerobot")


@pytest.fixture(params=FORMATS)
def bag_format(request: pytest.FixtureRequest) -> str:
    if request.param == "lerobot":
        pytest.importorskip("pyarrow", reason="the LeRobot format needs pyarrow")
    return str(request.param)


def run(*arguments: Path | str) -> int:
    return convert.main([str(argument) for argument in arguments] + ARGUMENTS)


def bag_of(folder: Path, seed: int = 3, **options: Any) -> Path:
    return write_bag(folder, make_episode(seed=seed), **options)


def with_applied(values: Sequence[float], step: int = 4) -> Callable[[AppliedAction], AppliedAction]:
    """Change the numbers of one action."""
    numbers = np.array(values, np.float32)
    return lambda action: replace(action, raw=numbers, applied=numbers) if action.step == step else action


def bad_joint(state: RobotState) -> RobotState:
    positions = state.positions.copy()
    positions[3] = np.nan
    return replace(state, positions=positions)


def bad_pose(state: RobotState) -> RobotState:
    pose = Pose(position=np.array([np.inf, 0.0, 0.0]), quaternion=state.tcp_pose.quaternion)
    return replace(state, tcp_pose=pose)


def without_metadata(bag: Path) -> None:
    (bag / "metadata.yaml").unlink()


def half_metadata(bag: Path) -> None:
    file = bag / "metadata.yaml"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def half_messages(bag: Path) -> None:
    [file] = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


WRITTEN: dict[str, tuple[dict[str, Any], str]] = {
    "NaN action": ({"change_action": with_applied([np.nan] + 6 * [0.0])}, "action that is not finite"),
    "infinite action": ({"change_action": with_applied([np.inf] + 6 * [0.0])}, "action that is not finite"),
    "eight numbers": ({"change_action": with_applied(8 * [0.0])}, "of 8 numbers, expected 7"),
    "six numbers": ({"change_action": with_applied(6 * [0.0])}, "of 6 numbers, expected 7"),
    "joint velocities": (
        {"change_action": lambda action: replace(action, action_space=ActionSpace.JOINT_VELOCITY)},
        "of the kind JOINT_VELOCITY, expected EE_DELTA",
    ),
    "another frame": (
        {"change_action": lambda action: replace(action, frame_id="camera_fixed")},
        "in the frame 'camera_fixed', expected 'base' or 'panda_link0'",
    ),
    "NaN joint": ({"change_state": bad_joint}, "joint states that are not finite"),
    "infinite pose": ({"change_state": bad_pose}, "finite position"),
}
DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty metadata": (lambda bag: (bag / "metadata.yaml").write_text(""), "metadata.yaml"),
    "half the metadata": (half_metadata, "metadata.yaml"),
    "no metadata": (without_metadata, "is not finished"),
    "half the messages": (half_messages, "cannot be read"),
}


def counts_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What the command said, up to the counts: the line after them says what to type next."""
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("next: ./physgen ")
    return lines[:-1]


@pytest.mark.parametrize("kind", [*WRITTEN, *DAMAGED])
def test_a_bad_bag_is_left_out_by_name_and_its_neighbours_are_not(
    kind: str, bag_format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("first", 1), ("last", 3)):
        bag_of(tmp_path / "bags" / name, seed)
    options, reason = WRITTEN.get(kind) or ({}, DAMAGED[kind][1])
    bad = bag_of(tmp_path / "bags" / "middle", 2, **options)
    if kind in DAMAGED:
        DAMAGED[kind][0](bad)
    assert run(tmp_path / "bags", "--out", tmp_path / "out", "--format", bag_format) == 0
    lines = counts_of(capsys)
    [sentence] = [line for line in lines if line.startswith("left out: ")]
    assert "middle" in sentence and reason in sentence
    assert lines[-1].endswith("of 3 bags 2 converted, 0 already there, 1 left out")


def test_nothing_usable_is_an_error(
    bag_format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag_of(tmp_path / "bags" / "a", change_action=with_applied([np.nan] + 6 * [0.0]))
    half_metadata(bag_of(tmp_path / "bags" / "b"))
    with pytest.raises(DatasetError, match="none of the 2 bags can be used"):
        run(tmp_path / "bags", "--out", tmp_path / "out", "--format", bag_format)
    assert capsys.readouterr().out.count("left out: ") == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no bags in"):
        run(tmp_path / "empty", "--out", tmp_path / "out", "--format", bag_format)


def test_robots_do_not_mix(bag_format: str, tmp_path: Path) -> None:
    bag_of(tmp_path / "bags" / "a")
    write_bag(tmp_path / "bags" / "b", replace(make_episode(seed=4), robot="fr3"))
    with pytest.raises(DatasetError, match=r"several robots, panda .* fr3"):
        run(tmp_path / "bags", "--out", tmp_path / "out", "--format", bag_format)


def test_bags_are_known_by_what_is_in_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Simulated collections name their bags by the seed: equal names in two folders are two bags."""
    for day, seed in (("monday", 1), ("tuesday", 2)):
        bag_of(tmp_path / day / "PickCube-3", seed)
        assert run(tmp_path / day, "--out", tmp_path / "out") == 0
    assert counts_of(capsys)[-1].endswith("bags 1 converted, 0 already there, 0 left out")
    shutil.copytree(tmp_path / "monday" / "PickCube-3", tmp_path / "copies" / "other name")
    assert run(tmp_path / "monday", tmp_path / "copies", "--out", tmp_path / "out") == 0
    last = counts_of(capsys)[-1]
    assert last.endswith("2 episodes, 20 control steps; of 2 bags 0 converted, 2 already there, 0 left out")
    dataset = Dataset(tmp_path / "out")
    assert len(dataset) == 2
    assert not np.array_equal(dataset.actions(0), dataset.actions(1))


def test_a_bag_counts_once_by_whatever_path_it_is_reached(
    bag_format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = bag_of(tmp_path / "elsewhere" / "a")
    bags = tmp_path / "bags"
    bags.mkdir()
    (bags / "link").symlink_to(bag, target_is_directory=True)
    (bags / "round").symlink_to(bags, target_is_directory=True)
    [file] = bag.glob("*.mcap")
    assert run(bags, bag, bag, file, "--out", tmp_path / "out", "--format", bag_format) == 0
    assert "of 1 bags 1 converted" in capsys.readouterr().out


def test_a_finished_bag_may_lie_in_a_folder_called_partial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag_of(tmp_path / "day.partial" / "a")
    shutil.copytree(tmp_path / "day.partial" / "a", tmp_path / "day.partial" / "b.partial")
    assert run(tmp_path, "--out", tmp_path / "out") == 0
    assert "b.partial is not finished" in (text := capsys.readouterr().out)
    assert "of 2 bags 1 converted, 0 already there, 1 left out" in text


def as_recorded_by_ros2_bag(bag: Path, target: Path, storage: StoragePlugin) -> None:
    """The same messages as `ros2 bag record` writes them, without any data of ours beside them."""
    with Reader(bag) as reader, Writer(target, version=9, storage_plugin=storage) as writer:
        made = {
            connection.id: writer.add_connection(connection.topic, connection.msgtype, typestore=typestore())
            for connection in reader.connections
        }
        for connection, stamp, data in reader.messages(reader.connections):
            writer.write(made[connection.id], stamp, data)


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_plain_recording_says_what_it_is_of(
    storage: StoragePlugin, given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = bag_of(tmp_path / "ours")
    plain = tmp_path / "plain"
    as_recorded_by_ros2_bag(ours, plain, storage)
    if given == "file":
        [plain] = [file for file in plain.iterdir() if file.suffix in (".mcap", ".db3")]
        if storage is StoragePlugin.MCAP:
            (plain.parent / "metadata.yaml").unlink()
    assert run(plain, "--out", tmp_path / "out") == 0
    assert run(ours, "--out", tmp_path / "same") == 0
    dataset, same = Dataset(tmp_path / "out"), Dataset(tmp_path / "same")
    assert (dataset.embodiment.robot, dataset.embodiment.tasks) == ("panda", ("PickCube-v1",))
    assert dataset.entries[0]["instruction"] == "pick up the cube"
    assert dataset.episode_sha256(0) == same.episode_sha256(0)


def test_an_interrupted_conversion_goes_on_where_it_was(tmp_path: Path) -> None:
    for seed in range(5):
        bag_of(tmp_path / "bags" / str(seed), seed)

    def interrupted(bags: Sequence[Path]) -> Iterator[Path]:
        yield from bags[:3]
        raise KeyboardInterrupt

    def converted(**options: Any) -> tuple[int, int]:
        report = convert_bags(
            [tmp_path / "bags"], tmp_path / "out", view=(16, 16), rate_hz=20.0, **options
        ).report
        return report.converted, report.present

    with pytest.raises(KeyboardInterrupt):
        converted(track=interrupted)
    assert len(Dataset(tmp_path / "out")) == 3
    assert converted() == (2, 3)
    assert [entry["seed"] for entry in Dataset(tmp_path / "out").entries] == list(range(5))


def test_two_conversions_do_not_write_into_one_folder(bag_format: str, tmp_path: Path) -> None:
    bag_of(tmp_path / "bags" / "a")
    out = tmp_path / "out"
    owned = out if bag_format == "physgen" else tmp_path / "out.partial"
    with folder_lock(owned), pytest.raises(UserError, match="in use by another command"):
        run(tmp_path / "bags", "--out", out, "--format", bag_format)
    assert run(tmp_path / "bags", "--out", out, "--format", bag_format) == 0


def test_an_output_that_is_a_file_is_a_sentence(bag_format: str, tmp_path: Path) -> None:
    bag_of(tmp_path / "bags" / "a")
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out"):
        run(tmp_path / "bags", "--out", tmp_path / "out", "--format", bag_format)
    assert (tmp_path / "out").read_text() == "mine"


def test_other_pictures_are_other_episodes_to_the_latent_cache(tmp_path: Path) -> None:
    """Pictures have one size whatever they show; a cache that looked at sizes trained on the old ones."""
    from physgen_policy.training.latents import dataset_fingerprint

    def brighter(episode: int) -> str:
        out = tmp_path / str(episode)
        run(bag, "--out", out)
        return dataset_fingerprint(Dataset(out))

    bag = bag_of(tmp_path / "bag")
    first = brighter(0)
    assert brighter(1) == first
    shutil.rmtree(bag)
    bag = write_bag(tmp_path / "bag", make_episode(), size=17)
    assert brighter(2) != first
