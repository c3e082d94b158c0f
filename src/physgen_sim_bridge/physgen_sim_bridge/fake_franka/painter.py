# SPDX-License-Identifier: Apache-2.0
"""Two simple camera views of table, cube, goal and hand: pinhole projection and filled polygons in NumPy. No ROS."""

from __future__ import annotations

import math

import numpy as np

from physgen_control.geometry import matrix_from_quaternion
from physgen_control.types import Float64Array, Pose, UInt8Image
from physgen_sim_bridge.fake_franka.table import CUBE_HALF, MAX_WIDTH
from physgen_sim_bridge.world import FixedCamera, looking

BLUE, RED, GREEN = (40, 60, 190), (200, 60, 60), (60, 190, 80)
GREY, DARK = (205, 205, 205), (60, 60, 60)
FOV_Y = {"fixed": 0.85, "wrist": 1.2}
"""Vertical field of view [rad]."""

_BACKGROUND = 4
"""The table is drawn at this fraction of the resolution and repeated: it is smooth."""

# Corners of a box of half extents 1 and its faces, counter-clockwise seen from outside.
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
_FACES = (
    ((0, 1, 3, 2), (-1, 0, 0)),
    ((4, 6, 7, 5), (1, 0, 0)),
    ((0, 4, 5, 1), (0, -1, 0)),
    ((2, 3, 7, 6), (0, 1, 0)),
    ((0, 2, 6, 4), (0, 0, -1)),
    ((1, 5, 7, 3), (0, 0, 1)),
)
_LIGHT = np.array([0.3, -0.4, 0.87])


def fixed_camera() -> FixedCamera:
    """Return where the fixed camera stands: in front of the arm, looking back at it and down."""
    return FixedCamera(pose=looking((1.25, 0.0, 0.6), (0.42, 0.0, 0.2)), fov_y=FOV_Y["fixed"])


class View:
    """One camera: optical frame (x right, y down, z forward) at a pose in the base frame.

    Args:
        width: Of its images [pixels].
        height: Of its images [pixels].
        fov_y: Vertical field of view [rad].
    """

    def __init__(self, width: int, height: int, fov_y: float) -> None:
        self.width, self.height = width, height
        self.focal = height / (2.0 * math.tan(fov_y / 2.0))
        rows, columns = np.mgrid[0:height:_BACKGROUND, 0:width:_BACKGROUND].astype(np.float32)
        self._rays = np.stack(
            [(columns - width / 2) / self.focal, (rows - height / 2) / self.focal, np.ones_like(rows)],
            axis=-1,
        ).reshape(-1, 3)
        self._grid = (math.ceil(height / _BACKGROUND), math.ceil(width / _BACKGROUND))
        self._position = np.zeros(3)
        self._rotation = np.eye(3)
        self.image: UInt8Image = np.zeros((height, width, 3), np.uint8)

    def look(self, position: Float64Array, rotation: Float64Array) -> None:
        """Move the camera and draw the bare table.

        Args:
            position: [3] in m, base frame.
            rotation: Matrix [3, 3], base from camera.
        """
        self._position, self._rotation = position, rotation
        rays = self._rays @ rotation.T.astype(np.float32)
        down = np.minimum(rays[:, 2], -1e-4)
        reach = np.clip(-position[2] / down, 0.0, 4.0)
        x, y = position[0] + reach * rays[:, 0], position[1] + reach * rays[:, 1]
        # Planks with a slope, so that motion over the bare table can be seen.
        shade = np.clip(18.0 * np.sin(y * 60.0) + 40.0 * (x - 0.5), -70, 70)
        shade[rays[:, 2] > -0.02] = 60.0
        small = np.clip(np.array([150.0, 105.0, 65.0]) + shade[:, None], 0, 255).astype(np.uint8)
        small = small.reshape(*self._grid, 3)
        big = small.repeat(_BACKGROUND, axis=0).repeat(_BACKGROUND, axis=1)
        self.image = np.ascontiguousarray(big[: self.height, : self.width])

    def box(
        self, centre: Float64Array, half: Float64Array, rotation: Float64Array, colour: tuple[int, int, int]
    ) -> None:
        """Draw the visible faces of a box.

        Args:
            centre: [3] in m, base frame.
            half: Half its edges [3] in m.
            rotation: Matrix [3, 3], base from box.
            colour: RGB, 0 .. 255.
        """
        corners = centre + (_CORNERS * half) @ rotation.T
        for face, normal in _FACES:
            outward = rotation @ np.array(normal, np.float64)
            middle = corners[list(face)].mean(axis=0)
            if outward @ (self._position - middle) <= 0:
                continue
            light = 0.55 + 0.45 * max(0.0, float(outward @ _LIGHT))
            self.polygon(corners[list(face)], (light * colour[0], light * colour[1], light * colour[2]))

    def polygon(self, points: Float64Array, colour: tuple[float, float, float]) -> None:
        """Fill a convex polygon given by points [n, 3] in m, base frame; parts behind the camera hide it all."""
        seen = (points - self._position) @ self._rotation
        if np.any(seen[:, 2] < 0.01):
            return
        u = seen[:, 0] / seen[:, 2] * self.focal + self.width / 2
        v = seen[:, 1] / seen[:, 2] * self.focal + self.height / 2
        left, right = max(0, math.floor(u.min())), min(self.width, math.ceil(u.max()) + 1)
        top, bottom = max(0, math.floor(v.min())), min(self.height, math.ceil(v.max()) + 1)
        if left >= right or top >= bottom:
            return
        x, y = np.arange(left, right)[None, :], np.arange(top, bottom)[:, None]
        edges = [
            (u[j] - u[i]) * (y - v[i]) - (v[j] - v[i]) * (x - u[i])
            for i, j in zip(range(len(u)), [*range(1, len(u)), 0], strict=True)
        ]
        stack = np.stack(edges)
        inside = np.all(stack >= 0, axis=0) | np.all(stack <= 0, axis=0)
        self.image[top:bottom, left:right][inside] = np.array(colour, np.uint8)


class Painter:
    """Paints both cameras; every call returns new uint8 images [height, width, 3]."""

    def __init__(self, width: int, height: int) -> None:
        self._fixed = View(width, height, FOV_Y["fixed"])
        self._wrist = View(width, height, FOV_Y["wrist"])
        camera = fixed_camera().pose
        self._fixed.look(camera.position, matrix_from_quaternion(camera.quaternion))
        self._empty = self._fixed.image

    def paint(
        self, tcp: Pose, width: float, cube: Float64Array, cube_turn: Float64Array, goal: Float64Array
    ) -> dict[str, UInt8Image]:
        """Return the images of "fixed" and "wrist" for a TCP pose, an opening [m], cube and goal in the base frame."""
        hand = matrix_from_quaternion(tcp.quaternion)
        self._fixed.image = self._empty.copy()
        # On the hand, 6 cm before and 9 cm above the fingertips, looking along the fingers.
        self._wrist.look(tcp.position + hand @ np.array([0.06, 0.0, -0.10]), _wrist_rotation(hand))
        for view in (self._fixed, self._wrist):
            self._goal(view, goal)
            view.box(cube, np.full(3, CUBE_HALF), matrix_from_quaternion(cube_turn), BLUE)
            view.box(
                tcp.position + hand @ np.array([0.0, 0.0, -0.10]), np.array([0.02, 0.09, 0.03]), hand, GREY
            )
            for side in (-1.0, 1.0):
                finger = np.array([0.0, side * (min(width, MAX_WIDTH) / 2 + 0.005), -0.03])
                view.box(tcp.position + hand @ finger, np.array([0.009, 0.005, 0.035]), hand, DARK)
        return {"fixed": self._fixed.image, "wrist": self._wrist.image.copy()}

    @staticmethod
    def _goal(view: View, goal: Float64Array) -> None:
        colour, size = (GREEN, 0.012) if goal[2] > 0.0 else (RED, 0.05)
        if goal[2] > 0.0:
            view.box(goal, np.full(3, size), np.eye(3), colour)
            return
        corners = goal + size * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float64)
        view.polygon(corners, (colour[0], colour[1], colour[2]))


def _wrist_rotation(hand: Float64Array) -> Float64Array:
    """Return the optical axes of the wrist camera as a matrix [3, 3], base frame.

    z is along the fingers, tilted to the grasp point, y away from the hand.
    """
    tilt = 0.35
    forward = hand @ np.array([-math.sin(tilt), 0.0, math.cos(tilt)])
    right = hand @ np.array([0.0, 1.0, 0.0])
    return np.column_stack([right, np.cross(forward, right), forward])
