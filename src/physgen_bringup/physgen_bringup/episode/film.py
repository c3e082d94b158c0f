# SPDX-License-Identifier: Apache-2.0
"""Keeps the images of one episode and writes them as a video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physgen_bringup.pictures.pictures import Recording, write_video
from physgen_control.types import AppliedAction, Episode, UInt8Image
from physgen_sim_bridge.world import Observation


class Film:
    """The images of one episode, in the order of its steps."""

    def __init__(self) -> None:
        self._fixed: list[UInt8Image] = []
        self._wrist: list[UInt8Image] = []
        self._tcp: list[np.ndarray] = []

    def add(self, observation: Observation) -> None:
        """Keep what both cameras saw."""
        self._fixed.append(observation.rgb_fixed)
        self._wrist.append(observation.rgb_wrist)
        self._tcp.append(observation.tcp_pose.position)

    def write(self, path: Path, ended: Episode, actions: Sequence[AppliedAction], rate_hz: float) -> Path:
        """Write the video, whole or not at all, and return its path.

        Args:
            path: The file.
            ended: The episode in its final phase.
            actions: Its applied actions.
            rate_hz: Control steps per second.
        """
        partial = path.with_name(f".{path.name}.partial.mp4")
        recording = Recording(
            seed=ended.seed,
            task=ended.task,
            outcome=ended.phase.name.lower(),
            rate_hz=rate_hz,
            fixed=self._fixed,
            wrist=self._wrist,
            predicted={},
            actions=actions,
            tcp=np.array(self._tcp, np.float64),
        )
        write_video([recording], partial, rate_hz=rate_hz)
        return partial.rename(path)
