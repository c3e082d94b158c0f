# SPDX-License-Identifier: Apache-2.0
"""Where a video comes from: one interface for generated, filmed, recorded and drawn ones."""

from __future__ import annotations

from typing import Protocol

from physgen_control.errors import UserError
from physgen_physworld.values import Video

FEWEST_FRAMES = 3
"""Less pictures than a start, a way and an end show no motion."""


class VideoError(UserError):
    """A video cannot be used; the message says why and what to do."""


class VideoSource(Protocol):
    """Anything that gives a video of the scene in which the robot shall act."""

    def video(self) -> Video:
        """Return the video.

        Raises:
            VideoError: there is none that could be used.
        """
        ...


def checked(video: Video) -> Video:
    """Return the video if it can be worked with.

    Raises:
        VideoError: too few pictures, or pictures without any content.
    """
    if len(video.frames) < FEWEST_FRAMES:
        raise VideoError(
            f"{video.source} has {len(video.frames)} pictures, but at least {FEWEST_FRAMES} are needed to show "
            "a motion."
        )
    if int(video.frames[0].max()) == int(video.frames[0].min()):
        raise VideoError(
            f"The first picture of {video.source} is of one colour: there is nothing to find in it."
        )
    return video
