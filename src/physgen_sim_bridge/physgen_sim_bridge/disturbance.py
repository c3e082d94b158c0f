# SPDX-License-Identifier: Apache-2.0
"""Pushes the hand off its way during demonstrations, so that they show how to recover.

Pushes come in bursts with calm stretches between them. White noise on every step would teach nothing a
chunk could know: the expert answers each push in the next step, and a policy that commits to 8 actions cannot foresee
that answer. Steps of a burst are flagged (Limit.DISTURBANCE) and are never labels; see cut_window of physgen_policy.

What follows a picture is a label up to the first push only. Where there is a picture at every N-th step, bursts
therefore end right before one: a burst that goes on at a picture would leave it without any label.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbanceConfig:
    """How often and how far the hand is pushed; probability 0 and start_steps 0 mean never."""

    probability: float = field(
        default=0.0, metadata={"unit": "1", "doc": "chance per step that a burst begins"}
    )
    longest: int = field(default=6, metadata={"unit": "steps", "doc": "longest burst; 1 is the shortest"})
    size: float = field(default=0.04, metadata={"unit": "m", "doc": "largest translation added in each step"})
    start_steps: int = field(
        default=0,
        metadata={"unit": "steps", "doc": "longest burst at the start of an episode; 0 is the shortest"},
    )

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise UserError(f"The chance of a disturbance must be in [0, 1], but it is {self.probability}.")
        if self.size < 0 or self.longest < 1 or self.start_steps < 0:
            raise UserError(
                "A disturbance needs size >= 0, longest >= 1 and start_steps >= 0, "
                f"but they are {self.size}, {self.longest} and {self.start_steps}."
            )


class Disturbance:
    """Draws the bursts of one episode after another; rotation and gripper are never touched.

    A gripper opened by chance teaches nothing but dropping.

    Args:
        config: How often and how far.
        ends_every: Bursts end before the steps 0, N, 2 N, ... only; they begin later for it, never last longer.
    """

    def __init__(self, config: DisturbanceConfig, ends_every: int = 1) -> None:
        self.config = config
        self.ends_every = ends_every
        self._push: Float64Array = np.zeros(3)
        self._step = self._wait = self._left = 0

    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode, possibly with a burst away from the usual start pose."""
        self._step = 0
        self._begin(int(rng.integers(0, self.config.start_steps + 1)), rng)

    def apply(self, action: Float32Array, rng: np.random.Generator) -> Float32Array | None:
        """Return the action to execute instead of `action`, both canonical float32 [7]; None where nothing pushes."""
        config = self.config
        self._step += 1
        if self._left == 0 and config.probability > 0.0 and rng.random() < config.probability:
            self._begin(int(rng.integers(1, config.longest + 1)), rng, passed=self._step - 1)
        if self._left == 0:
            return None
        if self._wait > 0:
            self._wait -= 1
            return None
        self._left -= 1
        executed = action.copy()
        executed[:3] += self._push.astype(np.float32)
        return executed

    def _begin(self, steps: int, rng: np.random.Generator, passed: int = 0) -> None:
        """Begin a random mostly horizontal push that may rise but never presses the hand into the table.

        Args:
            steps: How long it lasts [control steps].
            rng: Draws it.
            passed: Control steps of the episode before this one.
        """
        self._left = steps
        self._wait = -(passed + steps) % self.ends_every
        vector = rng.normal(0.0, 1.0, 3)
        vector[2] = abs(vector[2]) * 0.5
        size = self.config.size * rng.uniform(0.1, 1.0)
        self._push = vector * (size / max(float(np.linalg.norm(vector)), 1e-9))
