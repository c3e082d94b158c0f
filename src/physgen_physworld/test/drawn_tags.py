# SPDX-License-Identifier: Apache-2.0
"""Pictures of an AprilTag as a pinhole camera sees it, and hands that hold the camera or the tag."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from physgen_control.bags.serialize import CameraSpec, EpisodeBag
from physgen_control.geometry import matrix_from_rotation_vector, quaternion_from_matrix
from physgen_control.types import Episode, EpisodePhase, Float64Array, Pose, RobotState, UInt8Image
from physgen_physworld.calibration.tags import Tag, find_tag

MATRIX = np.array([[600.0, 0.0, 318.0], [0.0, 602.0, 243.0], [0.0, 0.0, 1.0]])
SIZE = (480, 640)
NUMBER = 7
_CELLS, _FINE = 8, 2
TAG = Tag(size_m=0.08)


def pose(turn: tuple[float, float, float], place: tuple[float, float, float]) -> Float64Array:
    """A rotation vector [rad] and a translation [m] as [4, 4]."""
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = matrix_from_rotation_vector(np.array(turn)), place
    return out


def drawn(
    camera_from_tag: Float64Array, tag: Tag, rng: np.random.Generator, number: int = NUMBER
) -> UInt8Image:
    """The tag on white paper before a grey wall, smoothed by the pixels' area, with noise."""
    cell = 40
    family = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11)
    square = cv2.aruco.generateImageMarker(family, number, _CELLS * cell, borderBits=1)
    paper = np.pad(square, 2 * cell, constant_values=255)
    # Pixel edges of the paper to metres of the tag's frame: y points up, the black square has the tag's size.
    scale = tag.size_m / (_CELLS * cell)
    middle = paper.shape[0] / 2
    metres = np.array([[scale, 0, -scale * middle], [0, -scale, scale * middle], [0, 0, 1]])
    plane = MATRIX @ camera_from_tag[:3, [0, 1, 3]] @ metres
    # Centres of pixels are whole numbers, in the paper, in the fine picture and in the picture.
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    fine = np.array([[_FINE, 0, (_FINE - 1) / 2], [0, _FINE, (_FINE - 1) / 2], [0, 0, 1]])
    size = (SIZE[1] * _FINE, SIZE[0] * _FINE)
    large = cv2.warpPerspective(
        paper,
        fine @ plane @ centre,
        size,
        flags=cv2.INTER_AREA,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=110,
    )
    small = large.reshape(SIZE[0], _FINE, SIZE[1], _FINE).mean(axis=(1, 3))
    noisy = (small + rng.normal(0, 2, SIZE)).clip(0, 255).astype(np.uint8)
    return np.repeat(noisy[..., None], 3, axis=2)


def hands(
    rng: np.random.Generator, count: int, middle: Float64Array, turn: float = 0.45
) -> list[Float64Array]:
    """Poses of the hand around one, turned by up to `turn` rad and moved by up to 8 cm."""
    out = []
    for _ in range(count):
        change = pose(tuple(rng.uniform(-turn, turn, 3)), tuple(rng.uniform(-0.08, 0.08, 3)))
        out.append(middle @ change)
    return out


ON_HAND = pose((0.05, -0.08, 1.5), (0.05, 0.01, -0.06))
"""hand_from_camera, the optical frame."""
ON_TABLE = pose((0.02, 0.0, 0.4), (0.52, 0.03, 0.0))
STEP_NS = 50_000_000


def record(folder: Path, places: int, matrix: Float64Array = MATRIX) -> Path:
    """An arm that stops for 0.5 s in each of some places above a tag on the table, at 20 Hz."""
    rng = np.random.default_rng(0)
    stops: list[tuple[Float64Array, UInt8Image]] = []
    for hand in hands(rng, 6 * places, pose((np.pi, 0.0, 0.0), (0.5, 0.0, 0.35))):
        picture = drawn(_seen_from(hand), TAG, rng)
        if find_tag(picture, TAG) is not None:
            stops.append((hand, picture))
        if len(stops) == places:
            break
    assert len(stops) == places
    cameras = {name: CameraSpec(frame_id=f"{name}_optical", intrinsics=matrix) for name in ("fixed", "wrist")}
    episode = Episode(episode_id="e", task="", seed=0, instruction="look", robot="fr3", start_ns=STEP_NS)
    dark = np.zeros((8, 8, 3), np.uint8)
    stamp = STEP_NS
    with EpisodeBag(folder, episode, cameras, joint_prefix="fr3") as bag:
        for number, (stop, picture) in enumerate(stops):
            # On the way to the next place nothing of what is seen may count.
            following = stops[(number + 1) % len(stops)][0]
            ways = [stop] * 10 + [_between(stop, following, share) for share in (0.25, 0.5, 0.75)]
            for hand in ways:
                state = RobotState(
                    stamp_ns=stamp,
                    positions=np.zeros(7),
                    velocities=np.zeros(7),
                    gripper_width=0.08,
                    tcp_pose=Pose(position=hand[:3, 3], quaternion=quaternion_from_matrix(hand[:3, :3])),
                )
                bag.add_observation(stamp, dark, picture, state)
                stamp += STEP_NS
        return bag.finish(EpisodePhase.SUCCESS, step=0)


def _seen_from(hand: Float64Array) -> Float64Array:
    return np.linalg.inv(hand @ ON_HAND) @ ON_TABLE


def _between(one: Float64Array, other: Float64Array, share: float) -> Float64Array:
    out = one.copy()
    out[:3, 3] = (1 - share) * one[:3, 3] + share * other[:3, 3]
    return out
