# SPDX-License-Identifier: Apache-2.0
"""An episode of random images and actions for the tiny checkpoint, and a policy run over it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from tiny_checkpoint import VIEW

from physgen_control.types import CameraFrame, Episode
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.synchronizer import SyncedFrames
from physgen_policy.runtime.policy import PhysGenPolicy

DT = 50_000_000
EPISODE = Episode(episode_id="e", task="PushCube-v1", seed=7, instruction="push the cube", start_ns=0)


def observations(
    count: int, *, seed: int = 0, episode_id: str = "e", executed: int = 8
) -> Iterator[PolicyObservation]:
    """A random episode, one observation per chunk."""
    rng = np.random.default_rng(seed)
    for k in range(count):
        frames = tuple(
            CameraFrame(
                stamp_ns=8 * k * DT,
                rgb=rng.integers(0, 256, (VIEW, VIEW, 3), dtype=np.uint8),
                frame_id="camera",
            )
            for _ in range(2)
        )
        past = rng.uniform(-1, 1, (8, 7)).astype(np.float32) * np.float32(0.01)
        yield PolicyObservation(
            episode_id=episode_id,
            frames=SyncedFrames(("fixed", "wrist"), frames),
            base_step=8 * k,
            past_actions=past,
            first=k == 0,
            executed=executed if k else None,
        )


def roll(policy: PhysGenPolicy, count: int, episode: Episode = EPISODE, **changes: Any) -> list[np.ndarray]:
    policy.reset(episode)
    return [policy.act(o, 0).data for o in observations(count, episode_id=episode.episode_id, **changes)]
