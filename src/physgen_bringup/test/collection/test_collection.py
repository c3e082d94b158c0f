# SPDX-License-Identifier: Apache-2.0
"""Collection with a leading policy: its steps are recorded as context and never become labels."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from physgen_bringup.collection.run import CollectionConfig, Collector
from physgen_bringup.episode.sources import RandomSource
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_control.bags.find import find_bags
from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.types import HORIZON, EpisodePhase, Limit
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.registry import make_world

TASK = "FakePush-v0"


@pytest.fixture(scope="module")
def led_bags(tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeRecording]:
    """Bags of episodes whose first chunks a random policy led."""
    words = ["sim:=fake", f"task:={TASK}", "policy:=expert"]
    controller = controller_config(build_graph(parse_arguments(words)).node("controller_node"))
    config = CollectionConfig(led_chunks=3, tail_steps=2)
    collector = Collector(
        make_world("fake", TASK), make_expert("fake", TASK), controller, config, RandomSource(controller)
    )
    folder = tmp_path_factory.mktemp("led")
    return [read_episode(collector.collect(seed, folder).path) for seed in range(6)]


def led_steps(bag: EpisodeRecording) -> int:
    return [Limit.DISTURBANCE in action.limits for action in bag.applied].index(False)


def test_the_leader_executes_whole_chunks_and_the_expert_the_rest(led_bags):
    counts = [led_steps(bag) for bag in led_bags]
    assert set(counts) <= {HORIZON, 2 * HORIZON, 3 * HORIZON} and len(set(counts)) > 1
    for bag, count in zip(led_bags, counts, strict=True):
        flags = [Limit.DISTURBANCE in action.limits for action in bag.applied]
        assert all(flags[:count]) and not any(flags[count:])
        assert len(bag.applied) > count + 2


def test_the_expert_recovers_from_where_the_leader_went(led_bags):
    assert all(bag.outcome is EpisodePhase.SUCCESS for bag in led_bags)


def test_led_steps_are_no_labels_of_the_dataset(led_bags):
    from physgen_policy.contract.embodiment import Embodiment
    from physgen_policy.data.convert import episode_from_bag

    bag = led_bags[0]
    rate = 1e9 / (bag.applied[1].stamp_ns - bag.applied[0].stamp_ns)
    record = episode_from_bag(bag.path, Embodiment(robot=bag.episode.robot, control_rate_hz=rate))
    count = led_steps(bag)
    assert not record.labels[:count].any() and record.labels[count:].all()


def wait_until_gone(group: int) -> None:
    """Workers must not outlive the command, however it ended."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("workers outlived the killed command")


def test_a_killed_collection_continues_and_keeps_what_it_had(tmp_path):
    """kill -9 in the middle of an episode: its unfinished bag is set aside and its seed recorded anew."""
    command = [sys.executable, "-m", "physgen_bringup.commands.collect", "--sim", "fake", "--task", TASK]
    command += ["--workers", "1", "--out", str(tmp_path)]
    process = subprocess.Popen([*command, "--episodes", "500"], start_new_session=True)
    unfinished: list[Path] = []
    while not unfinished:
        assert process.poll() is None
        unfinished = list(tmp_path.glob("*.partial"))
    process.kill()
    process.wait()
    wait_until_gone(process.pid)
    unfinished = list(tmp_path.glob("*.partial"))
    finished = {path.name for path in find_bags(tmp_path)}
    count = len(finished) + len(unfinished)
    done = subprocess.run([*command, "--episodes", str(count)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(find_bags(tmp_path)) == count
    assert len(list(tmp_path.glob("*.interrupted-0.partial"))) == len(unfinished)
    for path in unfinished:
        assert f"{path.name.removesuffix('.partial')}.interrupted-0.partial" in done.stdout.replace("\n", "")
