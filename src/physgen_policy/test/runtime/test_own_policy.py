# SPDX-License-Identifier: Apache-2.0
"""A policy of somebody's own answers as a checkpoint's does, and what is no answer is one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from physgen_control.errors import UserError
from physgen_control.types import CameraFrame, Episode, Pose, RobotState
from physgen_policy.contract import own_policy
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.own_policy import Policy, PolicyInput, make_policy
from physgen_policy.contract.past_actions import idle_actions
from physgen_policy.contract.synchronizer import SyncedFrames
from physgen_policy.runtime.own_policy import OwnPolicyRunner

PERIOD_NS = 50_000_000
EPISODE = Episode(episode_id="e", task="t", seed=3, instruction="go", start_ns=0)


class Answers(Policy):
    """Returns what it was told to, and remembers what it saw."""

    needs_state = True
    execute_steps = 4

    def __init__(self, answer: Any) -> None:
        self.answer, self.seen, self.seeds = answer, list[PolicyInput](), list[int]()

    def reset(self, instruction: str, seed: int) -> None:
        self.seeds.append(seed)

    def act(self, observation: PolicyInput) -> Any:
        self.seen.append(observation)
        return self.answer


def observation(step: int) -> PolicyObservation:
    rgb = np.full((4, 6, 3), step, np.uint8)
    frames = tuple(
        CameraFrame(stamp_ns=step * PERIOD_NS, rgb=rgb, frame_id=name) for name in ("fixed", "wrist")
    )
    return PolicyObservation(
        episode_id="e",
        frames=SyncedFrames(("fixed", "wrist"), frames),
        base_step=step,
        past_actions=idle_actions(np.float32(1)),
        first=step == 0,
    )


def state(step: int) -> RobotState:
    return RobotState(
        stamp_ns=step * PERIOD_NS,
        positions=np.full(7, float(step)),
        velocities=np.zeros(7),
        gripper_width=0.08,
        tcp_pose=Pose(position=np.zeros(3), quaternion=np.array([0.0, 0.0, 0.0, 1.0])),
    )


def runner_of(answer: Any) -> tuple[OwnPolicyRunner, Answers]:
    policy = Answers(answer)
    runner = OwnPolicyRunner(policy, "mine", PERIOD_NS)
    runner.reset(EPISODE, "session")
    return runner, policy


def test_actions_become_a_chunk_and_the_rest_of_it_rests():
    actions = np.tile(np.array([0.01, 0, 0, 0, 0, 0, -3.0], np.float32), (5, 1))
    runner, policy = runner_of(actions)
    for step in range(3):
        runner.put_state(state(step))
    chunk = runner.act(observation(1), 77)
    assert chunk.data.shape == (3, 8, 7)
    assert chunk.data.dtype == np.float32
    np.testing.assert_array_equal(chunk.data[0, :5, :6], actions[:, :6])
    assert not chunk.data[0, 5:, :6].any()
    assert not chunk.data[1:, :, :6].any()
    assert (chunk.data[..., 6] == -1.0).all()
    assert (chunk.execute_steps, chunk.base_step, chunk.chunk_seq) == (4, 1, 0)
    assert (chunk.session_id, chunk.policy_id, chunk.instruction) == ("session", "mine", "go")
    [seen] = policy.seen
    assert seen.state is not None
    assert seen.state.positions[0] == 1.0  # of the images' time, not the newest
    assert runner.act(observation(1), 78).chunk_seq == 1


def test_a_whole_plan_is_kept_in_its_order():
    actions = np.arange(24 * 7, dtype=np.float32).reshape(24, 7) / 1000
    runner, _ = runner_of(actions)
    runner.put_state(state(0))
    np.testing.assert_array_equal(runner.act(observation(0), 0).data.reshape(24, 7), actions)


class FromFolder(Answers):
    """Is made from a folder."""

    takes_checkpoint = True

    def __init__(self, folder: Path) -> None:
        super().__init__(np.zeros((4, 7)))
        self.folder = folder


def test_a_policy_that_takes_a_folder_gets_it(tmp_path):
    name = f"{__file__}:FromFolder"
    made = make_policy(name, str(tmp_path))
    assert vars(made)["folder"] == tmp_path
    with pytest.raises(UserError, match="made from a folder: name it"):
        make_policy(name)
    with pytest.raises(UserError, match="is none"):
        make_policy(name, str(tmp_path / "missing"))


def test_a_policy_that_takes_no_folder_refuses_one(tmp_path):
    with pytest.raises(UserError, match="takes no checkpoint"):
        own_policy.check_checkpoint(Answers, "mine", str(tmp_path))


def test_the_same_seed_and_run_give_the_same_random_numbers():
    runner, policy = runner_of(np.zeros((8, 7)))
    runner.reset(EPISODE)
    runner.seed(1)
    runner.reset(EPISODE)
    first, second, other = policy.seeds
    assert first == second != other


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (np.zeros((3, 7)), "4 to 24 actions, and returned 3"),
        (np.zeros((25, 7)), "4 to 24 actions, and returned 25"),
        (np.zeros((8, 6)), r"actions \[n, 7\], and returned \[8, 6\]"),
        (np.full((8, 7), np.nan), "not finite"),
        (None, r"actions \[n, 7\]"),
        ("left", "must return numbers"),
    ],
)
def test_what_is_no_answer_is_refused(answer, words):
    runner, _ = runner_of(answer)
    runner.put_state(state(0))
    with pytest.raises(UserError, match=words):
        runner.act(observation(0), 0)


def test_an_observation_outside_of_the_episode_is_refused():
    runner = OwnPolicyRunner(Answers(np.zeros((8, 7))), "mine", PERIOD_NS)
    with pytest.raises(UserError, match="outside"):
        runner.act(observation(0), 0)


def test_a_state_from_long_before_the_images_is_not_given() -> None:
    """A robot that fell silent: its last state would be a plausible lie."""
    runner = OwnPolicyRunner(Answers(np.zeros((4, 7))), "own", PERIOD_NS)
    runner.reset(EPISODE)
    runner.put_state(state(0))
    assert runner.act(observation(2), 0).base_step == 2
    with pytest.raises(UserError, match="did not come"):
        runner.act(observation(3), 0)


def test_a_robot_that_the_policy_does_not_name_is_refused() -> None:
    runner = OwnPolicyRunner(Answers(np.zeros((4, 7))), "own", PERIOD_NS)
    assert runner.mismatches(GraphDescription(control_period=0.05, robot="panda")) == []
    [sentence] = runner.mismatches(GraphDescription(control_period=0.05, robot="fr3"))
    assert "fr3" in sentence and "panda" in sentence
