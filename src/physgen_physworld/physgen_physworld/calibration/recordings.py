# SPDX-License-Identifier: Apache-2.0
"""The pictures of a tag in recordings: those that were taken while the hand was at rest, one per place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.bags.errors import BagError
from physgen_control.bags.reader import EpisodeRecording, PoseTable, read_episode
from physgen_control.bags.source import DAMAGE, connections_of, open_bag, store_of
from physgen_control.geometry import matrix_from_quaternion, rotation_vector_from_matrix
from physgen_control.messages import topics
from physgen_control.messages.read import ConversionError
from physgen_control.messages.status import intrinsics_from_msg
from physgen_control.types import Float64Array
from physgen_physworld.calibration.hand_eye import CalibrationError, View
from physgen_physworld.calibration.tags import Tag, find_tag

LARGEST_DISTORTION = 1e-3
"""Coefficients of CameraInfo beyond this bend a picture by more than a corner's noise."""
REST_S = 0.15
"""The hand is at rest where it is in the same place so long before and after."""
REST_M, REST_RAD = 0.002, np.radians(0.3)
APART_M, APART_RAD = 0.01, np.radians(3.0)
"""Nearer than this to one that was taken, a place says nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPictures:
    """What recordings show of a tag."""

    views: tuple[View, ...]
    matrix: Float64Array
    """Intrinsic matrix of the camera [3, 3]."""
    image_size: tuple[int, int]
    """Height and width of its pictures [pixels]."""
    looked_at: int
    """Pictures in different places, at rest, with the tag or without."""
    left_out: tuple[str, ...] = ()
    """Recordings that cannot be read, with the reason."""


def tag_pictures(bags: Sequence[Path], camera: str, tag: Tag) -> TagPictures:
    """Return the pictures of a tag in bags of one camera ("fixed" or "wrist"); a damaged bag is left out by name.

    Raises:
        CalibrationError: No bag can be read, or the camera has no intrinsic matrix, or another one in another bag.
    """
    views: list[View] = []
    left_out: list[str] = []
    looked = 0
    known: tuple[Float64Array, tuple[int, int]] | None = None
    for bag in bags:
        try:
            episode = read_episode(bag)
        except BagError as error:
            left_out.append(str(error))
            continue
        matrix, size = _intrinsics(bag, camera)
        if known is not None and (size != known[1] or not np.allclose(matrix, known[0])):
            raise CalibrationError(
                f"{bag} has another intrinsic matrix of the {camera} camera than {bags[0]}; calibrate with recordings "
                "of one setting"
            )
        known = (matrix, size)
        images = episode.images[camera]
        for index, hand in _places(episode, camera):
            looked += 1
            pixels = find_tag(images.rgb(index), tag)
            if pixels is not None:
                views.append(View(name=f"{bag.name}, picture {index}", hand=hand, pixels=pixels))
    if known is None:
        raise CalibrationError(f"no recording can be read: {'; '.join(left_out)}")
    return TagPictures(
        views=tuple(views),
        matrix=known[0],
        image_size=known[1],
        looked_at=looked,
        left_out=tuple(left_out),
    )


def _intrinsics(bag: Path, camera: str) -> tuple[Float64Array, tuple[int, int]]:
    topic = topics.camera_info_topic(camera)
    message: Any = None
    try:
        with open_bag(bag) as reader:
            store = store_of(reader)
            connections = connections_of(reader, topic)
            for connection, _, data in reader.messages(connections) if connections else ():
                message = store.deserialize_cdr(data, connection.msgtype)
                break
        if message is None:
            raise CalibrationError(
                f"{bag} has nothing on {topic}; record the camera's CameraInfo too, as `physgen launch` does"
            )
        found, bent = intrinsics_from_msg(message), np.abs(np.array(message.d, np.float64))
    except (*DAMAGE, ConversionError) as error:
        raise CalibrationError(f"{bag} says nothing usable on {topic}: {error}") from error
    if bent.max(initial=0.0) > LARGEST_DISTORTION:
        raise CalibrationError(
            f"the pictures of the {camera} camera in {bag} are distorted (D of {topic}); record rectified ones"
        )
    return found.matrix, (found.height, found.width)


def _places(episode: EpisodeRecording, camera: str) -> Iterator[tuple[int, Float64Array]]:
    """Yield number and base_from_hand of pictures at rest, each apart from those before it."""
    kept: list[Float64Array] = []
    for index, stamp in enumerate(episode.images[camera].stamps_ns):
        hand = _resting_hand(episode.poses, int(stamp))
        if hand is None or any(not _apart(hand, other, APART_M, APART_RAD) for other in kept):
            continue
        kept.append(hand)
        yield index, hand


def _resting_hand(poses: PoseTable, stamp_ns: int) -> Float64Array | None:
    """Return the hand's pose [4, 4] at a time; None where it moved, or nothing is known."""
    first, last = np.searchsorted(poses.stamps_ns, [stamp_ns - REST_S * 1e9, stamp_ns + REST_S * 1e9])
    if last - first < 2:
        return None
    nearest = first + int(np.argmin(np.abs(poses.stamps_ns[first:last] - stamp_ns)))
    hand = _matrix(poses, nearest)
    moved = any(_apart(hand, _matrix(poses, row), REST_M, REST_RAD) for row in range(first, last))
    return None if moved else hand


def _matrix(poses: PoseTable, row: int) -> Float64Array:
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quaternion(poses.quaternions[row])
    matrix[:3, 3] = poses.positions[row]
    return matrix


def _apart(one: Float64Array, other: Float64Array, metres: float, radians: float) -> bool:
    turn = np.linalg.norm(rotation_vector_from_matrix(one[:3, :3].T @ other[:3, :3]))
    return bool(np.linalg.norm(one[:3, 3] - other[:3, 3]) > metres or turn > radians)
