# SPDX-License-Identifier: Apache-2.0
"""What a video asks for: the poses that the moved object shall go through, by the length of its way and not by time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float64Array
from physgen_physworld.values import ObjectTrack, Tracks, square_turn, yaw_of

SPACING = 0.012
"""Way from one goal to the next [m]: generators of video have no clock, so only the way counts."""

LIFTED = 0.018
"""A way that rises by more than this [m] needs a grasp; below it the object is pushed."""

SUPPORTED = 0.012
"""An object that ends this near [m] above something that can carry it is let go there."""

LEAST_WAY = 0.008
"""A shorter way [m] is the tracker's noise, no motion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Another box on the table: its middle [m], its edges [m]."""

    position: Float64Array
    size: tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """Where the moved object begins and shall go."""

    name: str
    size: tuple[float, float, float]
    positions: Float64Array
    """Float64 [K, 3]; the first is where it begins."""
    yaws: Float64Array
    """Float64 [K], known up to quarter turns."""
    lifted: bool
    """It leaves its support."""
    released: bool
    """It ends on a support and is let go; else it is held where the video ends."""
    obstacles: tuple[Obstacle, ...]


def make_goals(tracks: Tracks) -> Goals:
    """Return the goals of the object that the tracks move.

    Raises:
        UserError: nothing moves.
    """
    moved = tracks.moved
    if moved.travelled < LEAST_WAY:
        raise UserError(
            f"Nothing moves in {tracks.source}: the {moved.name.replace('_', ' ')} travels "
            f"{1000 * moved.travelled:.0f} mm; take another video."
        )
    positions, yaws = _by_way(moved)
    lifted = float(positions[:, 2].max() - positions[0, 2]) > LIFTED
    obstacles = tuple(Obstacle(position=track.positions[0], size=track.size) for track in tracks.others)
    return Goals(
        name=moved.name,
        size=moved.size,
        positions=positions,
        yaws=yaws,
        lifted=lifted,
        released=lifted and _rests(positions, moved.size, obstacles),
        obstacles=obstacles,
    )


def _by_way(track: ObjectTrack) -> tuple[Float64Array, Float64Array]:
    steps = np.linalg.norm(np.diff(track.positions, axis=0), axis=1)
    way = np.concatenate([[0.0], np.cumsum(steps)])
    count = max(2, round(float(way[-1]) / SPACING) + 1)
    at = np.linspace(0.0, way[-1], count)
    # The same place twice would make the way no function.
    keep = np.concatenate([[True], np.diff(way) > 1e-9])
    positions = np.stack([np.interp(at, way[keep], track.positions[keep, axis]) for axis in range(3)], axis=1)
    positions[-1] = track.positions[-1]
    course = np.array([yaw_of(quaternion) for quaternion in track.quaternions])
    unrolled = course[0] + np.concatenate([[0.0], np.cumsum([square_turn(turn) for turn in np.diff(course)])])
    return positions, np.interp(at, way[keep], unrolled[keep])


def _rests(
    positions: Float64Array, size: tuple[float, float, float], obstacles: tuple[Obstacle, ...]
) -> bool:
    last = positions[-1]
    heights = [float(positions[0, 2])]
    for obstacle in obstacles:
        if float(np.linalg.norm((obstacle.position - last)[:2])) < 0.75 * max(*size, *obstacle.size):
            heights.append(obstacle.position[2] + (obstacle.size[2] + size[2]) / 2)
    return bool(min(abs(height - last[2]) for height in heights) < SUPPORTED)
