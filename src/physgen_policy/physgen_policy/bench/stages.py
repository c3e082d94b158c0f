# SPDX-License-Identifier: Apache-2.0
"""Latency of every stage from an observation to its chunk, through the policy that a robot runs.

Several variants take turns, episode by episode, so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from physgen_control.types import CameraFrame, Episode
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.synchronizer import SyncedFrames
from physgen_policy.cost.machine import synchronize
from physgen_policy.model.config import ModelConfig
from physgen_policy.runtime.policy import PhysGenPolicy

CAMERA_SIZE = (480, 640)  # rows and columns of a real camera image
STEP_NS = 50_000_000
PHASES = ("first", "incremental", "full")
"""Of the transformer: the first pack of a window, another pack on a cached window, a full window that moves on."""


class StageClock:
    """Collects seconds per stage: the `on_stage` of a policy. The device's queue is emptied at every mark."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last = self._begin = 0.0
        self._marks: dict[str, float] = {}

    def start(self) -> None:
        """Begin with an observation that arrives."""
        synchronize(self._device)
        self._last = self._begin = time.perf_counter()
        self._marks = {}

    def mark(self, stage: str) -> None:
        """Note that a stage is done."""
        synchronize(self._device)
        now = time.perf_counter()
        self._marks[stage] = now - self._last
        self._last = now

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of each stage since start, and of all together as "total"."""
        return {**self._marks, "total": self._last - self._begin}


@dataclass(slots=True)
class StageTimes:
    """Seconds of all measured chunks."""

    rows: dict[str, list[float]] = field(default_factory=dict)
    """By row: the stages, transformer and total per phase, and "instruction"."""

    def add(self, row: str, seconds: float) -> None:
        """Add one value."""
        self.rows.setdefault(row, []).append(seconds)

    def add_chunk(self, phase: str, stages: dict[str, float]) -> None:
        """Add the stages of one chunk."""
        for stage, seconds in stages.items():
            self.add(f"{stage} {phase}" if stage in ("transformer", "total") else stage, seconds)


def measure(policies: dict[str, tuple[PhysGenPolicy, StageClock]], iterations: int) -> dict[str, StageTimes]:
    """Run one episode per iteration and variant, each a window's length and one chunk more, after a warm-up of all.

    Args:
        policies: By variant, each with the clock that it reports to.
        iterations: Episodes per variant.
    """
    times = {name: StageTimes() for name in policies}
    for policy, _ in policies.values():
        policy.warm_up()
    for iteration in range(iterations):
        for name, (policy, clock) in policies.items():
            _run_episode(policy, clock, times[name], iteration)
    return times


def _run_episode(policy: PhysGenPolicy, clock: StageClock, times: StageTimes, seed: int) -> None:
    config = policy.checkpoint.model.config
    # A new instruction each time, so that its cost is seen.
    episode = Episode(episode_id="bench", task="", seed=seed, instruction=f"push cube {seed}", start_ns=0)
    clock.start()
    policy.reset(episode)
    clock.mark("instruction")
    times.add("instruction", clock.stages["instruction"])
    for index, observation in enumerate(_observations(config, seed)):
        clock.start()
        policy.act(observation, 0)
        last = config.context_packs
        phase = PHASES[0] if index == 0 else PHASES[2] if index >= last else PHASES[1]
        times.add_chunk(phase, clock.stages)


def _observations(config: ModelConfig, seed: int) -> Iterator[PolicyObservation]:
    random = np.random.default_rng(seed)
    horizon, width = config.action.horizon, config.action.action_dim
    for index in range(config.context_packs + 1):
        frames = tuple(
            CameraFrame(
                stamp_ns=index * horizon * STEP_NS,
                rgb=random.integers(0, 256, (*CAMERA_SIZE, 3), dtype=np.uint8),
                frame_id=name,
            )
            for name in ("fixed", "wrist")
        )
        yield PolicyObservation(
            episode_id="bench",
            frames=SyncedFrames(("fixed", "wrist"), frames),
            base_step=index * horizon,
            past_actions=random.uniform(-0.5, 0.5, (horizon, width)).astype(np.float32),
            first=index == 0,
            executed=horizon if index else None,
        )
