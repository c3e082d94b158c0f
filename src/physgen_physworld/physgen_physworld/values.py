# SPDX-License-Identifier: Apache-2.0
"""What travels between the steps: a video with its camera, things to look for, and their tracks. Plain NumPy.

All poses are in the robot's base frame, whose table top is at z = 0; metres, quaternions (x, y, z, w).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.types import Float64Array, Pose, UInt8Image
from physgen_physworld.camera import Camera


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """Pictures of one static, calibrated camera: uint8 [T, height, width, 3], period_s apart.

    source says in words where it is from; the first picture is a real one of the scene that the robot is in.
    """

    frames: UInt8Image
    period_s: float
    camera: Camera
    source: str
    real_camera: Camera | None = None
    """The camera of the robot's pictures, where the video shows a part of them only; None: `camera`."""
    blurred: bool = False
    """Edges are blurred in all pictures but the first, as generators draw them."""

    @property
    def sha256(self) -> str:
        """Digest of the pictures and their size."""
        digest = hashlib.sha256(repr(self.frames.shape).encode())
        digest.update(np.ascontiguousarray(self.frames).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An object to look for: its name, the colours it may have (first guess first) and its edges [m] (x, y, z)."""

    name: str
    colours: tuple[str, ...]
    size: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTrack:
    """One object's poses over a video's pictures."""

    name: str
    size: tuple[float, float, float]
    """Edges of the box around it [m]."""
    positions: Float64Array
    """Float64 [T, 3], the middle of the object."""
    quaternions: Float64Array
    """Float64 [T, 4] (x, y, z, w)."""
    confidence: Float64Array
    """Float64 [T] in 0 to 1."""

    def pose(self, index: int) -> Pose:
        """Return the pose at a picture."""
        return Pose(position=self.positions[index].copy(), quaternion=self.quaternions[index].copy())

    @property
    def travelled(self) -> float:
        """How far the object moves at most from where it began [m]."""
        return float(np.max(np.linalg.norm(self.positions - self.positions[0], axis=1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """The tracks of all objects of a video, of equal length, period_s from one pose to the next."""

    objects: tuple[ObjectTrack, ...]
    period_s: float
    source: str

    @property
    def moved(self) -> ObjectTrack:
        """The object that the video moves: the one that travels farthest."""
        return max(self.objects, key=lambda track: track.travelled)

    @property
    def others(self) -> tuple[ObjectTrack, ...]:
        """All objects but the moved one."""
        moved = self.moved
        return tuple(track for track in self.objects if track is not moved)


def yaw_quaternions(yaws: Sequence[float] | Float64Array) -> Float64Array:
    """Return the quaternions [n, 4] of turns about the vertical [rad]."""
    half = np.asarray(yaws, np.float64) / 2
    zero = np.zeros_like(half)
    return np.stack([zero, zero, np.sin(half), np.cos(half)], axis=-1)


def yaw_of(quaternion: Float64Array) -> float:
    """Return the turn about the vertical [rad] of the object's x axis as seen from above."""
    x, y, z, w = quaternion
    return float(np.arctan2(2 * (x * y + z * w), 1 - 2 * (y * y + z * z)))


def square_turn(angle: float) -> float:
    """Return the smallest turn [rad] that looks the same on a square: in -45 to 45 degrees."""
    return float((angle + np.pi / 4) % (np.pi / 2) - np.pi / 4)
