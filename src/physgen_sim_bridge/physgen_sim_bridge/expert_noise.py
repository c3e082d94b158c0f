# SPDX-License-Identifier: Apache-2.0
"""Disturbances of executed actions, so that demonstrations show how to recover; the label stays the clean action."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertNoiseConfig:
    """How strongly executed actions differ from the labels; all zero means not at all."""

    translation_std: float = field(default=0.0, metadata={"unit": "m", "doc": "Gaussian, per axis and step"})
    rotation_std: float = field(default=0.0, metadata={"unit": "rad", "doc": "Gaussian, per axis and step"})
    drift_probability: float = field(
        default=0.0, metadata={"unit": "1", "doc": "chance per step that a drift begins"}
    )
    drift_steps: int = field(default=4, metadata={"unit": "steps", "doc": "length of a drift"})
    drift_size: float = field(
        default=0.03, metadata={"unit": "m", "doc": "translation added in each drift step"}
    )
    start_steps: int = field(
        default=0, metadata={"unit": "steps", "doc": "longest drift at the start of an episode"}
    )

    def __post_init__(self) -> None:
        for name in ("translation_std", "rotation_std", "drift_size", "drift_steps", "start_steps"):
            if getattr(self, name) < 0:
                raise UserError(f"Expert noise {name} must not be negative, but it is {getattr(self, name)}.")
        if not 0.0 <= self.drift_probability <= 1.0:
            raise UserError(f"drift_probability must be in [0, 1], but it is {self.drift_probability}.")


class ExpertNoise:
    """Perturbs actions: Gaussian noise on every step, and drifts in one random direction for a few steps.

    The gripper is never touched: a gripper opened by chance teaches nothing but dropping.
    """

    def __init__(self, config: ExpertNoiseConfig) -> None:
        self.config = config
        self._drift: Float64Array = np.zeros(3)
        self._left = 0

    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode, possibly with a drift away from the usual start pose."""
        self._left = int(rng.integers(0, self.config.start_steps + 1)) if self.config.start_steps else 0
        self._drift = self._direction(rng)

    def perturb(self, action: Float32Array, rng: np.random.Generator) -> Float32Array:
        """Return the action to execute; the argument is not changed."""
        config = self.config
        executed = action.astype(np.float64)
        if self._left == 0 and config.drift_probability > 0.0 and rng.random() < config.drift_probability:
            self._left = config.drift_steps
            self._drift = self._direction(rng)
        if self._left > 0:
            self._left -= 1
            executed[:3] += self._drift
        executed[:3] += rng.normal(0.0, config.translation_std, 3)
        executed[3:6] += rng.normal(0.0, config.rotation_std, 3)
        return executed.astype(np.float32)

    def _direction(self, rng: np.random.Generator) -> Float64Array:
        """A random horizontal drift that may rise but never presses the hand into the table."""
        vector = rng.normal(0.0, 1.0, 3)
        vector[2] = abs(vector[2]) * 0.5
        return vector * (self.config.drift_size / max(float(np.linalg.norm(vector)), 1e-9))
