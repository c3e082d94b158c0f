# SPDX-License-Identifier: Apache-2.0
"""Whether an image comes from the camera whose topic it came on, and looks as that camera's others. Pure."""

from __future__ import annotations

from physgen_control.types import CameraFrame


class ViewCheck:
    """Remembers size and frame of each camera's first image of an episode."""

    def __init__(self, streams: tuple[str, ...]) -> None:
        self._streams = streams
        self._first: dict[str, tuple[tuple[int, ...], str]] = {}

    def restart(self) -> None:
        """Forget all images: cameras may have been configured anew for a new episode."""
        self._first.clear()

    def doubt(self, stream: str, frame: CameraFrame) -> str:
        """Return why an image is not believed, naming its camera, or an empty text."""
        others = [
            name
            for name in self._streams
            if name != stream and name in frame.frame_id and stream not in frame.frame_id
        ]
        if others:
            return (
                f"images on the {stream} camera's topic have the frame {frame.frame_id!r} of the {others[0]} camera "
                "and are ignored: the cameras are swapped"
            )
        size = frame.rgb.shape
        first_size, first_frame = self._first.setdefault(stream, (size, frame.frame_id))
        if size != first_size:
            return (
                f"the {stream} camera changed its size from {first_size[1]} x {first_size[0]} to {size[1]} x {size[0]} "
                "within an episode; its images are ignored until the next one"
            )
        if frame.frame_id != first_frame:
            return (
                f"the {stream} camera changed its frame from {first_frame!r} to {frame.frame_id!r} within an episode; "
                "its images are ignored until the next one"
            )
        return ""
