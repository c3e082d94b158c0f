# SPDX-License-Identifier: Apache-2.0
"""Repair keeps every complete message of a cut bag and never touches the original."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.data_stream import ReadDataStream
from mcap.reader import make_reader
from mcap.records import Chunk, Message
from mcap.stream_reader import breakup_chunk
from value_strategies import assert_equal, make_action, make_episode, make_image, make_state, write_bag

from physgen_control.bags.errors import BagError
from physgen_control.bags.reader import read_episode
from physgen_control.bags.repair import repair_bag
from physgen_control.bags.serialize import BUILDER, serialize
from physgen_control.bags.summary import read_summary
from physgen_control.bags.writer import BagWriter
from physgen_control.commands import repair as command
from physgen_control.messages import build, topics
from physgen_control.types import EpisodePhase


def _cut(tmp_path: Path, fraction: float, **options: Any) -> Path:
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
    for name, content in (("x.mcap", b"not a bag at all"), ("empty.mcap", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BagError, match="no complete message"):
            repair_bag(tmp_path / name)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BagError, match=r"no \.mcap file"):
        repair_bag(tmp_path / "notes.txt")


@dataclass(frozen=True, repr=False)
class Whole:
    """The bytes of a whole bag, its messages in file order, and where each of its chunks ends."""

    data: bytes
    messages: tuple[tuple[str, int, bytes], ...]
    chunks: tuple[tuple[int, int], ...]  # end in the file, messages up to there


def _content(file: Path) -> list[tuple[str, int, bytes]]:
    with file.open("rb") as handle:
        return [
            (channel.topic, message.log_time, message.data)
            for _, channel, message in make_reader(handle).iter_messages(log_time_order=False)
        ]


@pytest.fixture(scope="module", params=["zstd", "lz4", "none"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp(request.param)
    writer = BagWriter(folder / "bag", {"task": "x"}, compression=request.param, chunk_bytes=4000)
    for topic in topics.recorded_topics()[:6]:
        writer.add_topic(topic.name, topic.type, latched=topic.latched)
    writer.add_topic(topics.EPISODE_INFO, "physgen_msgs/msg/EpisodeInfo", latched=True)
    info = build.build_episode(BUILDER, make_episode(), "")
    writer.write(topics.EPISODE_INFO, serialize(info), 1)
    for step in range(60):
        joints = build.build_joint_state(BUILDER, make_state(step), "panda", "")
        writer.write(topics.JOINT_STATES, serialize(joints), step + 2)
        image = build.build_image(BUILDER, make_image(step, 8), step, "fixed")
        writer.write(topics.image_topic("fixed"), serialize(image), step + 2)
    file = next(writer.finish().glob("*.mcap"))
    with file.open("rb") as handle:
        summary = make_reader(handle).get_summary()
    assert summary is not None
    ends, total = [], 0
    for chunk in sorted(summary.chunk_indexes, key=lambda c: c.chunk_start_offset):
        with file.open("rb") as handle:
            handle.seek(chunk.chunk_start_offset + 9)
            body = Chunk.read(ReadDataStream(handle))
        total += sum(isinstance(record, Message) for record in breakup_chunk(body))
        ends.append((chunk.chunk_start_offset + chunk.chunk_length, total))
    assert len(ends) > 4
    return Whole(file.read_bytes(), tuple(_content(file)), tuple(ends))


def _repaired(data: bytes) -> list[tuple[str, int, bytes]] | None:
    """What repair makes of a damaged file; None if it says in a sentence that nothing is left."""
    with tempfile.TemporaryDirectory() as folder:
        partial = Path(folder) / "bag.partial"
        partial.mkdir()
        (partial / "bag_0.mcap").write_bytes(data)
        try:
            report = repair_bag(partial)
        except BagError:
            return None
        return _content(next(report.path.glob("*.mcap")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_at_any_byte_every_complete_chunk_is_kept(whole: Whole, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(whole.data)))
    kept = _repaired(whole.data[:cut]) or []
    complete = max((messages for end, messages in whole.chunks if end <= cut), default=0)
    assert len(kept) >= complete
    # Nothing invented, nothing left out in between.
    assert tuple(kept) == whole.messages[: len(kept)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_end_in_a_traceback(whole: Whole, data: st.DataObject) -> None:
    """Bytes are overwritten anywhere: what is kept was recorded, or repair says that nothing is left."""
    damaged = bytearray(whole.data)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(8, len(damaged) - 1))
        noise = data.draw(st.binary(min_size=1, max_size=12))
        damaged[start : start + len(noise)] = noise[: len(damaged) - start]
    _repaired(bytes(damaged))


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    partial = _cut(tmp_path, 0.5)
    assert command.main([str(partial), "--out", str(tmp_path / "out")]) == 0
    assert "outcome CRASHED" in capsys.readouterr().out
    assert read_summary(tmp_path / "out").custom_data["repaired_from"] == "bag.partial"


def test_a_killed_writer_leaves_its_finished_chunks(tmp_path: Path) -> None:
    """Kill -9 in the middle of an episode: all but the open chunk is recovered."""
    code = f"""
        from pathlib import Path
        from physgen_control.bags.serialize import CameraSpec, EpisodeBag
        from physgen_control.messages import topics
        from value_strategies import *
        episode = make_episode()
        cameras = {{name: CameraSpec(frame_id=name) for name in topics.CAMERAS}}
        bag = EpisodeBag(Path({str(tmp_path)!r}) / "bag", episode, cameras, joint_prefix="panda")
        for step in range(100):
            stamp = START_NS + step * PERIOD_NS
            bag.add_observation(stamp, make_image(step, 128), make_image(step, 128), make_state(stamp))
            bag.add_applied(make_action(episode, step))
        print("written", flush=True)
        import time; time.sleep(60)
    """
    here = str(Path(__file__).parents[1])
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
