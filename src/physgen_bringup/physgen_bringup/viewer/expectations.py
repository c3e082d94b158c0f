# SPDX-License-Identifier: Apache-2.0
"""Imagined frames wait here for the instant that they are for, and then say where they were wrong."""

from __future__ import annotations

from collections import deque

import numpy as np
from PIL import Image

from physgen_bringup.pictures.overlays import error_map
from physgen_control.types import CameraFrame, UInt8Image

KEPT = 8
SLACK_NS = 25_000_000
"""A picture within half a control period is that of the instant."""


class Expectations:
    """The newest imagined views of one camera, by the time that they are for."""

    def __init__(self) -> None:
        self._views: deque[tuple[int, UInt8Image]] = deque(maxlen=KEPT)

    def forget(self) -> None:
        """Expect nothing: another episode begins."""
        self._views.clear()

    def add(self, due_ns: int, view: UInt8Image) -> None:
        """Expect a view uint8 [y, x, 3] at a time [ns of ROS time]."""
        self._views.append((due_ns, view))

    def wrong(self, frame: CameraFrame) -> UInt8Image | None:
        """Return where the view that was expected for a picture differs from it, in its size; None without one."""
        for due_ns, view in self._views:
            if abs(due_ns - frame.stamp_ns) <= SLACK_NS:
                size = (view.shape[1], view.shape[0])
                seen = np.asarray(Image.fromarray(frame.rgb).resize(size, Image.Resampling.BILINEAR))
                return error_map(view, seen)
        return None
