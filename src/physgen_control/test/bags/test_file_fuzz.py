# SPDX-License-Identifier: Apache-2.0
"""Damaged bags: reading and repairing give data or a BagError, whatever the bytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from file_mutants import check_reader, damaged_bytes, damaged_copy
from rosbags.rosbag2 import Reader
from value_strategies import write_bag

from physgen_control.bags.find import find_bags
from physgen_control.bags.reader import read_episode
from physgen_control.bags.repair import repair_bag
from physgen_control.bags.summary import read_summary
from physgen_control.bags.writer import BagWriter


def read_all(path: Path) -> None:
    """Everything that training, replay and the viewer take from a bag."""
    for bag in find_bags(path):
        read_summary(bag)
    recording = read_episode(path)
    assert recording.picture_every in (1, 2, 4, 8)
    for stream in recording.images.values():
        assert (stream.stamps_ns[1:] > stream.stamps_ns[:-1]).all()
        for index in range(len(stream)):
            pixels = stream.rgb(index)
            assert pixels.ndim == 3 and pixels.shape[2] == 3
    states = recording.robot_states()
    assert len(states) <= len(recording.joints.stamps_ns)
    assert [action.step for action in recording.applied] == sorted(
        action.step for action in recording.applied
    )


def repair_all(path: Path) -> None:
    """A repaired bag can at least be summed up."""
    shutil.rmtree(path.parent / "repaired", ignore_errors=True)
    shutil.rmtree(path.parent / "repaired.partial", ignore_errors=True)
    report = repair_bag(path, path.parent / "repaired")
    read_summary(report.path)


class Mutants:
    """Bags with one damaged file, or whose messages were damaged before they were written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bags = [write_bag(folder / kind, steps=2, compression=kind) for kind in ("zstd", "lz4", "none")]
        self.messages = []
        with Reader(self.bags[0]) as reader:
            for connection, stamp, data in reader.messages():
                self.messages.append((connection.topic, connection.msgtype, stamp, bytes(data)))
        self.custom = read_summary(self.bags[0]).custom_data

    def of_files(self, random: Random) -> Path:
        return damaged_copy(random.choice(self.bags), self.folder / "mutant", random)

    def of_messages(self, random: Random) -> Path:
        target = self.folder / "mutant"
        shutil.rmtree(target, ignore_errors=True)
        writer = BagWriter(target, self.custom)
        for topic, kind in dict.fromkeys((topic, kind) for topic, kind, _, _ in self.messages):
            writer.add_topic(topic, kind)
        chosen = set(random.sample(range(len(self.messages)), random.choice([1, 1, 2, 5])))
        for index, (topic, _, stamp, data) in enumerate(self.messages):
            writer.write(topic, damaged_bytes(data, random) if index in chosen else data, stamp, stamp)
        return writer.finish()


@pytest.fixture(scope="module")
def mutants(tmp_path_factory: pytest.TempPathFactory) -> Mutants:
    return Mutants(tmp_path_factory.mktemp("bags"))


CASES = [
    ("of_files", read_all),
    ("of_messages", read_all),
    ("of_files", repair_all),
    ("of_messages", repair_all),
]


@pytest.mark.parametrize(("kind", "read"), CASES)
def test_some_damaged_bags(mutants: Mutants, kind: str, read: Callable[[Path], None]) -> None:
    check_reader(range(60), getattr(mutants, kind), read)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("kind", "read"), CASES)
def test_many_damaged_bags(mutants: Mutants, kind: str, read: Callable[[Path], None]) -> None:
    results = check_reader(range(1000, 2000), getattr(mutants, kind), read)
    assert results["refused"] > 100 or read is repair_all
