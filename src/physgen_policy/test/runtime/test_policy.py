# SPDX-License-Identifier: Apache-2.0
"""The policy on random weights: caching changes nothing, episodes and cancelled work leave no trace."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_episode import DT, EPISODE, observations, roll
from tiny_checkpoint import VIEW, write_tiny_checkpoint

from physgen_control.types import Episode
from physgen_policy.checkpoint import Checkpoint, load_checkpoint
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.runtime.mailbox import Cancelled, CancelToken
from physgen_policy.runtime.pack_window import WindowPolicy
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig, PolicyError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.set_num_threads(1)
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"))


@pytest.mark.parametrize("window_policy", [WindowPolicy.RECOMPUTE, WindowPolicy.RESTART])
def test_cached_equals_uncached_over_a_long_episode(
    checkpoint: Checkpoint, window_policy: WindowPolicy
) -> None:
    """Twenty chunks, four times the window: at every step within 1e-5 of the computation without a cache."""
    cached = roll(PhysGenPolicy(checkpoint, PolicyConfig(window_policy=window_policy)), 20)
    uncached = roll(
        PhysGenPolicy(
            checkpoint, PolicyConfig(engine=EngineOptions(use_cache=False), window_policy=window_policy)
        ),
        20,
    )
    for step, (a, b) in enumerate(zip(cached, uncached, strict=True)):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=0, err_msg=f"chunk {step}")
    assert np.ptp(np.stack(cached), axis=0).max() > 1e-3, (
        "the tiny model ignores its inputs: the test proves nothing"
    )


def test_window_policies_agree_until_the_window_is_full(checkpoint: Checkpoint) -> None:
    """Recompute and restart differ from the sixth pack on, and only from there."""
    recompute = roll(PhysGenPolicy(checkpoint, PolicyConfig(window_policy=WindowPolicy.RECOMPUTE)), 7)
    restart = roll(PhysGenPolicy(checkpoint, PolicyConfig(window_policy=WindowPolicy.RESTART)), 7)
    for step in range(5):
        np.testing.assert_array_equal(recompute[step], restart[step])
    assert np.abs(recompute[5] - restart[5]).max() > 1e-4


def test_window_forgets_what_left_it(checkpoint: Checkpoint) -> None:
    """After five more packs the first frame has no influence: the window is really recomputed."""
    config = PolicyConfig(use_plan=False)
    a, b = PhysGenPolicy(checkpoint, config), PhysGenPolicy(checkpoint, config)
    for policy, first_seed in ((a, 100), (b, 200)):
        policy.reset(EPISODE)
        policy.act(next(observations(1, seed=first_seed)), 0)
    later = list(observations(7))[1:]
    differences = [np.abs(a.act(o, 0).data - b.act(o, 0).data).max() for o in later]
    assert min(differences[:4]) > 1e-6
    np.testing.assert_allclose(differences[4:], 0, atol=1e-6)


def test_outcome_does_not_depend_on_earlier_episodes(checkpoint: Checkpoint) -> None:
    """The same seed after another episode gives the same numbers bit for bit; another seed does not."""
    fresh = roll(PhysGenPolicy(checkpoint), 7)
    used = PhysGenPolicy(checkpoint)
    used.warm_up()
    roll(used, 6, Episode(episode_id="x", task="", seed=1, instruction="other", start_ns=0), seed=5)
    for a, b in zip(fresh, roll(used, 7), strict=True):
        np.testing.assert_array_equal(a, b)
    other_seed = Episode(episode_id="e", task="", seed=8, instruction="push the cube", start_ns=0)
    assert np.abs(fresh[0] - roll(used, 1, other_seed)[0]).max() > 1e-4


def test_chunk_carries_its_contract(checkpoint: Checkpoint) -> None:
    """Shape, units and identity that the controller relies on; the gripper stays within its command range."""
    policy = PhysGenPolicy(checkpoint)
    policy.reset(EPISODE, "session")
    chunks = [policy.act(o, 123) for o in observations(3)]
    for index, chunk in enumerate(chunks):
        assert (chunk.session_id, chunk.episode_id, chunk.chunk_seq) == ("session", "e", index)
        assert (chunk.base_step, chunk.observation_stamp_ns) == (8 * index, 8 * index * DT)
        assert chunk.data.shape == (3, 8, 7)
        assert chunk.data.dtype == np.float32
        assert np.abs(chunk.data[..., 6]).max() <= 1.0
        assert np.abs(chunk.data[..., :3]).max() <= 0.012 + 1e-6
        assert (chunk.step_period_ns, chunk.execute_steps, chunk.inference_start_ns) == (DT, 8, 123)
        assert chunk.policy_id.startswith("tiny@")
        assert chunk.instruction == "push the cube"


def test_plan_and_past_actions_matter_and_unknown_plans_are_dropped(checkpoint: Checkpoint) -> None:
    """Lookahead conditions the next prediction; after a human acted (executed None) it does not."""
    with_plan = roll(PhysGenPolicy(checkpoint, PolicyConfig(use_plan=True)), 3)
    without = roll(PhysGenPolicy(checkpoint, PolicyConfig(use_plan=False)), 3)
    human = roll(PhysGenPolicy(checkpoint, PolicyConfig(use_plan=True)), 3, executed=None)
    np.testing.assert_array_equal(with_plan[0], without[0])
    assert np.abs(with_plan[1] - without[1]).max() > 1e-6
    np.testing.assert_array_equal(human[1], without[1])


def test_cancelled_work_leaves_no_trace(checkpoint: Checkpoint) -> None:
    """Cancelled between denoise steps, then asked again: the same numbers to the last bit."""

    class AfterChecks(CancelToken):
        def __init__(self, checks: int) -> None:
            super().__init__()
            self.left = checks

        def check(self) -> None:
            self.left -= 1
            if self.left < 0:
                self.cancel()
            super().check()

    expected = roll(PhysGenPolicy(checkpoint), 7)
    policy = PhysGenPolicy(checkpoint)
    policy.reset(EPISODE)
    for index, observation in enumerate(observations(7)):
        for checks in (0, 2, 7):
            with pytest.raises(Cancelled):
                policy.act(observation, 0, AfterChecks(checks))
        np.testing.assert_array_equal(policy.act(observation, 0).data, expected[index])


def test_instruction_changes_what_is_predicted_and_keeps_the_history(checkpoint: Checkpoint) -> None:
    """A new instruction acts at the next chunk; the same instruction changes nothing."""
    policy, reference = PhysGenPolicy(checkpoint), PhysGenPolicy(checkpoint)
    for p in (policy, reference):
        p.reset(EPISODE)
    first, second = observations(2)
    policy.act(first, 0)
    reference.act(first, 0)
    policy.set_instruction("push the cube")
    policy.set_instruction("stack the cube")
    chunk = policy.act(second, 0)
    assert chunk.instruction == "stack the cube"
    assert np.abs(chunk.data - reference.act(second, 0).data).max() > 1e-6


def test_instruction_that_cannot_be_read_leaves_the_old_one_in_force(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing text encoder changes neither the text nor the actions, and the next call tries again."""
    policy, reference = PhysGenPolicy(checkpoint), PhysGenPolicy(checkpoint)
    for p in (policy, reference):
        p.reset(EPISODE)
    first, second = observations(2)
    with monkeypatch.context() as patched:
        patched.setattr(policy._prompts, "tokens", failing_tokens)
        with pytest.raises(RuntimeError, match="out of memory"):
            policy.set_instruction("stack the cube")
    assert policy.instruction == EPISODE.instruction
    np.testing.assert_array_equal(policy.act(first, 0).data, reference.act(first, 0).data)
    policy.set_instruction("stack the cube")
    chunk = policy.act(second, 0)
    assert chunk.instruction == "stack the cube"
    assert np.abs(chunk.data - reference.act(second, 0).data).max() > 1e-6


def failing_tokens(instruction: str) -> torch.Tensor:
    raise RuntimeError(f"out of memory while reading {instruction!r}")


def test_imagined_frame_never_touches_the_actions(checkpoint: Checkpoint) -> None:
    """Frames are imagined on demand with random numbers of their own."""
    plain = roll(PhysGenPolicy(checkpoint), 3)
    policy = PhysGenPolicy(checkpoint, PolicyConfig(frame_ar_steps=2, frame_denoise_steps=2))
    policy.reset(EPISODE)
    assert policy.predict_frame() is None
    for index, observation in enumerate(observations(3)):
        np.testing.assert_array_equal(policy.act(observation, 0).data, plain[index])
        image = policy.predict_frame()
        assert image is not None
        assert image.shape == (VIEW, 2 * VIEW, 3)
        assert image.dtype == np.uint8


def test_bfloat16_networks_stay_close(checkpoint: Checkpoint) -> None:
    """The solver's state is float32 whatever the networks use: actions stay near the float32 ones."""
    half = roll(PhysGenPolicy(checkpoint, PolicyConfig(dtype="bfloat16")), 3)
    full = roll(PhysGenPolicy(checkpoint), 3)
    scale = np.array([0.01, 0.01, 0.01, 0.05, 0.05, 0.05, 1.0])
    assert max(np.abs((a - b) / scale).mean() for a, b in zip(half, full, strict=True)) < 0.1


def test_damaged_weights_and_wrong_episodes_are_refused(tmp_path) -> None:
    """Numbers that are none must never reach the controller; the sentence names the checkpoint."""
    damaged = load_checkpoint(write_tiny_checkpoint(tmp_path / "damaged"))
    with torch.no_grad():
        next(damaged.model.action_head.parameters()).fill_(float("nan"))
    policy = PhysGenPolicy(damaged)
    with pytest.raises(PolicyError, match="no episode"):
        policy.act(next(observations(1)), 0)
    policy.reset(EPISODE)
    with pytest.raises(PolicyError, match="damaged predicted actions that are not finite"):
        policy.act(next(observations(1)), 0)
    with pytest.raises(PolicyError, match="episode z"):
        policy.act(next(observations(1, episode_id="z")), 0)


@pytest.mark.parametrize(
    "changes", [{"denoise_steps": 0}, {"action_samples": 0}, {"execute_steps": 9}, {"num_threads": -1}]
)
def test_bad_configuration_is_refused(changes: dict[str, Any]) -> None:
    """Impossible settings end before weights are loaded."""
    with pytest.raises(ValueError):
        PolicyConfig(**changes)


def test_the_lookahead_of_a_model_without_one_rests(tmp_path: Path) -> None:
    """One predicted chunk: the message still holds three, and nothing moves in the others."""
    folder = write_tiny_checkpoint(tmp_path / "one", action={"num_chunks": 1, "plan_conditioning": False})
    chunks = roll(PhysGenPolicy(load_checkpoint(folder), PolicyConfig()), 3)
    for chunk in chunks:
        assert chunk.shape == (3, 8, 7) and np.ptp(chunk[0], axis=0).max() > 0
        assert not chunk[1:, :, :6].any() and (chunk[1:, :, 6] == chunk[0, -1, 6]).all()
