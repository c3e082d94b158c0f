# SPDX-License-Identifier: Apache-2.0
"""From recorded bags to what is rendered: pairs images, actions and poses of an episode by stamp and step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physgen_bringup.pictures.pictures import Recording
from physgen_control.bags.errors import BagError
from physgen_control.bags.find import find_bags
from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.bags.source import DAMAGE, connections_of, open_bag, store_of
from physgen_control.messages import read
from physgen_control.messages.topics import PREDICTED_IMAGE
from physgen_control.types import EpisodePhase, UInt8Image

DEFAULT_PERIOD_NS = 50_000_000


def load_recordings(folder: Path) -> tuple[list[Recording], list[str]]:
    """Return the finished episodes below `folder`, by seed and with decoded pixels, and why others were left out."""
    recordings, left_out = [], []
    for path in find_bags(folder):
        try:
            recordings.append(to_recording(read_episode(path)))
        except BagError as error:
            left_out.append(f"left out: {error}")
    return sorted(recordings, key=lambda recording: recording.seed), left_out


def to_recording(episode: EpisodeRecording) -> Recording:
    """Pair the streams of one episode.

    Raises:
        BagError: An image or an imagined frame cannot be read.
    """
    fixed, wrist = episode.fixed, episode.wrist
    stamps, rows_fixed, rows_wrist = np.intersect1d(
        fixed.stamps_ns, wrist.stamps_ns, assume_unique=True, return_indices=True
    )
    every = episode.picture_every
    period_ns = float(np.median(np.diff(stamps))) / every if len(stamps) > 1 else float(DEFAULT_PERIOD_NS)
    in_episode = episode.poses.stamps_ns >= episode.episode.start_ns
    return Recording(
        seed=episode.episode.seed,
        task=episode.episode.task,
        outcome=_outcome(episode.outcome),
        rate_hz=1e9 / period_ns,
        fixed=[fixed.rgb(int(row)) for row in rows_fixed],
        wrist=[wrist.rgb(int(row)) for row in rows_wrist],
        predicted=predicted_frames(episode, stamps, every),
        actions=list(episode.applied),
        tcp=episode.poses.positions[in_episode],
        picture_every=every,
    )


def predicted_frames(episode: EpisodeRecording, stamps: np.ndarray, every: int) -> dict[int, UInt8Image]:
    """Return imagined frames by the step of the observation they were imagined from; empty where none was recorded.

    Args:
        episode: Whose bag is read.
        stamps: Of the pictures, int64 [n] in ns.
        every: Control steps from one picture to the next.

    Raises:
        BagError: They cannot be read.
    """
    if PREDICTED_IMAGE not in episode.counts:
        return {}
    path = episode.path
    step_of = {int(stamp): index * every for index, stamp in enumerate(stamps)}
    frames: dict[int, UInt8Image] = {}
    try:
        with open_bag(path) as reader:
            store = store_of(reader)
            for _, _, data in reader.messages(connections_of(reader, PREDICTED_IMAGE)):
                message: Any = store.deserialize_cdr(data, "sensor_msgs/msg/Image")
                frame = read.image_from_msg(message)
                if frame.stamp_ns in step_of:
                    frames[step_of[frame.stamp_ns]] = frame.rgb
    except DAMAGE as error:
        raise BagError(f"The imagined frames in {path} cannot be read: {error}") from error
    return frames


def _outcome(phase: EpisodePhase) -> str:
    return {EpisodePhase.SUCCESS: "success", EpisodePhase.FAILURE: "failure"}.get(phase, phase.name.lower())
