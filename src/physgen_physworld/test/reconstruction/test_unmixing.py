# SPDX-License-Identifier: Apache-2.0
"""A blurred thing is found where the sharp one is, and seems hardly larger."""

from dataclasses import replace

import numpy as np
import pytest
from drawn_scene import RED, WOOD, film

from physgen_physworld.reconstruction.colours import colour_mask
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.unmixing import backgrounds, covered, own_colours
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.values import Video

COUNT = 12
LIFTING = np.stack(
    [np.linspace(0.55, 0.60, COUNT), np.linspace(0.0, 0.12, COUNT), np.linspace(0.02, 0.16, COUNT)], axis=1
)


def blurred(video: Video) -> Video:
    """As decoders draw: soft, and strong colours half a pixel too wide."""
    import cv2

    frames = video.frames.copy()
    for number in range(1, len(frames)):
        wide = cv2.dilate(colour_mask(frames[number], "red").astype(np.float32), np.ones((2, 2), np.uint8))
        share = cv2.GaussianBlur(wide, (0, 0), 1.6)[..., None]
        frames[number] = np.round(share * np.array(RED) + (1 - share) * np.array(WOOD)).astype(np.uint8)
    return replace(video, frames=frames, blurred=True)


def end_of(video: Video) -> np.ndarray:
    tracks = reconstruct_tracks(video, find_things(video, things_named("pick up the red cube"), PlaneDepth()))
    return tracks.moved.positions[-1]


def test_a_lifted_cube_is_as_far_away_as_it_is_in_a_sharp_video() -> None:
    sharp = film(LIFTING, np.zeros(COUNT))
    soft = blurred(sharp)
    assert np.linalg.norm(end_of(sharp) - LIFTING[-1]) < 0.015
    off = float(np.linalg.norm(end_of(soft) - LIFTING[-1]))
    by_hue = float(np.linalg.norm(end_of(replace(soft, blurred=False)) - LIFTING[-1]))
    assert off < 0.5 * by_hue, (off, by_hue)


def test_what_is_behind_a_thing_is_seen_when_it_is_elsewhere() -> None:
    video = film(LIFTING, np.zeros(COUNT))
    masks = [colour_mask(frame, "red") for frame in video.frames]
    behind = backgrounds(video.frames, masks)
    assert np.nanmax(np.abs(behind - [196, 112, 62])) < 1.0
    always = backgrounds(video.frames[:2], [masks[0], masks[0]])
    assert np.isnan(always[masks[0]]).all()


def test_where_nothing_is_known_of_the_background_the_hue_decides() -> None:
    video = film(LIFTING[:1], np.zeros(1))
    mask = colour_mask(video.frames[0], "red")
    shades = own_colours(video.frames[0], mask)
    assert shades == pytest.approx(np.array([[190, 8, 6], [190, 8, 6]]), abs=1)
    unknown = np.full((*mask.shape, 3), np.nan)
    assert np.array_equal(covered(video.frames[0], unknown, shades, mask), mask)
