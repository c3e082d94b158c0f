# SPDX-License-Identifier: Apache-2.0
"""Laws of the shared policy: who shares a batch with whom is nobody's business."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_checkpoint import VIEW, write_tiny_checkpoint

from physgen_control.types import ActionChunk, CameraFrame, Episode
from physgen_policy.checkpoint import Checkpoint, load_checkpoint
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.synchronizer import SyncedFrames
from physgen_policy.runtime.batched import BatchedPolicy, BatchItem
from physgen_policy.runtime.pack_window import WindowPolicy
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig, PolicyError

CHUNKS = 7
"""More than the window holds."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny"))


def episode_of(seed: int) -> Episode:
    return Episode(
        episode_id=f"episode-{seed}", task="PushCube-v1", seed=seed, instruction="push it", start_ns=0
    )


def observation_of(seed: int, number: int) -> PolicyObservation:
    rng = np.random.default_rng((seed, number))
    frames = tuple(
        CameraFrame(stamp_ns=number, rgb=rng.integers(0, 255, (VIEW, VIEW, 3), np.uint8), frame_id=name)
        for name in ("fixed", "wrist")
    )
    return PolicyObservation(
        episode_id=f"episode-{seed}",
        frames=SyncedFrames(("fixed", "wrist"), frames),
        base_step=8 * number,
        past_actions=rng.uniform(-0.01, 0.01, (8, 7)).astype(np.float32),
        first=number == 0,
        executed=8 if number else None,
    )


def alone(checkpoint: Checkpoint, seed: int, config: PolicyConfig, run: int = 0) -> list[ActionChunk]:
    policy = PhysGenPolicy(checkpoint, config)
    policy.seed(run)
    policy.reset(episode_of(seed))
    return [policy.act(observation_of(seed, n), n) for n in range(CHUNKS)]


def in_batch(
    checkpoint: Checkpoint,
    config: PolicyConfig,
    batch: int,
    order: Sequence[Sequence[int]],
    runs: dict[int, int] | None = None,
) -> dict[int, list[ActionChunk]]:
    """Chunks by seed; `order` lists, batch after batch, the seeds that ask together."""
    policy = BatchedPolicy(checkpoint, config, batch)
    asked: dict[int, int] = {}
    chunks: dict[int, list[ActionChunk]] = {}
    for seed in {seed for group in order for seed in group}:
        policy.reset(seed, episode_of(seed), (runs or {}).get(seed, 0))
    for group in order:
        items = {
            seed: BatchItem(observation=observation_of(seed, asked.get(seed, 0)), now_ns=asked.get(seed, 0))
            for seed in group
        }
        for seed, chunk in policy.act(items).items():
            asked[seed] = asked.get(seed, 0) + 1
            chunks.setdefault(seed, []).append(chunk)
    return chunks


@pytest.mark.parametrize("use_plan", [False, True])
def test_a_batch_predicts_what_one_policy_per_episode_does(checkpoint, use_plan):
    """Up to rounding, for windows of every length and beyond, and with every other field of the chunk equal."""
    config = PolicyConfig(use_plan=use_plan)
    together = in_batch(checkpoint, config, 4, [(1, 2, 3)] * CHUNKS)
    for seed in (1, 2, 3):
        for ours, theirs in zip(together[seed], alone(checkpoint, seed, config), strict=True):
            np.testing.assert_allclose(ours.data, theirs.data, atol=2e-6)
            assert (ours.chunk_seq, ours.base_step, ours.session_id) == (
                theirs.chunk_seq,
                theirs.base_step,
                theirs.session_id,
            )


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_neighbours_do_not_change_a_bit(checkpoint, data):
    """Whoever asks together, in whatever order: every chunk of an episode is bit-identical."""
    group = st.sets(st.sampled_from([1, 2, 3]), min_size=1).map(tuple)
    order = data.draw(st.lists(group, min_size=1, max_size=6))
    config = PolicyConfig()
    together = in_batch(checkpoint, config, 3, order)
    for seed, chunks in together.items():
        single = in_batch(checkpoint, config, 3, [(seed,)] * len(chunks))[seed]
        for ours, theirs in zip(chunks, single, strict=True):
            np.testing.assert_array_equal(ours.data, theirs.data)


def test_more_clients_than_rows_take_several_batches(checkpoint):
    config = PolicyConfig()
    together = in_batch(checkpoint, config, 2, [(1, 2, 3, 4, 5)] * 2)
    for seed in (1, 5):
        single = in_batch(checkpoint, config, 2, [(seed,)] * 2)[seed]
        np.testing.assert_array_equal(together[seed][1].data, single[1].data)


def test_another_run_has_other_random_numbers(checkpoint):
    config = PolicyConfig()
    first, again = (in_batch(checkpoint, config, 2, [(1,)], {1: run})[1][0].data for run in (0, 3))
    assert not np.array_equal(first, again)
    np.testing.assert_allclose(again, alone(checkpoint, 1, config, run=3)[0].data, atol=2e-6)


def test_an_unannounced_episode_is_a_sentence(checkpoint):
    policy = BatchedPolicy(checkpoint, PolicyConfig(), 2)
    with pytest.raises(PolicyError, match="did not announce"):
        policy.act({1: BatchItem(observation=observation_of(1, 0), now_ns=0)})


def test_a_window_policy_that_needs_a_cache_is_refused(checkpoint):
    with pytest.raises(PolicyError, match="which a batch does not have"):
        BatchedPolicy(checkpoint, PolicyConfig(window_policy=WindowPolicy.ROPE_T), 2)
