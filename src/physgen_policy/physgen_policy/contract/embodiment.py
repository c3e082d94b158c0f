# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint was trained for: cameras, action space, rates. Stored with it, checked before every start."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from physgen_control.errors import UserError
from physgen_control.program.plain_values import build

WITHOUT_ACTIONS = "NONE"
"""The action space of clips in which nobody acts."""

MAX_SIZE = 1 << 16
"""Largest side of an image and longest chunk that a file may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embodiment:
    """The contract between a checkpoint and a running graph."""

    robot: str
    cameras: tuple[str, ...] = ("fixed", "wrist")
    """Views in the order in which they are spliced."""
    image_height: int = 128
    """Of ONE view after resizing [pixels]."""
    image_width: int = 128
    """Of ONE view after resizing [pixels]."""
    action_space: str = "EE_DELTA"
    rotation: str = "AXIS_ANGLE"
    delta_reference: str = "MEASURED"
    gripper_mode: str = "SIGNED_PM1"
    control_rate_hz: float = 20.0
    """Actions per second."""
    horizon: int = 8
    """Actions per chunk."""
    num_chunks: int = 3
    base_frame: str = "base"
    """Frame in which actions are expressed."""
    tasks: tuple[str, ...] = ()
    """Environment ids or suite/index strings of the training data."""

    @property
    def acts(self) -> bool:
        """Whether there are actions; else only how things move can be learned from it."""
        return self.action_space != WITHOUT_ACTIONS

    def to_json(self) -> dict[str, Any]:
        """Return plain values for embodiment.json."""
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Embodiment:
        """Rebuild from to_json's values.

        Raises:
            UserError: A key or value cannot be; the message names it.
        """
        embodiment = build(Embodiment, values, "embodiment")
        sizes = (embodiment.image_height, embodiment.image_width, embodiment.horizon, embodiment.num_chunks)
        if (
            min(sizes) < 1
            or max(sizes) > MAX_SIZE
            or embodiment.control_rate_hz <= 0
            or not embodiment.cameras
        ):
            raise UserError(
                f"the embodiment must have a camera, sizes of 1 to {MAX_SIZE} and a positive control rate, got cameras "
                f"{list(embodiment.cameras)}, sizes {list(sizes)} and {embodiment.control_rate_hz:g} Hz"
            )
        return embodiment
