# SPDX-License-Identifier: Apache-2.0
"""Which of several generated videos is followed: a fixed rule that asks the tracker alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_physworld.plan.goals import make_goals
from physgen_physworld.reconstruction.depth import Depth
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.values import Thing, Tracks, Video

GOOD_ENOUGH = 0.8
"""A video of this worth is followed without a look at the others."""

LEAST_WORTH = 0.3
"""Below it a video shows no motion that could be followed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The video that is followed, its tracks, its number and worth, and the worth of every video looked at."""

    video: Video
    tracks: Tracks
    number: int
    worths: tuple[float, ...]


def choose_video(
    videos: Iterable[Video],
    things: Sequence[Thing],
    depth: Depth,
    clicks: Mapping[str, tuple[float, float]] | None = None,
) -> Chosen:
    """Return the first video that is good enough, or else the best of all.

    Args:
        videos: generated one by one as they are asked for; they begin with the same picture.
        things: that the instruction names; the first one is what shall move.
        depth: places things in the first picture.
        clicks: see find_first.

    Raises:
        UserError: a thing is not in the first picture, or no video shows a motion that could be followed.
    """
    best: tuple[float, int, Video, Tracks] | None = None
    worths: list[float] = []
    for number, video in enumerate(videos):
        tracks = reconstruct_tracks(video, find_things(video, things, depth, clicks))
        worths.append(worth(tracks, things[0].name))
        if best is None or worths[-1] > best[0]:
            best = worths[-1], number, video, tracks
        if worths[-1] >= GOOD_ENOUGH:
            break
    if best is None or best[0] < LEAST_WORTH:
        raise UserError(
            f"None of {len(worths)} generated videos shows the {things[0].name.replace('_', ' ')} move in a way that "
            f"can be followed (worth {max(worths, default=0.0):.2f} of 1, at least {LEAST_WORTH} is needed): train the "
            "video model longer, or bring another video."
        )
    return Chosen(video=best[2], tracks=best[3], number=best[1], worths=tuple(worths))


def worth(tracks: Tracks, wanted: str) -> float:
    """Return 0 to 1: how surely the moved thing is followed; 0 where another thing or none moves."""
    try:
        goals = make_goals(tracks)
    except UserError:
        return 0.0
    if goals.name != wanted:
        return 0.0
    return float(np.mean(tracks.moved.confidence[1:]))
