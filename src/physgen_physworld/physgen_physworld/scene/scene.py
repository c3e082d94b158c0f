# SPDX-License-Identifier: Apache-2.0
"""The physical scene that a picture shows: boxes on a table, with ranges for what a picture does not show."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_physworld.values import Tracks, yaw_of

DENSITY = 800.0
"""Between wood and plastic [kg/m^3]."""

MASS_SPREAD = 2.0
"""The true mass is between the guess divided by and times this."""

FRICTION = (0.4, 1.5)
"""Sliding friction of unknown things on each other [1]."""

CLEARANCE = 0.001
"""Things begin this far [m] above what they stand on: a gap settles, an overlap explodes."""

GRAVITY = 9.81


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneBox:
    """A box: its middle [m], yaw [rad], edges [m], and ranges of mass [kg] and friction [1]."""

    name: str
    position: Float64Array
    yaw: float
    size: tuple[float, float, float]
    mass: tuple[float, float]
    friction: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Boxes on a horizontal table at a height [m]; gravity [3] (m/s^2) is against the table's normal."""

    boxes: tuple[SceneBox, ...]
    moved: str
    gravity: Float64Array
    table_height: float = 0.0


def build_scene(tracks: Tracks, normal: Float64Array | None = None, table_height: float = 0.0) -> Scene:
    """Return the scene at the tracks' first poses, free of overlaps.

    Args:
        tracks: of every object.
        normal: unit normal of the table [3], up; None: the base frame's z axis.
        table_height: of its surface in the base frame [m].

    Raises:
        UserError: the table would be steeper than 20 degrees, so it is not the table.
    """
    up = np.array([0.0, 0.0, 1.0]) if normal is None else normal / float(np.linalg.norm(normal))
    if up[2] < np.cos(np.radians(20.0)):
        raise UserError(
            f"The table's plane leans by {np.degrees(np.arccos(up[2])):.0f} degrees: it is not the table, or the "
            "camera's pose is wrong."
        )
    boxes = []
    for track in tracks.objects:
        mass = DENSITY * float(np.prod(track.size))
        boxes.append(
            SceneBox(
                name=track.name,
                position=track.positions[0].copy(),
                yaw=yaw_of(track.quaternions[0]),
                size=track.size,
                mass=(mass / MASS_SPREAD, mass * MASS_SPREAD),
                friction=FRICTION,
            )
        )
    return Scene(
        boxes=tuple(_lifted_apart(boxes, table_height)),
        moved=tracks.moved.name,
        gravity=-GRAVITY * up,
        table_height=table_height,
    )


def _lifted_apart(boxes: list[SceneBox], table_height: float) -> list[SceneBox]:
    """Raise boxes that cut into the table, and then those that cut into one below them."""
    placed: list[SceneBox] = []
    for box in sorted(boxes, key=lambda box: box.position[2]):
        lowest = table_height + box.size[2] / 2 + CLEARANCE
        for other in placed:
            apart = float(np.linalg.norm((box.position - other.position)[:2]))
            # Circles of the mean half edge: corners that touch may settle.
            if apart < 0.5 * (max(box.size[:2]) + max(other.size[:2])) * 0.9:
                lowest = max(lowest, other.position[2] + (other.size[2] + box.size[2]) / 2 + CLEARANCE)
        height = max(float(box.position[2]), lowest)
        placed.append(replace(box, position=np.array([*box.position[:2], height])))
    by_name = {box.name: box for box in placed}
    return [by_name[box.name] for box in boxes]
