# SPDX-License-Identifier: Apache-2.0
"""What a lab does, end to end on the fake Franka: demonstrate, correct, record, convert, fine-tune, deploy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")
pytest.importorskip("physgen_msgs")

from human_probe import DEADMAN, POLICY, TELEOP, HumanProbe
from lerobot_package import load_with_lerobot
from running_processes import children
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.graph.spec import Graph
from physgen_bringup.processes.runner import LocalRunner
from physgen_bringup.results import results
from physgen_control.bags.find import find_bags
from physgen_control.bags.reader import read_episode
from physgen_control.messages.topics import CAMERAS
from physgen_control.types import AckResult, EpisodePhase
from physgen_policy.commands import train
from physgen_policy.commands.convert import main as convert
from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.dataset import Dataset
from physgen_policy.data.demonstration import EpisodeRejectedError, read_demonstration
from physgen_policy.data.image_choice import LATEST_STEPS

pytestmark = [pytest.mark.ros, pytest.mark.realtime, pytest.mark.slow]

PICK, PUSH = "FrankaPick-v0", "FrankaPush-v0"
# Small pictures, because every process shares two cores; faster than the control rate, as a dataset needs them.
CAMERA = "camera_profile:=64x48x30"


def graph_of(folder: Path, *words: str) -> Graph:
    given = ["sim:=fake", "record:=true", "episodes:=1", CAMERA, f"output_dir:={folder}", *words]
    graph = build_graph(check_arguments(parse_arguments(given)))
    return graph.with_parameters("fake_franka_node", state_rate=40.0)


def run(graph: Graph) -> None:
    lines: list[str] = []
    with PrivateDomain() as domain:
        status = LocalRunner(graph, domain_id=domain, console=lines.append).run()
    assert status == 0, "\n".join(lines)
    assert children() == []


def only_bag(folder: Path) -> Path:
    [bag] = find_bags(folder / "bags")
    return bag


def demonstrate(folder: Path) -> Path:
    """The scripted person picks the cube by twists and buttons; nobody else acts."""
    run(graph_of(folder, f"task:={PICK}", "policy:=none", "teleop:=script", "seed:=1"))
    return only_bag(folder)


def correct(folder: Path) -> Path:
    """A person with a gamepad takes over from a policy for a moment; the policy then finishes."""
    graph = graph_of(folder, f"task:={PUSH}", "policy:=expert", "teleop:=joy", "seed:=1")
    lines: list[str] = []
    with PrivateDomain() as domain, HumanProbe(domain) as probe:
        probe.node.destroy_publisher(probe._chunks)  # the expert is the policy here
        runner = LocalRunner(graph, domain_id=domain, console=lines.append)
        try:
            runner.start()
            probe.wait_for(lambda: len(probe.steps(POLICY)) > 4, "the policy")
            probe.push(left=0.5)
            probe.hold(DEADMAN)
            probe.wait_for(lambda: len(probe.steps(TELEOP)) > 8, "the person")
            probe.push()
            probe.hold()
            probe.wait_for(lambda: not runner.alive("episode_runner_node"), "the end of the episode", 120.0)
            assert runner.wait() == 0, "\n".join(lines)
        finally:
            runner.stop()
    assert children() == []
    return only_bag(folder)


@dataclass(frozen=True)
class Recordings:
    """Two bags and what became of them."""

    folder: Path
    demonstrated: Path
    corrected: Path

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"


def usable(record: Callable[[Path], Path], folder: Path) -> Path:
    """Record until the bag can be a demonstration, as a person does: cameras of a busy machine may stand still."""
    refused = []
    for attempt in range(3):
        bag = record(folder / str(attempt))
        try:
            read_demonstration(bag, control_rate_hz=20.0, cameras=CAMERAS)
        except EpisodeRejectedError as error:
            refused.append(str(error))
        else:
            return bag
    raise AssertionError("\n".join(refused))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """One demonstrated and one corrected episode, and the dataset of both."""
    folder = tmp_path_factory.mktemp("arm")
    made = Recordings(
        folder=folder,
        demonstrated=usable(demonstrate, folder / "a_demonstrated"),
        corrected=usable(correct, folder / "b_corrected"),
    )
    words = [str(made.demonstrated), str(made.corrected), "--image-size", "32", "--out", str(made.dataset)]
    assert convert(words) == 0
    assert len(Dataset(made.dataset)) == 2
    return made


def by_person(bag: Path) -> list[bool]:
    """Whether a person was in command, for the steps in which somebody was."""
    return [a.source is TELEOP for a in read_episode(bag).applied if a.source in (POLICY, TELEOP)]


def test_bags_say_who_was_in_command_and_so_does_the_dataset(recordings: Recordings) -> None:
    alone, mixed = by_person(recordings.demonstrated), by_person(recordings.corrected)
    assert len(alone) > 30
    assert all(alone)
    assert mixed.count(True) > 8
    assert mixed.count(False) > 20
    dataset = Dataset(recordings.dataset)
    assert dataset.embodiment.robot == "fr3"
    assert set(dataset.embodiment.tasks) == {PICK, PUSH}
    for index, recorded in enumerate((alone, mixed)):
        steps = len(dataset.actions(index))
        assert len(recorded) - steps < LATEST_STEPS  # the very last ones may lack a picture
        assert dataset.intervention(index).tolist() == recorded[:steps]
        images = dataset.images(index)
        assert len(images) == steps + 1
        # The arm and the cube move in the pictures.
        assert np.abs(images[0].astype(int) - images[-1]).max() > 50


def test_the_lerobot_package_reads_the_episodes_and_the_intervention(recordings: Recordings) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed (requirements/lerobot.lock)")
    out = recordings.folder / "lerobot"
    words = [str(recordings.demonstrated), str(recordings.corrected), "--out", str(out)]
    if not out.exists():  # a repeated test
        assert convert([*words, "--format", "lerobot"]) == 0
    dataset = Dataset(recordings.dataset)
    by_hand = np.concatenate([dataset.intervention(0), dataset.intervention(1)])
    actions = np.concatenate([dataset.actions(0), dataset.actions(1)])

    import pyarrow.parquet as pq

    table = pq.read_table(out / "data/chunk-000/file-000.parquet")
    assert table["is_intervention"].to_pylist() == by_hand.tolist()

    first = len(dataset.actions(0))
    policy_row, person_row = (first + dataset.intervention(1).tolist().index(who) for who in (False, True))
    rows = [0, first - 1, policy_row, person_row, len(actions) - 1]
    loaded = load_with_lerobot(out, rows)
    assert (loaded["episodes"], loaded["frames"], loaded["fps"]) == (2, len(actions), 20)
    assert set(loaded["tasks"]) == {"pick up the cube and move it to the goal", "push the cube to the goal"}
    for row in rows:
        item = loaded["items"][str(row)]
        assert bool(np.squeeze(item["is_intervention"])) == by_hand[row]
        np.testing.assert_allclose(item["action"], actions[row], rtol=1e-6)
        assert len(item["observation.state"]) == 15
        assert len(item["observation.images.fixed"]) == 3


def test_a_fine_tune_on_the_bags_moves_the_arm(recordings: Recordings, tmp_path: Path) -> None:
    """From bags to a policy in command of the fake Franka; it is too small to solve anything."""
    # Another robot and another task; whatever its random weights predict is no step that the controller refuses.
    small = NormStats(np.zeros(7, np.float32), np.array([0.004] * 3 + [0.01] * 3 + [1.0], np.float32), 100)
    base = write_tiny_checkpoint(tmp_path / "base", norm=small)
    out = tmp_path / "run"
    few = ["--steps", "3", "--batch-size", "2", "--lora-rank", "2", "--device", "cpu", "--precision", "fp32"]
    bags = ["--bags", str(recordings.demonstrated), "--bags", str(recordings.corrected)]
    assert train.main(["--finetune", str(base), *bags, "--out", str(out), *few]) == 0

    folder = tmp_path / "deployed"
    words = ["policy:=physgen", f"checkpoint:={out / 'checkpoint'}", "max_steps:=600", "seed:=2"]
    graph = graph_of(folder, f"task:={PICK}", *words)
    run(graph.with_parameters("policy_node", device="cpu", denoise_steps=2, action_samples=1))

    [episode] = results.read(folder / "results.json").episodes
    assert not episode.crashed
    recording = read_episode(only_bag(folder))
    assert recording.outcome in (EpisodePhase.FAILURE, EpisodePhase.SUCCESS)
    acting = [action for action in recording.applied if action.source is POLICY]
    assert len(acting) > 10
    assert {action.session_id for action in acting} == {chunk.session_id for chunk in recording.chunks}
    accepted = [ack for ack in recording.acks if ack.result is AckResult.ACCEPTED]
    assert len(accepted) >= 2
    way = recording.poses.positions[recording.poses.stamps_ns >= acting[0].stamp_ns]
    assert np.linalg.norm(way - way[0], axis=1).max() > 0.005
