# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint was trained for: cameras, action space, rates. Stored with it, checked before every start."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Embodiment:
    """The contract between a checkpoint and a running graph.

    image_height, image_width: size in pixels of ONE view after resizing; views are spliced in the order of cameras.
    control_rate_hz: actions per second. base_frame: frame in which actions are expressed. dt is 1 / control_rate_hz.
    tasks: environment ids or suite/index strings of the training data.
    """

    robot: str
    cameras: tuple[str, ...] = ("fixed", "wrist")
    image_height: int = 128
    image_width: int = 128
    action_space: str = "EE_DELTA"
    rotation: str = "AXIS_ANGLE"
    delta_reference: str = "MEASURED"
    gripper_mode: str = "SIGNED_PM1"
    control_rate_hz: float = 20.0
    horizon: int = 8
    num_chunks: int = 3
    base_frame: str = "base"
    tasks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for embodiment.json."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Embodiment:
        """Rebuild from to_json's values; unknown or missing keys are a ValueError that names them."""
        known = {f.name for f in fields(Embodiment)}
        unknown = sorted(set(values) - known)
        if unknown or "robot" not in values:
            raise ValueError(
                f"embodiment.json has unknown keys {unknown} or lacks 'robot'; known keys are {sorted(known)}"
            )
        values = dict(values)
        for key in ("cameras", "tasks"):
            if key in values:
                values[key] = tuple(values[key])
        return Embodiment(**values)
