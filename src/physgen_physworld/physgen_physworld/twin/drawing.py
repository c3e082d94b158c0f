# SPDX-License-Identifier: Apache-2.0
"""A twin as the real camera would see it: its boxes, shaded by how their faces are turned, on a plain table."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from physgen_control.types import Float64Array, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.reconstruction.silhouette import corners
from physgen_physworld.scene.scene import Scene
from physgen_physworld.twin.twin import Twin

GRIPPER = (205, 205, 210)
LIGHT = np.array([0.3, 0.2, 0.93])

Colour = tuple[int, int, int]


def seen_colours(picture: UInt8Image, camera: Camera, scene: Scene) -> dict[str, Colour]:
    """Return the colours of a scene's boxes in the picture that it begins with, and under "" that of most of it."""
    colours = {"": _usual(picture.reshape(-1, 3))}
    for box in scene.boxes:
        mask = np.zeros(picture.shape[:2], np.uint8)
        outline = camera.project(corners(box.position, box.yaw, box.size))
        cv2.fillConvexPoly(mask, cv2.convexHull(np.round(outline).astype(np.int32)), 1)
        covered = picture[mask.astype(bool)]
        colours[box.name] = _usual(covered) if len(covered) else colours[""]
    return colours


def draw_twin(twin: Twin, camera: Camera, colours: Mapping[str, Colour]) -> UInt8Image:
    """Return the picture, uint8 [y, x, 3]; colours: of boxes by name, under "" of the table."""
    height, width = camera.image_size
    picture = np.full((height, width, 3), colours[""], np.uint8)
    faces: list[tuple[float, Float64Array, Colour]] = []
    eye = camera.base_from_camera.position
    for name, middle, axes, half in twin.boxes():
        colour = np.array(colours.get(name, GRIPPER), np.float64)
        for axis in range(3):
            for side in (-1.0, 1.0):
                normal = side * axes[:, axis]
                centre = middle + half[axis] * normal
                if float(normal @ (eye - centre)) <= 0:
                    continue  # it looks away
                first, second = (axes[:, other] * half[other] for other in range(3) if other != axis)
                outline = np.stack(
                    [centre + a * first + b * second for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
                )
                shade = 0.55 + 0.45 * max(0.0, float(normal @ LIGHT))
                red, green, blue = (int(value) for value in np.clip(colour * shade, 0, 255))
                faces.append((float(np.linalg.norm(eye - centre)), outline, (red, green, blue)))
    for _, outline, paint in sorted(faces, key=lambda face: -face[0]):
        if np.all(camera.depth_of(outline) > 0.05):
            points = np.round(camera.project(outline) * 16).astype(np.int32)
            cv2.fillConvexPoly(picture, points, paint, cv2.LINE_AA, 4)
    return picture


def _usual(pixels: np.ndarray) -> Colour:
    red, green, blue = (int(value) for value in np.median(pixels, axis=0))
    return red, green, blue
