# SPDX-License-Identifier: Apache-2.0
"""A policy of lerobot in the in-process loop: it sees images and, unlike PhysGen, the measured state of the arm."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

import numpy as np

from physgen_bringup.episode.sources import ChunkSource, make_chunk
from physgen_bringup.episode.stamped_observation import StampedObservation
from physgen_control.types import ACTION_DIM, HORIZON, ActionChunk, Episode, Float32Array
from physgen_policy.peer.client import LerobotClient
from physgen_policy.peer.description import read_lerobot_description
from physgen_policy.peer.observation import LerobotObservation, StateVector


class LerobotSource(ChunkSource):
    """Asks for a chunk when the last one is over and executes its first steps.

    A policy that looks at several successive observations gets those of the control steps before; the first one of an
    episode stands for those before it, as in lerobot's training and evaluation.
    """

    def __init__(self, client: LerobotClient, period_ns: int) -> None:
        self._client, self._period_ns = client, period_ns
        self._memory: deque[LerobotObservation] = deque(maxlen=client.description.num_observations)
        self._vector = StateVector()
        self._episode: Episode | None = None
        self._seq = 0
        self._steps = client.description.execute_steps  # of the last chunk
        self._next_step = 0  # of the next observation
        self._due_step: int | None = 0  # when a chunk is due; None: the last one has not arrived yet

    def reset(self, episode: Episode, run: int = 0) -> None:
        """Start an episode; its random numbers depend on its seed and the run alone."""
        self._client.reset(random_seed(episode.seed, run))
        self._memory.clear()
        self._vector = StateVector()
        self._episode, self._seq, self._next_step, self._due_step = episode, 0, 0, 0

    def observe(self, stamped: StampedObservation, step: int, active: bool) -> ActionChunk | None:
        """Predict when the last chunk is over; return None before.

        Raises:
            UserError: The policy's process died or failed.
        """
        self._next_step = step + 1
        seen = LerobotObservation(
            {name: frame.rgb for name, frame in stamped.frames.items()}, self._vector(stamped.robot)
        )
        if not self._memory:
            self._memory.extend([seen] * (self._client.description.num_observations - 1))
        self._memory.append(seen)
        if active or self._episode is None or not all(self._is_drawn(one) for one in self._memory):
            return None
        actions = self._client.chunk(list(self._memory), self._episode.instruction)
        steps = min(self._client.description.execute_steps, len(actions))
        chunk = make_chunk(
            self._episode,
            rest_after(actions[:steps])[None],
            seq=self._seq,
            step=step,
            stamp_ns=stamped.sim.stamp_ns,
            period_ns=self._period_ns,
        )
        self._seq += 1
        self._steps, self._due_step = steps, None
        return replace(chunk, execute_steps=steps, policy_id="lerobot")

    def delivered(self, now_ns: int) -> None:
        """Note the step after which the chunk will have been played."""
        assert self._episode is not None
        played = round((now_ns - self._episode.start_ns) / self._period_ns)
        self._due_step = played + self._steps

    @property
    def needs_images(self) -> bool:
        """Whether the next prediction looks at this observation."""
        # A chunk under way plays from the next step at the earliest.
        due = self._next_step + self._steps if self._due_step is None else self._due_step
        return self._next_step > due - self._client.description.num_observations

    @property
    def looks_at_images(self) -> bool:
        """True: at the observations that a prediction looks at."""
        return True

    def _is_drawn(self, seen: LerobotObservation) -> bool:
        return set(self._client.description.views) <= set(seen.images)


def open_client(checkpoint: Path) -> LerobotClient:
    """Return the process of a policy, to be closed; started at the first episode.

    Raises:
        UserError: The folder cannot be run, or lerobot is not installed.
    """
    return LerobotClient(read_lerobot_description(checkpoint))


def random_seed(seed: int, run: int) -> int:
    """Return a seed of 63 bits for the random numbers of an episode."""
    return int(np.random.SeedSequence((seed, run)).generate_state(1, np.uint64)[0] >> 1)


def rest_after(actions: Float32Array) -> Float32Array:
    """Return actions [n <= 8, 7] filled up to [8, 7] with ones that rest and keep the last gripper command."""
    filled = np.zeros((HORIZON, ACTION_DIM), np.float32)
    filled[: len(actions)] = actions
    filled[len(actions) :, -1] = actions[-1, -1]
    return filled
