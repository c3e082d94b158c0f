# SPDX-License-Identifier: Apache-2.0
"""Six velocities from the axes of a device: which axis drives which, dead zone and scale. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array

VELOCITIES = ("vx", "vy", "vz", "wx", "wy", "wz")


@dataclass(frozen=True, slots=True)
class AxisMap:
    """Which axis of a device drives each of the six velocities."""

    indices: tuple[int, ...]
    """[6], index of the axis."""
    signs: tuple[int, ...]
    """[6], 1 or -1; 0: nothing drives this velocity."""

    @classmethod
    def of(cls, entries: Sequence[str]) -> AxisMap:
        """Read six texts such as `+1` or `-0`; an empty one or `.` stands for a velocity that nothing drives.

        Raises:
            UserError: Not six texts, or one that is not a sign with an index.
        """
        if len(entries) != 6:
            raise UserError(
                f"axis_map needs six entries ({', '.join(VELOCITIES)}), such as +1 or -0, got {list(entries)}."
            )
        indices, signs = [], []
        for name, entry in zip(VELOCITIES, entries, strict=True):
            text = entry.strip()
            if text in ("", "."):
                indices.append(0)
                signs.append(0)
                continue
            match = re.fullmatch(r"([+-])(\d{1,2})", text)
            if match is None:
                raise UserError(
                    f"The entry {entry!r} of axis_map for {name} must be a sign and an axis index such as +1 or -0, "
                    "or . for none."
                )
            indices.append(int(match.group(2)))
            signs.append(1 if match.group(1) == "+" else -1)
        return cls(tuple(indices), tuple(signs))

    def apply(self, axes: Sequence[float] | Float64Array) -> Float64Array:
        """Return float64[6]; an axis that the device does not have, or that is not finite, counts as 0."""
        values = np.asarray(axes, np.float64)
        found = np.zeros(6)
        for row, (index, sign) in enumerate(zip(self.indices, self.signs, strict=True)):
            if sign and index < values.size and np.isfinite(values[index]):
                found[row] = sign * values[index]
        return found


def without_dead_zone(values: Float64Array, dead_zone: float) -> Float64Array:
    """Return the deflections beyond a dead zone, stretched to -1 .. 1 again: continuous, odd and monotone.

    Args:
        values: float64[n], nominally -1 .. 1; larger ones are cut.
        dead_zone: 0 .. 1 (exclusive): what counts as rest.
    """
    cut = np.clip(np.asarray(values, np.float64), -1.0, 1.0)
    beyond = np.maximum(np.abs(cut) - dead_zone, 0.0) / (1.0 - dead_zone)
    shaped: Float64Array = np.where(beyond > 0.0, np.copysign(beyond, cut), 0.0)
    return shaped


def twist_of(deflections: Float64Array, speed: float, turn_rate: float) -> Float64Array:
    """Return the twist float64 [6] of six deflections -1 .. 1; a diagonal is not faster than an axis.

    Args:
        deflections: float64 [6], translation and rotation.
        speed: At full deflection [m/s].
        turn_rate: At full deflection [rad/s].
    """
    return np.concatenate([speed * _at_most_one(deflections[:3]), turn_rate * _at_most_one(deflections[3:])])


def _at_most_one(vector: Float64Array) -> Float64Array:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1.0 else vector
