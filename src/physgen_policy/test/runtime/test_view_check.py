# SPDX-License-Identifier: Apache-2.0
"""Images that are not what their topic says are named and ignored."""

from typing import Any

import numpy as np
import pytest

from physgen_control.types import CameraFrame
from physgen_policy.runtime.view_check import ViewCheck

STREAMS = ("fixed", "wrist")


def image(height: int = 4, width: int = 6, frame_id: str = "camera_wrist_color_optical_frame") -> CameraFrame:
    return CameraFrame(stamp_ns=0, rgb=np.zeros((height, width, 3), np.uint8), frame_id=frame_id)


def test_a_camera_that_stays_as_it_is_is_believed() -> None:
    check = ViewCheck(STREAMS)
    assert check.doubt("wrist", image()) == check.doubt("wrist", image()) == ""
    assert check.doubt("fixed", image(8, 8, "camera")) == ""  # drivers name their frames as they like


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 12}, "the wrist camera changed its size from 6 x 4 to 12 x 4"),
        ({"frame_id": "tool"}, "the wrist camera changed its frame"),
        ({"frame_id": "camera_fixed_color_optical_frame"}, "the cameras are swapped"),
    ],
)
def test_a_change_within_an_episode_is_refused_with_the_cameras_name(
    changes: dict[str, Any], words: str
) -> None:
    check = ViewCheck(STREAMS)
    assert check.doubt("wrist", image()) == ""
    assert words in check.doubt("wrist", image(**changes))
    assert check.doubt("wrist", image()) == ""  # what it was at the start counts again


def test_a_new_episode_starts_clean() -> None:
    check = ViewCheck(STREAMS)
    check.doubt("wrist", image())
    check.restart()
    assert check.doubt("wrist", image(8, 8)) == ""
