# SPDX-License-Identifier: Apache-2.0
"""Chunks as a policy would send them, and the ways in which they can be wrong."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import numpy as np

from physgen_control.nodes.conversions import action_chunk_to_msg
from physgen_control.types import ActionChunk, Float32Array

PERIOD_NS = 50_000_000
STEPS = 8


def sideways(step: float, steps: int = STEPS, gripper: float = 1.0) -> Float32Array:
    """Return actions along y [m per step], float32 [steps, 7]."""
    actions = np.zeros((steps, 7), np.float32)
    actions[:, 1], actions[:, 6] = step, gripper
    return actions


class Stuck:
    """How a motion is varied where the hand stays in its place.

    ManiSkill's inverse kinematics may fail for one command, keep the arm where it is, and be asked the same for ever.
    """

    STILL_M, CHUNKS, SCALES = 1e-4, 6, (1.0, 0.5, 0.75, -1.0)

    def __init__(self) -> None:
        self._last_m = 0.0
        self._still = 0

    def scale(self, place_m: float) -> float:
        """Return by what the next motion is multiplied; called once per chunk with the place of the hand [m]."""
        self._still = self._still + 1 if abs(place_m - self._last_m) < self.STILL_M else 0
        self._last_m = place_m
        return self.SCALES[self._still // self.CHUNKS % len(self.SCALES)]


class ChunkWriter:
    """One session of a policy: numbers its chunks and stamps them with the time given."""

    def __init__(self) -> None:
        self.session = uuid.uuid4().hex
        self.sent = 0
        self.episode_id = ""

    def message(self, actions: Float32Array, now_ns: int, step: int, **changes: Any) -> Any:
        """Return an ActionChunk message; `changes` replace fields of the chunk."""
        self.sent += 1
        chunk = ActionChunk.of(
            actions,
            session_id=self.session,
            episode_id=self.episode_id,
            chunk_seq=self.sent,
            base_step=step,
            stamp_ns=now_ns,
            step_period_ns=PERIOD_NS,
        )
        return action_chunk_to_msg(replace(chunk, **changes))
