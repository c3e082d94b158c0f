# SPDX-License-Identifier: Apache-2.0
"""Where a camera stands and where in its image a point of the base frame is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from physgen_control.geometry import matrix_from_quaternion, normalized, quaternion_product
from physgen_control.messages.status import Intrinsics, StaticTransform
from physgen_control.types import Float64Array, Pose
from physgen_sim_bridge.registry import fixed_camera

NEAREST = 0.01
"""What is nearer to the camera's plane [m], or behind it, is not in its image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraView:
    """One camera and where it stands."""

    pose: Pose
    """Of its optical frame (x right, y down, z forward) in the base frame."""
    matrix: Float64Array
    """K, [3, 3] in pixels."""
    width: int
    """[pixels]"""
    height: int
    """[pixels]"""

    def project(self, points: Float64Array) -> tuple[Float64Array, np.ndarray]:
        """Return pixels float64 [n, 2] (column, row) of points [n, 3] (m, base frame) and which are before the camera.

        Pixels of points that are not before the camera are NaN; others may lie outside of the image.
        """
        axes = matrix_from_quaternion(self.pose.quaternion)
        seen = (np.asarray(points, np.float64).reshape(-1, 3) - self.pose.position) @ axes
        before = seen[:, 2] > NEAREST
        pixels = np.full((len(seen), 2), np.nan)
        shown = seen[before] @ self.matrix.T
        pixels[before] = shown[:, :2] / shown[:, 2:]
        return pixels, before


def simulated_view(sim: str, task: str, width: int, height: int) -> CameraView | None:
    """Return the fixed camera of a simulated task for images of this size; None where its place is not known."""
    camera = fixed_camera(sim, task)
    if camera is None:
        return None
    focal = height / (2.0 * np.tan(camera.fov_y / 2.0))
    matrix = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    return CameraView(pose=camera.pose, matrix=matrix, width=width, height=height)


def measured_view(
    transforms: Iterable[StaticTransform], base: str, intrinsics: Intrinsics
) -> CameraView | None:
    """Return the camera of a calibration where static transforms lead from the base frame to its optical frame."""
    pose = pose_between(transforms, base, intrinsics.frame_id)
    if pose is None:
        return None
    return CameraView(pose=pose, matrix=intrinsics.matrix, width=intrinsics.width, height=intrinsics.height)


def pose_between(transforms: Iterable[StaticTransform], base: str, frame: str) -> Pose | None:
    """Return the pose of `frame` in `base`, through the tree of static transforms; None where none leads there."""
    parents = {entry.child: entry for entry in transforms}
    pose = Pose(position=np.zeros(3), quaternion=np.array([0.0, 0.0, 0.0, 1.0]))
    walked: set[str] = set()
    while frame != base:
        entry = parents.get(frame)
        if entry is None or frame in walked:
            return None
        walked.add(frame)
        pose = composed(entry.pose, pose)
        frame = entry.parent
    return pose


def composed(outer: Pose, inner: Pose) -> Pose:
    """Return the pose `inner`, which is given in the frame `outer`, in the frame that `outer` is given in."""
    turn = normalized(outer.quaternion)
    return Pose(
        position=outer.position + matrix_from_quaternion(turn) @ inner.position,
        quaternion=quaternion_product(turn, normalized(inner.quaternion)),
    )
