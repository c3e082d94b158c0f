# SPDX-License-Identifier: Apache-2.0
"""Which video is followed: the first that is good enough, never one in which another thing or nothing moves."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from drawn_scene import film

from physgen_control.errors import UserError
from physgen_physworld.plan.choice import GOOD_ENOUGH, choose_video, worth
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.values import Tracks, Video

THINGS = things_named("push the red cube to the goal")
COUNT = 8


def pushing(way: float) -> Video:
    positions = np.stack(
        [np.linspace(0.55, 0.55 + way, COUNT), np.full(COUNT, 0.02), np.full(COUNT, 0.02)], axis=1
    )
    return film(positions, np.zeros(COUNT))


def fading() -> Video:
    """The cube becomes one with the table before it is there."""
    video = pushing(0.12)
    frames = video.frames.copy()
    frames[5:] = np.array([196, 112, 62], np.uint8)
    return replace(video, frames=frames)


def tracks_of(video: Video) -> Tracks:
    return reconstruct_tracks(video, find_things(video, THINGS, PlaneDepth()))


def test_the_first_good_video_is_taken_and_no_other_is_made() -> None:
    made = []

    def videos() -> Iterator[Video]:
        for number, video in enumerate((pushing(0.0), pushing(0.12), pushing(0.10))):
            made.append(number)
            yield video

    chosen = choose_video(videos(), THINGS, PlaneDepth())
    assert chosen.number == 1 and made == [0, 1]
    assert chosen.worths[0] == 0.0 and chosen.worths[1] >= GOOD_ENOUGH
    assert chosen.tracks.moved.positions[-1][0] == pytest.approx(0.67, abs=0.006)


def test_a_thing_that_fades_is_worth_less() -> None:
    assert (
        0.0
        < worth(tracks_of(fading()), "red_cube")
        < 0.7 * worth(tracks_of(pushing(0.12)), "red_cube")
        <= 0.7
    )


def test_a_video_that_moves_another_thing_is_worth_nothing() -> None:
    assert worth(tracks_of(pushing(0.12)), "green_cube") == 0.0


def test_videos_without_motion_are_one_sentence() -> None:
    with pytest.raises(UserError, match="None of 2 generated videos shows the red cube move"):
        choose_video(iter([pushing(0.0), pushing(0.001)]), THINGS, PlaneDepth())
