# SPDX-License-Identifier: Apache-2.0
"""Plays the executed chunk of a prediction one action per control step. Pure; knows neither limits nor time.

base_step            current step
    v                     v
    |a0 a1 a2 a3 a4 a5 a6 a7|b0 b1 ..      sync: starts at a0; pipelined: starts at a[current - base]
    |<---- execute_steps -->|<-k->|        k = bridge_steps lookahead actions while the next chunk is late
"""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.controller_config import Execution
from physgen_control.types import ActionChunk, Float32Array


@dataclass(frozen=True, slots=True)
class PlayedAction:
    """One action of a prediction and its place there."""

    raw: Float32Array
    """float32 [action_dim], as the policy wrote it."""
    step_index: int
    """Index in its chunk."""
    chunk_index: int
    """Index of its chunk in the message; above 0 only in the lookahead."""


def first_index(chunk: ActionChunk, step: int, execution: Execution) -> int:
    """Return the index in the executed chunk of the action to play at control step `step`."""
    return max(step - chunk.base_step, 0) if execution is Execution.PIPELINED else 0


def last_index(chunk: ActionChunk, bridge_steps: int) -> int:
    """Return one past the last action that may be played, counted through all chunks of the message."""
    num_chunks, horizon, _ = chunk.data.shape
    lookahead = min(bridge_steps, (num_chunks - 1) * horizon)
    # A bridge continues where the executed part ends, also when that is before the end of chunk 0.
    return min(chunk.execute_steps + lookahead, num_chunks * horizon)


class ChunkPlayer:
    """Owns the chunk being played. Each call of `next` consumes one action."""

    def __init__(self, execution: Execution, bridge_steps: int = 0) -> None:
        self._execution = execution
        self._bridge_steps = bridge_steps
        self._chunk: ActionChunk | None = None
        self._index = 0
        self._end = 0

    @property
    def chunk(self) -> ActionChunk | None:
        """The chunk loaded last, also after its end."""
        return self._chunk

    @property
    def index(self) -> int:
        """Index of the next action, counted through all chunks of the message."""
        return self._index

    @property
    def active(self) -> bool:
        """Whether an action is left."""
        return self._index < self._end

    def load(self, chunk: ActionChunk, step: int) -> None:
        """Replace whatever was playing; `step` is the control step of the next action."""
        self._chunk = chunk
        self._index = first_index(chunk, step, self._execution)
        self._end = last_index(chunk, self._bridge_steps)

    def clear(self) -> None:
        """Drop the chunk that is being played."""
        self._chunk, self._index, self._end = None, 0, 0

    def next(self) -> PlayedAction | None:
        """Return the next action, or None when the chunk is over."""
        if self._chunk is None or not self.active:
            return None
        horizon = self._chunk.data.shape[1]
        chunk_index, step_index = divmod(self._index, horizon)
        self._index += 1
        return PlayedAction(self._chunk.data[chunk_index, step_index].copy(), step_index, chunk_index)
