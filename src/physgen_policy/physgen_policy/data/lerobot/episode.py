# SPDX-License-Identifier: Apache-2.0
"""What a LeRobot dataset says of a demonstration: state at the images, applied action, task, who was in command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physgen_control.bags.images import ImageStream
from physgen_control.bags.reader import EpisodeRecording
from physgen_control.messages.topics import CAMERAS
from physgen_control.types import UInt8Image
from physgen_policy.contract.splice import resize_view
from physgen_policy.data.demonstration import EpisodeRejectedError, read_demonstration


@dataclass(frozen=True, slots=True, kw_only=True)
class LerobotEpisode:
    """T frames: frame k is what was seen and measured before action k was applied."""

    state: NDArray[np.float32]
    """float32 [T, 15], see STATE_NAMES."""
    action: NDArray[np.float32]
    """float32 [T, 7], see ACTION_NAMES."""
    is_intervention: NDArray[np.bool_]
    """bool [T], a human was in command."""
    is_label: NDArray[np.bool_]
    """bool [T], False where the action shows not what to do (a pushed or led step)."""
    task: str
    """The instruction."""
    source: str
    robot: str
    streams: dict[str, ImageStream]
    rows: dict[str, list[int]]
    """By camera, which of its images each frame shows."""
    image_size: int = 0
    """Side of the images in pixels; 0 keeps the recorded size."""

    def __len__(self) -> int:
        return len(self.action)

    def image(self, camera: str, frame: int) -> UInt8Image:
        """Return the image of a camera at a frame, uint8 [y, x, 3] RGB; image_size > 0 makes it square."""
        rgb = self.streams[camera].rgb(self.rows[camera][frame])
        return resize_view(rgb, self.image_size, self.image_size) if self.image_size else rgb


def lerobot_episode(path: Path, *, control_rate_hz: float, image_size: int = 0) -> LerobotEpisode:
    """Read one bag.

    Args:
        path: Bag folder.
        control_rate_hz: Actions per second wanted.
        image_size: Side of the images in pixels; 0 keeps the recorded size.

    Raises:
        EpisodeRejectedError: The bag is no demonstration (see `read_demonstration`), or has no instruction, no robot
            state, or not a picture at every step.
        BagError: The bag is damaged.
    """
    shown = read_demonstration(path, control_rate_hz=control_rate_hz, cameras=CAMERAS)
    recording = shown.recording
    if shown.picture_every > 1:
        raise EpisodeRejectedError(
            f"{path.name} has one picture per {shown.picture_every} control steps, and a LeRobot dataset needs one at "
            "every step: collect it again without --picture-every"
        )
    if not recording.instruction.strip():
        raise EpisodeRejectedError(f"{path.name} has no instruction, so there is no task to name")
    frames = len(shown.actions)
    rows = {camera: shown.observations[camera][:frames] for camera in CAMERAS}
    stamps = recording.images[CAMERAS[0]].stamps_ns[rows[CAMERAS[0]]]
    return LerobotEpisode(
        state=state_at(recording, stamps),
        action=shown.values,
        is_intervention=shown.intervention,
        is_label=shown.labels,
        task=recording.instruction,
        source=path.name,
        robot=recording.episode.robot,
        streams={camera: recording.images[camera] for camera in CAMERAS},
        rows=rows,
        image_size=image_size,
    )


def state_at(recording: EpisodeRecording, stamps_ns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the measured state at some stamps, float32 [n, 15], interpolated linearly and held at both ends.

    Raises:
        EpisodeRejectedError: The recording has no joint states or no TCP poses.
    """
    joints, poses = recording.joints, recording.poses
    if not len(joints.stamps_ns) or not len(poses.stamps_ns):
        raise EpisodeRejectedError(f"{recording.path.name} has no joint states or no TCP poses")
    quaternions = poses.quaternions.copy()
    # Both signs are the same rotation: neighbours must not differ by it.
    for row in range(1, len(quaternions)):
        if quaternions[row] @ quaternions[row - 1] < 0:
            quaternions[row] *= -1
    measured = np.column_stack([joints.positions, joints.gripper_width])
    pose = _interpolate(stamps_ns, poses.stamps_ns, np.column_stack([poses.positions, quaternions]))
    pose[:, 3:] /= np.linalg.norm(pose[:, 3:], axis=1, keepdims=True)
    state = np.column_stack([_interpolate(stamps_ns, joints.stamps_ns, measured), pose])
    return state.astype(np.float32)


def _interpolate(
    wanted_ns: NDArray[np.int64], stamps_ns: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Relative to the first stamp: nanoseconds since 1970 do not fit into a double.
    at, known = (wanted_ns - stamps_ns[0]).astype(np.float64), (stamps_ns - stamps_ns[0]).astype(np.float64)
    return np.column_stack([np.interp(at, known, column) for column in values.T])
