# SPDX-License-Identifier: Apache-2.0
"""The front door gives the actions that the graph's policy gives for the same images and executed actions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_checkpoint import VIEW, write_tiny_checkpoint

import physgen
from physgen_control.errors import UserError
from physgen_control.types import CameraFrame, Episode
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.synchronizer import SyncedFrames
from physgen_policy.runtime.loading import load_policy
from physgen_policy.runtime.policy_config import PolicyConfig

SENTENCE = "push it"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("loaded") / "tiny", tasks=("T",))


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (VIEW, VIEW, 3), dtype=np.uint8)


def test_the_actions_are_those_of_the_policy_behind_a_graph(folder):
    door = physgen.load(str(folder), device="cpu")
    graph = GraphDescription(control_period=0.05, task="T")
    policy = load_policy(str(folder), graph, PolicyConfig(), "cpu")
    policy.reset(Episode(episode_id="e", task="T", seed=5, instruction=SENTENCE, start_ns=0))
    door.reset(seed=5)
    past = np.zeros((8, 7), np.float32)
    past[:, -1] = 1.0
    for look in range(3):
        fixed, wrist = image(2 * look), image(2 * look + 1)
        frames = tuple(
            CameraFrame(stamp_ns=0, rgb=rgb, frame_id=name)
            for name, rgb in (("fixed", fixed), ("wrist", wrist))
        )
        observation = PolicyObservation(
            episode_id="e",
            frames=SyncedFrames(("fixed", "wrist"), frames),
            base_step=8 * look,
            past_actions=past,
            first=look == 0,
            executed=None if look == 0 else 8,
        )
        expected = policy.act(observation, 0).data
        done = None if look == 2 else past  # the last look takes its own answer as what was executed
        actions = door.act(fixed=fixed, wrist=wrist, instruction=SENTENCE, executed=done)
        np.testing.assert_array_equal(actions, expected)
        past = expected[0] if look == 1 else expected[0] * np.float32(0.5)
    assert actions.shape == (3, 8, 7)
    assert actions.dtype == np.float32


def test_reset_forgets_and_the_same_seed_repeats(folder):
    door = physgen.load(str(folder), device="cpu")
    views: dict[str, Any] = {"fixed": image(0), "wrist": image(1), "instruction": SENTENCE}
    first, second = door.act(**views), door.act(**views)
    door.reset()
    np.testing.assert_array_equal(door.act(**views), first)
    assert (second != first).any()
    door.reset(seed=1)
    assert (door.act(**views) != first).any()


def test_rows_of_a_batch_are_episodes_of_their_own(folder):
    """Row i is the single episode of seed + i, within the rounding of a batch."""
    door, alone = physgen.load(str(folder), device="cpu"), physgen.load(str(folder), device="cpu")
    sentences = [SENTENCE, "stack it"]
    door.reset(seed=3)
    for look in range(2):
        fixed, wrist = (np.stack([image(look), image(9 + look)]) for _ in range(2))
        many = door.act(fixed=fixed, wrist=wrist, instruction=sentences)
        assert many.shape == (2, 3, 8, 7)
        if look == 0:
            for row in range(2):
                alone.reset(seed=3 + row)
                one = alone.act(fixed=fixed[row], wrist=wrist[row], instruction=sentences[row])
                np.testing.assert_allclose(many[row], one, atol=2e-3)
    with pytest.raises(UserError, match="call reset"):
        door.act(fixed=fixed[:1], wrist=wrist[:1], instruction=SENTENCE)
    with pytest.raises(UserError, match="instructions of a batch stay"):
        door.act(fixed=fixed, wrist=wrist, instruction=SENTENCE)


def test_what_it_says_of_itself(folder):
    door = physgen.load(str(folder), device="cpu")
    assert (door.tasks, door.image_size, door.control_period) == (("T",), (VIEW, VIEW), 0.05)
    assert door.imagine() is None


GOOD: dict[str, Any] = {
    "fixed": np.zeros((VIEW, VIEW, 3), np.uint8),
    "wrist": np.zeros((VIEW, VIEW, 3), np.uint8),
    "instruction": SENTENCE,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fixed": np.zeros((VIEW, VIEW, 3))}, "fixed must be uint8"),
        ({"wrist": np.zeros((3, VIEW, VIEW), np.uint8)}, "wrist must be uint8"),
        ({"wrist": np.zeros((1, VIEW, VIEW, 3), np.uint8)}, "one image each"),
        ({"instruction": ["a", "b"]}, "2 instructions"),
        ({"executed": np.zeros((8, 6))}, r"executed must be float32 \[n, 7\]"),
        ({"executed": np.full((8, 7), np.inf)}, "not finite"),
    ],
)
def test_arguments_of_the_wrong_kind_are_one_sentence(folder, change, words):
    door = physgen.load(str(folder), device="cpu")
    with pytest.raises(UserError, match=words):
        door.act(**{**GOOD, **change})


def test_a_checkpoint_that_is_not_there_is_one_sentence():
    with pytest.raises(UserError, match="no checkpoint folder or shipped checkpoint"):
        physgen.load("nothing")
    with pytest.raises(UserError, match="name a checkpoint"):
        physgen.load("")


def test_the_shipped_names_are_listed():
    assert "pushcube-tiny" in physgen.checkpoints()
