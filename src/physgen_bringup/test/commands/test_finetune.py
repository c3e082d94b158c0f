# SPDX-License-Identifier: Apache-2.0
"""Recorded bags to a deployable policy in one command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.collection.run import CollectionConfig, Collector
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.results.rules import make_protocol
from physgen_control.errors import UserError
from physgen_policy.checkpoint import CheckpointError, checkpoint_sha256, load_checkpoint
from physgen_policy.commands import train
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.data.dataset import Dataset, DatasetError
from physgen_policy.runtime.loading import load_policy
from physgen_policy.runtime.policy_config import PolicyConfig
from physgen_sim_bridge.experts.by_task import make_expert
from physgen_sim_bridge.registry import make_world

TASK = "FakePush-v0"


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three episodes of the scripted expert."""
    words = ["sim:=fake", f"task:={TASK}", "policy:=expert"]
    controller = controller_config(build_graph(parse_arguments(words)).node("controller_node"))
    collector = Collector(make_world("fake", TASK), make_expert("fake", TASK), controller, CollectionConfig())
    folder = tmp_path_factory.mktemp("bags")
    for seed in range(3):
        collector.collect(seed, folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("base") / "base")


def options(base: Path, run: Path, *more: str) -> list[str]:
    few = ["--steps", "2", "--batch-size", "2", "--lora-rank", "2", "--device", "cpu", "--precision", "fp32"]
    return ["--finetune", str(base), "--out", str(run), *few, *more]


def test_bags_become_a_policy_that_the_graph_loads(bags: Path, base: Path, tmp_path: Path) -> None:
    """Converted to what the checkpoint sees, fine-tuned, and deployed for the recorded task and robot."""
    run = tmp_path / "run"
    assert train.main(options(base, run, "--bags", str(bags))) == 0
    dataset, before = Dataset(run / "dataset"), load_checkpoint(base)
    assert len(dataset) == 3
    assert dataset.embodiment.image_height == before.embodiment.image_height
    graph = GraphDescription(control_period=0.05, task=TASK, robot=dataset.embodiment.robot)
    for folder in ("checkpoint", "adapter"):
        policy = load_policy(str(run / folder), graph, PolicyConfig(), "cpu")
        assert policy.checkpoint.norm.to_json() == before.norm.to_json()
        protocol = make_protocol(
            sim="fake",
            task=TASK,
            policy="physgen",
            checkpoint=run / folder,
            pace="lockstep",
            execution="sync",
            max_steps=0,
            transport="inprocess",
        )
        assert protocol.checkpoint_sha256 == checkpoint_sha256(run / folder)
    with pytest.raises(CheckpointError, match="was trained for"):
        load_policy(str(base), graph, PolicyConfig(), "cpu")
    with pytest.raises(UserError, match="already holds a run"):
        train.main(options(base, run, "--bags", str(bags)))
    assert train.main(options(base, run, "--bags", str(bags), "--resume")) == 0


def test_a_resumed_fine_tune_keeps_its_dataset(bags: Path, base: Path, tmp_path: Path) -> None:
    """Bags that came since are not put under a run that was begun without them."""
    some, run = tmp_path / "bags", tmp_path / "run"
    shutil.copytree(bags, some)
    later = sorted(path for path in some.iterdir() if path.is_dir())[0]
    later.rename(tmp_path / "later")
    assert train.main(options(base, run, "--bags", str(some))) == 0
    (tmp_path / "later").rename(later)
    assert train.main(options(base, run, "--bags", str(some), "--resume")) == 0
    assert len(Dataset(run / "dataset")) == 2


def test_only_what_imagines_frames_may_be_trained(bags: Path, base: Path, tmp_path: Path) -> None:
    """By one option: the same bags, the shipped recipe of the frame side, and a policy that is what it was."""
    run = tmp_path / "run"
    few = ["--steps", "2", "--batch-size", "2", "--device", "cpu", "--precision", "fp32"]
    words = ["--finetune", str(base), "--frames-only", "--bags", str(bags), "--output", str(run), *few]
    assert train.main(words) == 0
    before, after = load_checkpoint(base), load_checkpoint(run / "checkpoint")
    assert after.model.config.frames.next_actions and after.model.frame_inputs is not None
    old = before.model.action_head.state_dict()
    assert all(torch.equal(value, old[key]) for key, value in after.model.action_head.state_dict().items())
    with pytest.raises(UserError, match="--frames-only belongs to --finetune"):
        train.main(["--frames-only"])


def test_unusable_input_is_a_sentence(bags: Path, base: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match="--finetune needs recordings"):
        train.main(options(base, run))
    with pytest.raises(UserError, match="needs --out"):
        train.main(["--finetune", str(base), "--bags", str(bags)])
    with pytest.raises(UserError, match="give a training configuration"):
        train.main([])
    with pytest.raises(UserError, match="leave --init-from out"):
        train.main(options(base, run, "--bags", str(bags), "--init-from", str(base)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no bags in"):
        train.main(options(base, run, "--bags", str(tmp_path / "empty")))
