"""A drawn table with boxes, seen by a calibrated camera: what a tracker must find is known exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physgen_control.geometry import quaternion_from_matrix
from physgen_control.types import Float64Array, Pose
from physgen_physworld.camera import Camera
from physgen_physworld.reconstruction.silhouette import corners
from physgen_physworld.values import Video

CUBE = (0.04, 0.04, 0.04)
RED, GREEN, BLUE, WOOD, ARM = (190, 8, 6), (6, 170, 10), (30, 60, 190), (196, 112, 62), (205, 205, 210)
FINE = 4


def camera(size: int = 256) -> Camera:
    eye, target = np.array([1.26, 0.18, 0.50]), np.array([0.60, 0.0, 0.06])
    ahead = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(ahead, right), ahead], axis=1)
    focal = size / (2 * np.tan(0.4))
    matrix = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Camera(
        matrix=matrix,
        image_size=(size, size),
        base_from_camera=Pose(position=eye, quaternion=quaternion_from_matrix(axes)),
    )


def draw(
    seen: Camera,
    boxes: list[tuple[Float64Array, float, tuple[int, int, int]]],
    arm: tuple[int, int, int, int] | None,
) -> NDArray[np.uint8]:
    """Boxes (middle, yaw, colour), the farthest first; arm: rows and columns of a grey patch before them."""
    import cv2

    height, width = seen.image_size
    canvas = np.full((height * FINE, width * FINE, 3), WOOD, np.uint8)
    for middle, yaw, colour in boxes:
        hull = cv2.convexHull((seen.project(corners(middle, yaw, CUBE)) * FINE).astype(np.float32))
        cv2.fillConvexPoly(canvas, np.round(hull - 0.5).astype(np.int32), colour)
    if arm is not None:
        canvas[arm[0] * FINE : arm[1] * FINE, arm[2] * FINE : arm[3] * FINE] = ARM
    # One sample per pixel, as a plain renderer has it: hard edges.
    return np.ascontiguousarray(canvas[FINE // 2 :: FINE, FINE // 2 :: FINE])


def film(
    positions: Float64Array, yaws: Float64Array, *, on: Float64Array | None = None, size: int = 256
) -> Video:
    """A red cube's way, over a green cube that lies at `on`."""
    seen = camera(size)
    frames = []
    for position, yaw in zip(positions, yaws, strict=True):
        boxes = [(position, float(yaw), RED)]
        if on is not None:
            boxes.insert(0, (on, 0.3, GREEN))
        frames.append(draw(seen, boxes, None))
    return Video(frames=np.stack(frames), period_s=0.1, camera=seen, source="a drawn scene")
