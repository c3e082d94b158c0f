# SPDX-License-Identifier: Apache-2.0
"""What goes into a bag comes out again, through our reader and through foreign ones; bad bags are sentences."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from value_strategies import (
    PERIOD_NS,
    START_NS,
    assert_equal,
    make_action,
    make_episode,
    make_image,
    make_state,
    write_bag,
)

from physgen_control.bags.cdr import header_stamp_ns
from physgen_control.bags.errors import BagError
from physgen_control.bags.find import find_bags
from physgen_control.bags.images import ImageStream
from physgen_control.bags.reader import read_episode
from physgen_control.bags.replay import BagIndex
from physgen_control.bags.serialize import BUILDER, CameraSpec, EpisodeBag, serialize
from physgen_control.bags.summary import read_summary
from physgen_control.bags.typestore import definition, typestore
from physgen_control.bags.writer import BagWriter
from physgen_control.messages import build, topics
from physgen_control.types import EpisodePhase


def test_values_come_back_bit_by_bit(tmp_path: Path) -> None:
    episode = make_episode()
    recording = read_episode(write_bag(tmp_path / "bag", episode))
    assert recording.outcome == EpisodePhase.SUCCESS
    assert recording.instruction == "pick up the cube"
    assert (recording.episode.task, recording.episode.seed, recording.episode.step) == ("PickCube-v1", 3, 10)
    expected = [START_NS + step * PERIOD_NS for step in range(11)]
    for stream in (recording.fixed, recording.wrist):
        assert stream.stamps_ns.tolist() == expected
    for step in range(11):
        np.testing.assert_array_equal(recording.fixed.rgb(step), make_image(step))
        np.testing.assert_array_equal(recording.wrist.rgb(step), make_image(1000 + step))
    assert recording.wrist.frame(0).frame_id == "camera_wrist_color_optical_frame"
    assert len(recording.applied) == 10
    for step, action in enumerate(recording.applied):
        assert_equal(action, make_action(episode, step))
    states = recording.robot_states()
    assert len(states) == 11
    assert_equal(states[4], make_state(expected[4]))
    assert [state.success for state in recording.sim_states] == [False] * 10 + [True]


def test_the_summary_needs_the_metadata_only(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", extra={"collector": "test"})
    next(bag.glob("*.mcap")).unlink()
    summary = read_summary(bag)
    assert (summary.task, summary.seed, summary.outcome, summary.steps) == ("PickCube-v1", 3, "SUCCESS", 10)
    assert summary.custom_data["collector"] == "test"
    assert "mcap=" in summary.custom_data["versions"]
    assert summary.counts[topics.APPLIED_ACTION] == 10


def test_foreign_readers_understand_the_bag(tmp_path: Path) -> None:
    """The definitions are in the file: rosbags without our types and mcap_ros2 decode physgen_msgs."""
    bag = write_bag(tmp_path / "bag")
    action = make_action(make_episode(), 7)
    with AnyReader([bag]) as reader:
        connections = [c for c in reader.connections if c.topic == topics.APPLIED_ACTION]
        decoded: list[Any] = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(connections)
        ]
    np.testing.assert_array_equal(decoded[7].applied, action.applied)
    file = next(bag.glob("*.mcap"))
    by_topic: dict[str, int] = {}
    with file.open("rb") as stream:
        for _, channel, _, decoded_2 in make_reader(
            stream, decoder_factories=[DecoderFactory()]
        ).iter_decoded_messages():
            by_topic[channel.topic] = by_topic.get(channel.topic, 0) + 1
            if channel.topic == topics.APPLIED_ACTION and decoded_2.step == 7:
                np.testing.assert_array_equal(np.array(decoded_2.applied, np.float32), action.applied)
    assert by_topic[topics.image_topic("fixed")] == 11
    information = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert information["version"] == 9
    assert information["message_count"] == sum(by_topic.values())
    assert information["relative_file_paths"] == [file.name]


def test_compression_loses_nothing_and_saves_space(tmp_path: Path) -> None:
    bags = [write_bag(tmp_path / kind, compression=kind) for kind in ("zstd", "lz4", "none")]
    sizes = [_size(bag) for bag in bags]
    assert sizes == sorted(sizes)
    for bag in bags:
        np.testing.assert_array_equal(read_episode(bag).fixed.rgb(3), make_image(3))


def test_jpeg_images_are_close_and_rgb(tmp_path: Path) -> None:
    episode = make_episode()
    cameras = {name: CameraSpec(frame_id=name) for name in topics.CAMERAS}
    red = np.full((32, 32, 3), (200, 30, 10), np.uint8)
    with EpisodeBag(tmp_path / "bag", episode, cameras, joint_prefix="panda", images="jpeg") as bag:
        bag.add_observation(START_NS, red, red, make_state(START_NS))
        bag.finish(EpisodePhase.FAILURE, step=0)
    frame = read_episode(tmp_path / "bag").fixed.frame(0)
    assert frame.stamp_ns == START_NS
    assert np.abs(frame.rgb.astype(int) - red).max() <= 4


def test_an_observation_may_be_without_pictures(tmp_path: Path) -> None:
    """Of both cameras, and without their calibration too; the state is there all the same."""
    with open_bag(tmp_path / "bag") as bag:
        bag.add_observation(START_NS, make_image(0), make_image(1), make_state(START_NS))
        bag.add_observation(START_NS + 1, None, None, make_state(START_NS + 1))
        with pytest.raises(BagError, match="both cameras or of none"):
            bag.add_observation(START_NS + 2, make_image(0), None, make_state(START_NS + 2))
        bag.finish(EpisodePhase.FAILURE, step=1)
    recording = read_episode(tmp_path / "bag")
    assert recording.joints.stamps_ns.tolist() == [START_NS, START_NS + 1]
    for camera in topics.CAMERAS:
        assert recording.images[camera].stamps_ns.tolist() == [START_NS]
        assert recording.counts[topics.camera_info_topic(camera)] == 1
    assert recording.picture_every == 1


def test_repeated_messages_are_read_once(tmp_path: Path) -> None:
    """The lockstep world repeats an observation that was not answered; the controller repeats its action."""
    episode = make_episode()
    cameras = {name: CameraSpec(frame_id=name) for name in topics.CAMERAS}
    with EpisodeBag(tmp_path / "bag", episode, cameras, joint_prefix="panda") as bag:
        for _ in range(3):
            bag.add_observation(START_NS, make_image(0), make_image(1), make_state(START_NS))
            bag.add_applied(make_action(episode, 0))
        bag.finish(EpisodePhase.FAILURE, step=1)
    recording = read_episode(tmp_path / "bag")
    assert (len(recording.fixed), len(recording.joints.stamps_ns), len(recording.applied)) == (1, 1, 1)
    assert recording.counts[topics.APPLIED_ACTION] == 3


def test_an_answer_to_the_last_observation_is_no_step(tmp_path: Path) -> None:
    """The controller may act once more before it hears that the episode is over."""
    recording = read_episode(write_bag(tmp_path / "bag", late_actions=1))
    assert [action.step for action in recording.applied] == list(range(10))
    assert recording.counts[topics.APPLIED_ACTION] == 11


def test_a_bag_with_older_definitions_is_read_with_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = write_bag(tmp_path / "bag")
    definition_text = definition("physgen_msgs/msg/AppliedAction")[0]
    # Our types "change": the file's text now differs from the installed one, so the file's must be used.
    monkeypatch.setattr(
        "physgen_control.bags.source.definition", lambda name: (definition(name)[0] + "\nuint8 new\n", "")
    )
    assert "uint8 new" not in definition_text
    assert len(read_episode(bag).applied) == 10


def test_an_unfinished_bag_stays_partial(tmp_path: Path) -> None:
    with open_bag(tmp_path / "bag") as bag:
        bag.add_applied(make_action(make_episode(), 0))
    assert not (tmp_path / "bag").exists()
    assert (tmp_path / "bag.partial").is_dir()
    assert find_bags(tmp_path) == []
    with pytest.raises(BagError, match="physgen repair"):
        read_episode(tmp_path / "bag.partial")


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag")
    with pytest.raises(BagError, match="exists already"):
        write_bag(tmp_path / "bag")


@pytest.mark.parametrize("keep", [0, 5, 100, 3000, -5])
def test_a_truncated_bag_is_a_sentence(tmp_path: Path, keep: int) -> None:
    bag = write_bag(tmp_path / "bag")
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BagError, match="physgen repair"):
        read_episode(bag)


def test_flipped_bits_are_a_sentence_or_harmless(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", steps=2)
    file = next(bag.glob("*.mcap"))
    good = file.read_bytes()
    random = np.random.default_rng(0)
    for position in random.integers(0, len(good), 25):
        bad = bytearray(good)
        bad[position] ^= 1 << int(random.integers(8))
        file.write_bytes(bad)
        try:
            read_episode(bag)
        except BagError:
            continue


def test_other_bags_are_refused(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "other")
    writer.add_topic("/joint_states", "sensor_msgs/msg/JointState")
    writer.finish()
    with pytest.raises(BagError, match="not an episode bag"):
        read_episode(tmp_path / "other")
    with pytest.raises(BagError, match="does not exist"):
        read_episode(tmp_path / "none")
    (tmp_path / "other" / "metadata.yaml").write_text("[1, 2")
    with pytest.raises(BagError, match="cannot be read"):
        read_summary(tmp_path / "other")


def test_wrong_use_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="none"):
        BagWriter(tmp_path / "a", compression="gzip")
    writer = BagWriter(tmp_path / "b")
    with pytest.raises(BagError, match="not added"):
        writer.write("/x", b"", 0)
    with pytest.raises(BagError, match="no_msgs/msg/None"):
        writer.add_topic("/x", "no_msgs/msg/None")
    writer.abandon()
    with open_bag(tmp_path / "c") as bag:
        with pytest.raises(BagError, match="must agree"):
            bag.add_observation(START_NS, make_image(0), make_image(1), make_state(START_NS + 1))
        with pytest.raises(BagError, match="not RUNNING"):
            bag.finish(EpisodePhase.RUNNING, step=0)


def test_the_stamp_is_found_without_decoding() -> None:
    message = build.build_image(BUILDER, make_image(0), 12_345_678_901, "frame")
    assert header_stamp_ns(serialize(message)) == 12_345_678_901
    big_endian = typestore().serialize_cdr(message, message.__msgtype__, little_endian=False)
    assert header_stamp_ns(big_endian) == 12_345_678_901
    with pytest.raises(BagError, match="12 bytes"):
        header_stamp_ns(b"\0\1\0\0")


def open_bag(path: Path) -> EpisodeBag:
    cameras = {name: CameraSpec(frame_id=name) for name in topics.CAMERAS}
    return EpisodeBag(path, make_episode(), cameras, joint_prefix="panda")


def _size(bag: Path) -> int:
    return sum(file.stat().st_size for file in bag.glob("*.mcap"))


def test_actions_before_the_episode_are_no_steps_of_it() -> None:
    """The controller counts on from 0 at the episode: a hold just before it had the number of a later step."""
    from physgen_control.bags.reader import _of_episode

    episode = make_episode()
    before = replace(make_action(episode, 3), episode_id="")
    during = [make_action(episode, step) for step in range(6)]
    assert _of_episode([before, *during], episode.episode_id) == during
    assert _of_episode([before], episode.episode_id) == [before]


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> ImageStream:
    return read_episode(write_bag(tmp_path_factory.mktemp("bags") / "bag")).fixed


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-11, 10), min_size=1, max_size=30))
def test_images_are_the_same_in_any_order(stream: ImageStream, order: list[int]) -> None:
    """They are read from the disk when they are asked for: forwards, backwards, again."""
    for index in order:
        np.testing.assert_array_equal(stream.rgb(index), make_image(range(11)[index]))
    with pytest.raises(IndexError):
        stream.rgb(11)


def test_a_bag_that_changed_under_its_reader_is_a_sentence(tmp_path: Path) -> None:
    stream = read_episode(write_bag(tmp_path / "bag")).fixed
    shutil.rmtree(tmp_path / "bag")
    with pytest.raises(BagError, match="Image 3 of the camera 'fixed' cannot be decoded"):
        stream.rgb(3)
    write_bag(tmp_path / "bag", make_episode(start_ns=7 * 10**9))
    with pytest.raises(BagError, match="has changed since it was opened"):
        stream.rgb(3)


def test_a_damaged_bag_is_left_out_of_a_replay(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_bag(tmp_path / f"e{seed}", make_episode(seed=seed))
    (tmp_path / "e2" / "metadata.yaml").write_text("")
    index = BagIndex.of(tmp_path)
    assert [bag.seed for bag in index.bags] == [1]
    with pytest.raises(BagError, match=r"no bag for task .* seed 2.* 1 bags cannot be read: .*e2"):
        index.find("PickCube-v1", 2)
    (tmp_path / "e1" / "metadata.yaml").write_text("")
    with pytest.raises(BagError, match="None of the 2 bags"):
        BagIndex.of(tmp_path)
