# SPDX-License-Identifier: Apache-2.0
"""A LeRobot dataset holds what the bags hold, and the lerobot package reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lerobot_package import load_with_lerobot
from numbered_bags import picture, state, write_bag

from physgen_control.bags.serialize import PICTURE_EVERY
from physgen_control.messages.topics import CAMERAS
from physgen_control.types import EpisodePhase
from physgen_policy.commands.convert import main as convert
from physgen_policy.data.dataset import Dataset, DatasetError
from physgen_policy.data.lerobot.episode import lerobot_episode
from physgen_policy.data.lerobot.features import STATE_NAMES, image_key
from physgen_policy.data.lerobot.stats import image_stats, merge_stats, sampled_images, vector_stats
from physgen_policy.data.lerobot.writer import LerobotWriter

pytest.importorskip("pyarrow", reason="pyarrow is not installed (requirements/lerobot.lock)")

import pyarrow.parquet as pq


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags")
    write_bag(folder / "a", 12, seed=1, instruction="push the cube")
    write_bag(folder / "b", 9, seed=2, instruction="open the drawer", images="jpeg")
    write_bag(folder / "c", 10, seed=3, instruction="push the cube")
    write_bag(folder / "failed", 10, outcome=EpisodePhase.FAILURE)
    return folder


@pytest.fixture(scope="module", params=["video", "png"])
def dataset(request: pytest.FixtureRequest, bags: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lerobot") / request.param
    assert convert([str(bags), "--out", str(out), "--format", "lerobot", "--images", request.param]) == 0
    return out


def columns(dataset: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(dataset / "data/chunk-000/file-000.parquet")
    return {name: np.array(table[name].to_pylist()) for name in table.column_names if "images" not in name}


def test_the_card_says_what_is_inside(dataset: Path) -> None:
    """Its head is what a hub reads; every column that needs words has them."""
    _, head, text = (dataset / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["tags"] == ["LeRobot"]
    assert "3 demonstrations of the robot `fr3`, 31 control steps at 20 Hz" in text
    assert "- open the drawer\n" in text and text.count("- push the cube\n") == 1
    for name in ("action", "observation.state", "is_intervention", "is_label"):
        assert f"| `{name}` |" in text


def test_values_are_those_of_the_bags(dataset: Path) -> None:
    found = columns(dataset)
    lengths = [12, 9, 10]
    assert found["episode_index"].tolist() == [e for e, n in enumerate(lengths) for _ in range(n)]
    assert found["frame_index"].tolist() == [k for n in lengths for k in range(n)]
    assert found["index"].tolist() == list(range(sum(lengths)))
    assert found["task_index"].tolist() == [0] * 12 + [1] * 9 + [0] * 10
    np.testing.assert_array_equal(
        found["timestamp"].astype(np.float32), (found["frame_index"] / 20).astype(np.float32)
    )
    seeds = np.repeat([1, 2, 3], lengths)
    for row, (seed, step) in enumerate(zip(seeds, found["frame_index"], strict=True)):
        expected = np.random.default_rng((int(seed), int(step))).normal(size=7).astype(np.float32)
        np.testing.assert_array_equal(found["action"][row].astype(np.float32), expected)
        measured = state(int(step))
        np.testing.assert_allclose(found["observation.state"][row][:7], measured.positions, rtol=1e-6)
        np.testing.assert_allclose(found["observation.state"][row][7], measured.gripper_width, atol=1e-7)
        np.testing.assert_allclose(
            found["observation.state"][row][8:11], measured.tcp_pose.position, rtol=1e-6
        )
        # The sign of a quaternion does not matter, but it must not jump within an episode.
        same = abs(found["observation.state"][row][11:] @ measured.tcp_pose.quaternion)
        assert same > 1 - 1e-6
        assert found["observation.state"][row][11:] @ [0, 0, 0, 1] > 0.3
    assert found["is_intervention"].tolist() == [k % 3 == 0 for k in found["frame_index"]]
    assert found["is_label"].tolist() == [k != 1 for k in found["frame_index"]]


def test_the_metadata_describes_the_files(dataset: Path) -> None:
    info = json.loads((dataset / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["robot_type"]) == ("v3.0", 20, "fr3")
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 31, 2)
    assert info["features"]["observation.state"]["names"] == list(STATE_NAMES)
    tasks = pq.read_table(dataset / "meta/tasks.parquet").to_pydict()
    assert tasks == {"task_index": [0, 1], "__index_level_0__": ["push the cube", "open the drawer"]}
    episodes = pq.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [
        (0, 12),
        (12, 21),
        (21, 31),
    ]
    assert [e["tasks"] for e in episodes] == [["push the cube"], ["open the drawer"], ["push the cube"]]
    if dataset.name == "video":
        key = f"videos/{image_key('fixed')}"
        assert [e[f"{key}/from_timestamp"] for e in episodes] == [0.0, 0.6, 1.05]
        assert (dataset / key / "chunk-000/file-000.mp4").stat().st_size > 1000


def test_the_statistics_are_those_of_the_values(dataset: Path) -> None:
    stats = json.loads((dataset / "meta/stats.json").read_text())
    actions = columns(dataset)["action"]
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(stats["action"][name], getattr(actions, name)(axis=0), rtol=1e-5)
    assert stats["action"]["count"] == [31]
    image = stats[image_key("wrist")]
    assert np.shape(image["mean"]) == (3, 1, 1)
    assert 0 <= np.min(image["min"]) <= np.max(image["max"]) <= 1
    red = np.mean([picture("wrist", k)[..., 0].mean() for n in (12, 9, 10) for k in range(n)]) / 255
    np.testing.assert_allclose(image["mean"][0], red, atol=0.01)


def test_the_lerobot_package_reads_it(dataset: Path) -> None:
    rows = [0, 5, 11, 12, 20, 30]
    loaded = load_with_lerobot(dataset, rows)
    assert (loaded["episodes"], loaded["frames"], loaded["fps"]) == (3, 31, 20)
    assert loaded["tasks"] == {"push the cube": 0, "open the drawer": 1}
    assert loaded["features"][image_key("wrist")] == [32, 32, 3]
    assert set(loaded["stats"]["action"]) >= {"min", "max", "mean", "std", "count", "q01", "q99"}
    values = columns(dataset)
    for row in rows:
        item = loaded["items"][str(row)]
        np.testing.assert_allclose(item["action"], values["action"][row], rtol=1e-6)
        np.testing.assert_allclose(item["observation.state"], values["observation.state"][row], rtol=1e-6)
        assert item["timestamp"] == pytest.approx(values["frame_index"][row] / 20, abs=1e-6)
        assert item["is_intervention"] == values["is_intervention"][row]
        assert item["task"] == ("open the drawer" if 12 <= row < 21 else "push the cube")
        for camera in CAMERAS:
            expected = picture(camera, int(values["frame_index"][row])).mean(axis=(0, 1))
            # Video and JPEG are lossy; the red of the neighbouring step differs by 4.
            assert abs(item[image_key(camera)][0] * 255 - expected[0]) < 1.9


def test_files_end_at_their_size_and_episodes_find_theirs(bags: Path, tmp_path: Path) -> None:
    with LerobotWriter(tmp_path / "d", fps=20.0, data_file_bytes=1, video_file_bytes=1) as writer:
        for name in "abc":
            writer.add(lerobot_episode(bags / name, control_rate_hz=20.0))
        writer.finish()
    episodes = pq.read_table(tmp_path / "d/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    key = f"videos/{image_key('wrist')}"
    for number, episode in enumerate(episodes):
        data = pq.read_table(tmp_path / f"d/data/chunk-000/file-{episode['data/file_index']:03d}.parquet")
        assert set(data["episode_index"].to_pylist()) == {number}
        assert (tmp_path / "d" / key / f"chunk-000/file-{episode[f'{key}/file_index']:03d}.mp4").is_file()
    assert len({episode["data/file_index"] for episode in episodes}) == 3


def test_a_recording_with_fewer_pictures_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row of a LeRobot dataset is a control step with its images; the own format takes such bags."""
    write_bag(tmp_path / "bags" / "sparse", 12, extra={PICTURE_EVERY: "4"})
    words = [str(tmp_path / "bags"), "--out"]
    with pytest.raises(DatasetError, match="none of the 1 bags can be used"):
        convert([*words, str(tmp_path / "lerobot"), "--format", "lerobot"])
    assert (
        "left out: sparse has one picture per 4 control steps, and a LeRobot dataset needs one at every step: "
        "collect it again without --picture-every" in capsys.readouterr().out
    )
    assert convert([*words, str(tmp_path / "own"), "--image-size", "32"]) == 0
    own = Dataset(tmp_path / "own")
    assert (own.picture_every(0), len(own.actions(0)), len(own.images(0))) == (4, 12, 4)


def test_bad_input_is_a_sentence_and_leaves_nothing(bags: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="whole number"):
        LerobotWriter(out, fps=12.5)
    with pytest.raises(DatasetError, match="must be one of video, png"):
        LerobotWriter(out, fps=20, images="gif")
    with pytest.raises(DatasetError, match="none of the 1 bags can be used"):
        convert([str(bags / "failed"), "--out", str(out), "--format", "lerobot"])
    assert not list(tmp_path.iterdir())
    odd = write_bag(tmp_path / "odd", 4, size=33)
    with pytest.raises(DatasetError, match="even image sides"):
        convert([str(odd), "--out", str(out), "--format", "lerobot"])
    other = write_bag(tmp_path / "other", 4, robot="panda")
    with pytest.raises(DatasetError, match="several robots, fr3"):
        convert([str(bags / "a"), str(other), "--out", str(out), "--format", "lerobot"])
    large = write_bag(tmp_path / "large", 4, size=64)
    with pytest.raises(DatasetError, match="--image-size"):
        convert([str(bags / "a"), str(large), "--out", str(out), "--format", "lerobot"])
    assert not out.exists()
    words = [str(bags / "a"), str(large), "--out", str(out), "--format", "lerobot", "--image-size", "16"]
    assert convert(words) == 0
    with pytest.raises(DatasetError, match="exists already"):
        convert(words)


tables = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.just(3)),
    elements=st.floats(-100, 100),
)


@settings(max_examples=50, deadline=None)
@given(st.lists(tables, min_size=1, max_size=4))
def test_merged_statistics_are_those_of_all_values_together(parts: list[np.ndarray]) -> None:
    merged = merge_stats([vector_stats(part) for part in parts])
    together = vector_stats(np.concatenate(parts))
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(merged[name], together[name], atol=1e-6)
    for name in ("q01", "q50", "q99"):
        assert (merged[name] >= together["min"] - 1e-9).all()
        assert (merged[name] <= together["max"] + 1e-9).all()


def test_image_statistics_look_at_evenly_spread_images() -> None:
    assert sampled_images(3) == [0, 1, 2]
    assert len(sampled_images(5000)) == 100
    assert (sampled_images(5000)[0], sampled_images(5000)[-1]) == (0, 4999)
    stats = image_stats([np.full((480, 640, 3), (0, 51, 255), np.uint8)] * 2)
    assert stats["count"].tolist() == [2]
    np.testing.assert_allclose(stats["mean"].reshape(3), [0.0, 0.2, 1.0])
