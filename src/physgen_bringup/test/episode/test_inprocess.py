# SPDX-License-Identifier: Apache-2.0
"""The loop in one process draws only what the policy looks at, and nobody can tell from the outcome."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluations import make_in_process
from tiny_checkpoint import write_tiny_checkpoint

from physgen_bringup.episode.inprocess import InProcess
from physgen_bringup.episode.sources import ChunkSource, PolicySource
from physgen_bringup.evaluation.run import EvaluationSpec
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.results.results import EpisodeResult
from physgen_control.controller.core import ControllerCore
from physgen_control.errors import UserError
from physgen_sim_bridge.fake.world import FakeWorld
from physgen_sim_bridge.world import Observation, World

MAX_STEPS = 30


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", tasks=("FakePush-v0",))


class WatchedWorld(FakeWorld):
    """A fake world that counts what it draws."""

    def __init__(self, task: str) -> None:
        super().__init__(task, image_size=32)
        self.rendered: list[bool] = []

    def step(self, action: np.ndarray, *, render: bool = True) -> Observation:
        self.rendered.append(render)
        return super().step(action, render=render)


def session_of(world: World, source: ChunkSource, **options: Any) -> InProcess:
    words = ["sim:=fake", f"task:={world.spec.task}", "policy:=expert"]
    core = ControllerCore(controller_config(build_graph(parse_arguments(words)).node("controller_node")))
    assert core.auto_arm()
    return InProcess(world, core, source, max_steps=MAX_STEPS, **options)


def run_with(
    checkpoint: Path, world: World, seed: int, *, render_all: bool
) -> tuple[EpisodeResult, np.ndarray]:
    source = PolicySource.load(checkpoint, world.spec.task, "panda", world.spec.control_period_ns)
    session = session_of(world, source, render_all=render_all)
    result, _ = session.run_episode(seed)
    return replace(result, wall_s=0.0), np.array([action.applied for action in session.actions])


@pytest.mark.parametrize("seed", [0, 5])
def test_drawing_only_what_is_looked_at_changes_nothing(checkpoint, seed):
    """Success, steps and every applied number are the same, with an eighth of the pictures."""
    every, few = WatchedWorld("FakePush-v0"), WatchedWorld("FakePush-v0")
    result, actions = run_with(checkpoint, every, seed, render_all=True)
    lean_result, lean_actions = run_with(checkpoint, few, seed, render_all=False)
    assert lean_result == result
    np.testing.assert_array_equal(lean_actions, actions)
    assert all(every.rendered)
    assert [step + 1 for step, drawn in enumerate(few.rendered) if drawn] == list(
        range(8, result.steps + 1, 8)
    )


def test_an_observation_without_pictures_cannot_reach_the_policy(checkpoint):
    """A source that forgets to ask ends the episode with a sentence; it never acts on black images."""

    class Forgetful(PolicySource):
        needs_images = False

    session = session_of(
        WatchedWorld("FakePush-v0"), Forgetful.load(checkpoint, "FakePush-v0", "panda", 50_000_000)
    )
    with pytest.raises(UserError, match="nobody answered the observation of step 8"):
        session.run_episode(0)


def test_scripted_policies_never_ask_for_pictures(tmp_path):
    spec = EvaluationSpec(
        sim="fake",
        task="FakePush-v0",
        policy="expert",
        checkpoint=None,
        episodes=1,
        seed=0,
        max_steps=0,
        out=tmp_path,
        workers=1,
    )
    session = make_in_process(spec)
    assert not session._source.needs_images
    session.close()
