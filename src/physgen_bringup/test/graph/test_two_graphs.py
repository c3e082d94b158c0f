# SPDX-License-Identifier: Apache-2.0
"""Two graphs on one computer: each in its own domain, or the second one is refused."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from physgen_bringup.graph.domain import PrivateDomain
from physgen_control.bags.find import find_bags
from physgen_control.bags.reader import read_episode
from physgen_control.types import EpisodePhase

pytestmark = pytest.mark.ros

REFUSED = "another graph runs in DDS domain"


def launch(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return start("launch", "sim:=fake", "policy:=expert", f"output_dir:={folder}", *words, **environment)


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    given = {key: value for key, value in os.environ.items() if key != "ROS_DOMAIN_ID"} | environment
    return subprocess.Popen(
        [sys.executable, "-m", "physgen_bringup.cli", *arguments],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_graphs_started_together_keep_apart(tmp_path: Path) -> None:
    """They once hung both, and their bags held each other's episodes."""
    folders = [tmp_path / name for name in ("left", "right")]
    words = ("record:=true", "episodes:=2")
    running = [launch(folder, *words, f"seed:={10 * index}") for index, folder in enumerate(folders)]
    domains = set()
    for index, process in enumerate(running):
        output, _ = process.communicate(timeout=150)
        assert process.returncode == 0, output
        said = re.search(r"DDS domain (\d+), which is this graph's own", "\n".join(output.splitlines()[:2]))
        assert said, output
        domains.add(said.group(1))
        recordings = [read_episode(bag) for bag in find_bags(folders[index] / "bags")]
        assert sorted(r.episode.seed for r in recordings) == [10 * index, 10 * index + 1]
        for recording in recordings:
            assert recording.outcome is EpisodePhase.SUCCESS
            assert {a.episode_id for a in recording.applied} == {recording.episode.episode_id}
            assert len({chunk.session_id for chunk in recording.chunks}) == 1
    assert len(domains) == 2


@contextmanager
def graph_in(domain: int, folder: Path, **environment: str) -> Iterator[None]:
    """A graph that runs on until the block ends."""
    process = launch(folder, "pace:=realtime", "episodes:=500", ROS_DOMAIN_ID=str(domain), **environment)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "to run" in line:
                break
        else:
            pytest.fail("the first graph did not start")
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_a_second_graph_in_the_same_domain_is_refused(tmp_path: Path) -> None:
    """By a lock where the same user holds it, by its heartbeats where it is another user's or another computer's."""
    with PrivateDomain() as domain:
        caches = [str(tmp_path / name) for name in ("mine", "another's")]
        with graph_in(domain, tmp_path / "first", XDG_CACHE_HOME=caches[0]):
            for cache in caches:
                second = launch(tmp_path / "second", ROS_DOMAIN_ID=str(domain), XDG_CACHE_HOME=cache)
                assert_refused(second, domain)
            fake = ("--policy", "expert", "--episodes", "1")
            demo = ("demo", "--sim", "fake", *fake, "--out", str(tmp_path / "demo"))
            through_ros = (
                "eval",
                "--through-ros",
                "--sim",
                "fake",
                *fake,
                "--out",
                str(tmp_path / "eval"),
            )
            for command in (demo, through_ros):
                assert_refused(start(*command, ROS_DOMAIN_ID=str(domain), XDG_CACHE_HOME=caches[0]), domain)


def assert_refused(second: subprocess.Popen[str], domain: int) -> None:
    output, _ = second.communicate(timeout=60)
    assert second.returncode == 2, output
    assert f"{REFUSED} {domain}" in output.strip().splitlines()[-1], output
