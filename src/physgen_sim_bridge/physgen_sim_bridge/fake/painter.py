# SPDX-License-Identifier: Apache-2.0
"""Draws the fake world: a map seen from the front for the fixed camera, a zoom around the gripper for the wrist."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from physgen_control.geometry import quaternion_from_matrix
from physgen_control.types import Float64Array, Pose, UInt8Image
from physgen_sim_bridge.world import FixedCamera

RED, WHITE, BLUE = (200, 60, 60), (235, 235, 235), (40, 60, 190)
LIGHT_GREY, DARK_GREY = (205, 205, 205), (60, 60, 60)

MAP_CENTRE = (0.68, 0.0)
MAP_HALF = 0.35
"""The fixed camera's map: base-frame x, y of its centre and half its edge [m]."""

WRIST_HALF = 0.10
"""Half the edge of the wrist view with the TCP on the table [m]; it widens with height."""

_AS_FROM = 50.0
"""From so high above the table [m] a camera sees what the map shows: what is nearer is hardly larger."""


def fixed_camera() -> FixedCamera:
    """Return a camera that would take the map: columns along +y of the base frame, rows along +x, from above."""
    axes = np.column_stack([(0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)])
    return FixedCamera(
        pose=Pose(position=np.array([*MAP_CENTRE, _AS_FROM]), quaternion=quaternion_from_matrix(axes)),
        fov_y=2.0 * math.atan2(MAP_HALF, _AS_FROM),
    )


@cache
def _units(size: int) -> tuple[Float64Array, Float64Array]:
    """Rows [size, 1] and columns [1, size] of an image as -1 to 1 from edge to edge.

    Row 0 is far from the camera, which looks from +x to the robot: rows follow +x, columns +y.
    """
    unit = (np.arange(size) + 0.5) / size * 2.0 - 1.0
    return unit[:, None], unit[None, :]


def _table(size: int, x: float, y: float, half: float) -> UInt8Image:
    """Planks: bands along x with a slope, so that motion over the bare table can be seen."""
    rows, columns = _units(size)
    rows, columns = x + rows * half, y + columns * half
    shade = 20.0 * np.sin(columns * 60.0) + 40.0 * rows
    image = np.empty((size, size, 3), dtype=np.uint8)
    for channel, base in enumerate((150.0, 105.0, 65.0)):
        image[:, :, channel] = base + shade
    return image


class FakePainter:
    """Paints square uint8 images [size, size, 3], one of each camera; every call returns new arrays."""

    def __init__(self, fixed_size: int, wrist_size: int, *, visible: bool) -> None:
        self._fixed_size, self._wrist_size = fixed_size, wrist_size
        self._visible = visible
        self._map_table = _table(fixed_size, MAP_CENTRE[0], MAP_CENTRE[1], MAP_HALF)

    def paint(
        self,
        tcp: Float64Array,
        width: float,
        cube: Float64Array | None,
        goal: Float64Array,
        *,
        visible: bool = True,
    ) -> tuple[UInt8Image, UInt8Image]:
        """Return the images of the fixed and the wrist camera, both uint8 [size, size, 3].

        Args:
            tcp: Position [3] of the TCP in the base frame [m].
            width: Opening [m].
            cube: Position [3] in the base frame [m]; None where the task has none.
            goal: Position [3] in the base frame [m].
            visible: False gives black images this once.
        """
        if not (self._visible and visible):
            fixed, wrist = (np.zeros((n, n, 3), dtype=np.uint8) for n in (self._fixed_size, self._wrist_size))
            return fixed, wrist
        fixed = self._map_table.copy()
        self._things(fixed, MAP_CENTRE[0], MAP_CENTRE[1], MAP_HALF, cube, goal)
        lift = 0.03 * float(tcp[2])  # a raised gripper is drawn nearer to the camera's horizon
        self._gripper(fixed, MAP_CENTRE[0], MAP_CENTRE[1], MAP_HALF, tcp[0] - lift, tcp[1], tcp[2], width)
        half = WRIST_HALF * (1.0 + 4.0 * float(tcp[2]))
        wrist = _table(self._wrist_size, tcp[0], tcp[1], half)
        self._things(wrist, tcp[0], tcp[1], half, cube, goal)
        self._gripper(wrist, tcp[0], tcp[1], WRIST_HALF, tcp[0], tcp[1], 0.0, width)
        return fixed, wrist

    def _things(
        self,
        image: UInt8Image,
        x: float,
        y: float,
        half: float,
        cube: Float64Array | None,
        goal: Float64Array,
    ) -> None:
        radius = 0.05 if cube is not None else 0.02
        rows, columns = _units(len(image))
        distance = ((x - goal[0]) + rows * half) ** 2 + ((y - goal[1]) + columns * half) ** 2
        if cube is None:
            image[distance < radius**2] = (60, 200, round(min(255.0, 60 + 700 * float(goal[2]))))
            return
        for ring, colour in ((1.0, RED), (0.66, WHITE), (0.33, RED)):
            image[distance < (ring * radius) ** 2] = colour
        self._box(image, x, y, half, cube[0], cube[1], 0.02, 0.02, BLUE)

    def _gripper(
        self,
        image: UInt8Image,
        x: float,
        y: float,
        half: float,
        gx: float,
        gy: float,
        gz: float,
        width: float,
    ) -> None:
        size = 0.012 * (1.0 + 2.0 * float(gz))
        self._box(image, x, y, half, gx - 0.03, gy, 0.015, 0.03, LIGHT_GREY)
        for side in (-1.0, 1.0):
            self._box(image, x, y, half, gx, gy + side * (width / 2 + 0.006), size, 0.006, DARK_GREY)

    def _box(
        self,
        image: UInt8Image,
        x: float,
        y: float,
        half: float,
        bx: float,
        by: float,
        half_x: float,
        half_y: float,
        colour: tuple[int, int, int],
    ) -> None:
        def pixel(value: float) -> int:
            return min(max(round((value / half + 1.0) * 0.5 * len(image)), 0), len(image))

        rows = slice(pixel(bx - half_x - x), pixel(bx + half_x - x))
        columns = slice(pixel(by - half_y - y), pixel(by + half_y - y))
        image[rows, columns] = colour
