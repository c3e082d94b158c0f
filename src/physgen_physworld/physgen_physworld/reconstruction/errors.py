# SPDX-License-Identifier: Apache-2.0
"""How far a track is from the truth, which only a simulator knows: for tests and reports, never for acting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from physgen_control.types import Float64Array
from physgen_physworld.values import ObjectTrack, square_turn, yaw_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackErrors:
    """Median distances [mm]: horizontally, in height, of the last pose in space; and of the yaw [degrees].

    A yaw is known up to the quarter turns of a square.
    """

    sideways_mm: float
    height_mm: float
    end_mm: float
    start_mm: float
    yaw_deg: float


def track_errors(track: ObjectTrack, positions: Float64Array, quaternions: Float64Array) -> TrackErrors:
    """Compare a track with true positions [T, 3] and quaternions [T, 4]; of another length, at its ends alone."""
    if len(track.positions) != len(positions):
        ends = [0, -1]
        positions, quaternions = positions[ends], quaternions[ends]
        track = replace(
            track,
            positions=track.positions[ends],
            quaternions=track.quaternions[ends],
            confidence=track.confidence[ends],
        )
    away = track.positions - positions
    turns = [
        square_turn(yaw_of(mine) - yaw_of(true))
        for mine, true in zip(track.quaternions, quaternions, strict=True)
    ]
    return TrackErrors(
        sideways_mm=float(1000 * np.median(np.linalg.norm(away[:, :2], axis=1))),
        height_mm=float(1000 * np.median(np.abs(away[:, 2]))),
        end_mm=float(1000 * np.linalg.norm(away[-1])),
        start_mm=float(1000 * np.linalg.norm(away[0])),
        yaw_deg=float(np.degrees(np.median(np.abs(turns)))),
    )
