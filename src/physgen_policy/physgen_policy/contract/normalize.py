# SPDX-License-Identifier: Apache-2.0
"""Action statistics and the exact pair normalize / denormalize; stored with every checkpoint.

Each dimension's 1 % .. 99 % quantiles map to [-1, 1] and values beyond are clipped (the convention of openpi and
OpenVLA). The gripper is left at +1 / -1. Everything is float32, so a value is the same in training and on the robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physgen_control.errors import UserError
from physgen_control.program.plain_values import convert

Float32Array = NDArray[np.float32]

MIN_HALF_RANGE = (1e-3, 1e-3, 1e-3, 1e-2, 1e-2, 1e-2, 1.0)
"""Smallest half range per EE_DELTA dimension [m, rad, -]: a dimension that never moves in the data must not turn
sampling noise into motion."""


@dataclass(frozen=True, slots=True, eq=False)
class NormStats:
    """Affine map between SI actions and the model's units: (action - center) / half_range, clipped to [-1, 1]."""

    center: Float32Array
    """float32 [action_dim], SI units."""
    half_range: Float32Array
    """float32 [action_dim], SI units."""
    count: int
    """How many actions the statistics saw."""

    def __post_init__(self) -> None:
        if self.center.shape != self.half_range.shape or self.center.ndim != 1:
            raise UserError(
                f"action statistics need two equally long vectors, got {self.center.shape} and {self.half_range.shape}"
            )
        if not (np.isfinite([self.center, self.half_range]).all() and (self.half_range > 0).all()):
            raise UserError(
                "action statistics must be finite with positive ranges; recompute them with `convert`"
            )

    @property
    def action_dim(self) -> int:
        """Numbers per action."""
        return int(self.center.shape[0])

    def normalize(self, actions: ArrayLike) -> Float32Array:
        """Map SI actions [..., action_dim] to model units in [-1, 1], float32."""
        values = (np.asarray(actions, dtype=np.float32) - self.center) / self.half_range
        return np.clip(values, np.float32(-1.0), np.float32(1.0))

    def denormalize(self, values: ArrayLike) -> Float32Array:
        """Map model units [..., action_dim] to SI actions, float32; the inverse of normalize inside [-1, 1]."""
        return np.asarray(values, dtype=np.float32) * self.half_range + self.center

    def lines(self) -> list[str]:
        """Return the statistics in words, one line per number of an action that is in SI units."""
        if self.count == 0:
            return ["the data has no actions"]
        low, high = self.center - self.half_range, self.center + self.half_range
        ranges = "  ".join(f"{a:+.4g} .. {b:+.4g}" for a, b in zip(low, high, strict=True))
        lines = [f"action range (1 % to 99 % of {self.count} labelled actions): {ranges}"]
        if self.action_dim == len(MIN_HALF_RANGE):
            still = [
                i for i, least in enumerate(MIN_HALF_RANGE[:6]) if self.half_range[i] <= np.float32(least)
            ]
            if still:
                lines.append(
                    f"numbers {', '.join(map(str, still))} of an action hardly move in the data: they get the smallest "
                    "range, so that noise does not become motion"
                )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return plain values for norm_stats.json."""
        return {
            "method": "q01_q99",
            "center": self.center.tolist(),
            "half_range": self.half_range.tolist(),
            "count": self.count,
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> NormStats:
        """Rebuild from to_json's values.

        Raises:
            UserError: A key or value cannot be; the message names it.
        """
        for key in ("center", "half_range", "count"):
            if not isinstance(values, dict) or key not in values:
                raise UserError(f"norm_stats.json has no {key!r}; recompute it with `convert`")
        center, half_range = (
            np.array(convert(tuple[float, ...], values[key], f"norm_stats.{key}"), np.float32)
            for key in ("center", "half_range")
        )
        return NormStats(center, half_range, convert(int, values["count"], "norm_stats.count"))

    @staticmethod
    def without_actions(action_dim: int) -> NormStats:
        """Return statistics that saw no action: numbers stay as they are."""
        return NormStats(np.zeros(action_dim, np.float32), np.ones(action_dim, np.float32), 0)

    @staticmethod
    def fit(actions: ArrayLike, gripper_index: int | None = 6) -> NormStats:
        """Return the quantile statistics of SI actions [n, action_dim]; the gripper dimension stays as it is.

        The actions are those that show what to do (labels): a push must not set the policy's scale.

        Raises:
            UserError: There is no action.
        """
        values = np.asarray(actions, dtype=np.float32)
        if values.ndim != 2 or len(values) == 0:
            raise UserError(
                f"action statistics need at least one labelled action, [n, action_dim], got {list(values.shape)}"
            )
        low, high = np.quantile(values, [0.01, 0.99], axis=0)
        center, half_range = (high + low) / 2, (high - low) / 2
        if values.shape[1] == len(MIN_HALF_RANGE):
            half_range = np.maximum(half_range, MIN_HALF_RANGE)
        else:
            half_range = np.maximum(half_range, 1e-3)
        if gripper_index is not None:
            center[gripper_index], half_range[gripper_index] = 0.0, 1.0
        return NormStats(center.astype(np.float32), half_range.astype(np.float32), len(values))
