# SPDX-License-Identifier: Apache-2.0
"""The loop around a LeRobot policy: when it is asked, what it is shown, what is drawn for it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from physgen_bringup.commands import evaluate
from physgen_bringup.episode.inprocess import InProcess
from physgen_bringup.episode.lerobot_source import LerobotSource, random_seed, rest_after
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.results.results import EpisodeResult
from physgen_control.controller.core import ControllerCore
from physgen_control.errors import UserError
from physgen_policy.peer.client import LerobotClient
from physgen_policy.peer.description import LerobotDescription
from physgen_policy.peer.observation import LerobotObservation
from physgen_sim_bridge.fake.world import FakeWorld
from physgen_sim_bridge.world import Observation

MAX_STEPS = 30
PERIOD_NS = 50_000_000


class WatchedWorld(FakeWorld):
    """A fake world that notes which observations it draws."""

    def __init__(self) -> None:
        super().__init__("FakePush-v0", image_size=32)
        self.drawn = [0]
        self._steps = 0

    def step(self, action: np.ndarray, *, render: bool = True) -> Observation:
        self._steps += 1
        if render:
            self.drawn.append(self._steps)
        return super().step(action, render=render)


class Waggler:
    """Stands for the process of a policy: small actions that depend on everything it is shown."""

    def __init__(self, observations: int, execute: int, chunk: int = 24) -> None:
        self.description = LerobotDescription(
            folder=Path("none"),
            type="diffusion",
            views={"fixed": (32, 32), "wrist": (32, 32)},
            sees_state=True,
            num_observations=observations,
            execute_steps=execute,
            ensembles=False,
        )
        self.asked: list[Sequence[LerobotObservation]] = []
        self.seeds: list[int] = []
        self._chunk = chunk

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def chunk(self, observations: Sequence[LerobotObservation], task: str) -> np.ndarray:
        assert task
        self.asked.append(observations)
        seen = sum(float(o.images[c].mean()) for o in observations for c in o.images)
        actions = np.zeros((self._chunk, 7), np.float32)
        actions[:, 0] = 0.01 * np.sin(seen + float(observations[-1].state.sum()) + np.arange(self._chunk))
        actions[:, 6] = 1.0
        return actions


def run(
    client: Waggler, *, pace: str = "lockstep", delay_steps: int = 0, render_all: bool = False
) -> tuple[EpisodeResult, np.ndarray, list[int]]:
    world = WatchedWorld()
    words = ["sim:=fake", "task:=FakePush-v0", "policy:=expert", f"pace:={pace}"]
    core = ControllerCore(controller_config(build_graph(parse_arguments(words)).node("controller_node")))
    assert core.auto_arm()
    session = InProcess(
        world,
        core,
        LerobotSource(cast(LerobotClient, client), PERIOD_NS),
        max_steps=MAX_STEPS,
        delay_steps=delay_steps,
        render_all=render_all,
    )
    result, _ = session.run_episode(3)
    return replace(result, wall_s=0.0), np.array([a.applied for a in session.actions]), world.drawn


@pytest.mark.parametrize("execute", [1, 5, 8])
@pytest.mark.parametrize("observations", [1, 2, 3])
def test_it_is_asked_when_the_last_chunk_is_over(observations, execute):
    """In lockstep every `execute` steps, with the images of the steps before and no others."""
    client = Waggler(observations, execute)
    result, _, drawn = run(client)
    due = range(0, result.steps, execute)
    assert len(client.asked) == len(due)
    assert all(len(seen) == observations for seen in client.asked)
    wanted = {k for step in due for k in range(step - observations + 1, step + 1) if k >= 0}
    # The images before the next chunk are drawn though the episode ends first.
    assert wanted <= set(drawn)
    assert not {k for k in drawn if k <= due[-1]} - wanted
    # At the start the first observation stands for those before it.
    assert all(seen is client.asked[0][0] for seen in client.asked[0])


@pytest.mark.parametrize(("pace", "delay"), [("lockstep", 0), ("realtime", 0), ("realtime", 3)])
@pytest.mark.parametrize("observations", [1, 2])
def test_drawing_only_what_is_looked_at_changes_nothing(observations, pace, delay):
    every, few = Waggler(observations, 8), Waggler(observations, 8)
    result, actions, _ = run(every, pace=pace, delay_steps=delay, render_all=True)
    lean_result, lean_actions, drawn = run(few, pace=pace, delay_steps=delay)
    assert lean_result == result
    np.testing.assert_array_equal(lean_actions, actions)
    assert len(drawn) <= observations * (len(few.asked) + 1) + len(few.asked)


def test_a_short_chunk_is_executed_as_far_as_it_goes():
    client = Waggler(1, 8, chunk=3)
    result, _, _ = run(client)
    assert len(client.asked) == len(range(0, result.steps, 3))


def test_random_numbers_follow_the_seed_and_the_run():
    seeds = {random_seed(seed, run) for seed in range(20) for run in range(3)}
    assert len(seeds) == 60
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_what_is_not_predicted_rests():
    actions = np.full((2, 7), 0.5, np.float32)
    filled = rest_after(actions)
    np.testing.assert_array_equal(filled[:2], actions)
    assert not filled[2:, :6].any()
    assert (filled[:, 6] == 0.5).all()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs --checkpoint"),
        (["--checkpoint", "nowhere"], "is not a folder"),
        (["--checkpoint", "nowhere", "--through-ros"], "has no node"),
        (["--checkpoint", "nowhere", "--batch", "2"], "--batch is for"),
        (
            ["--checkpoint", "nowhere", "--pace", "realtime", "--execution", "pipelined"],
            "pipelined is for --policy physgen",
        ),
    ],
)
def test_what_it_cannot_do_is_a_sentence(tmp_path, words, sentence):
    out = ["--sim", "fake", "--policy", "lerobot", "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match=sentence):
        evaluate.main([*out, *words])
