# SPDX-License-Identifier: Apache-2.0
"""Pairs images of the cameras with `message_filters.ApproximateTimeSynchronizer`, where it is installed.

What becomes of a pair is decided by the ObservationGate, as it is for images that come one by one (docs/decisions).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from physgen_control.errors import UserError

SYNCHRONIZERS = ("auto", "message_filters", "builtin")


def uses_message_filters(synchronizer: str) -> bool:
    """Return whether images are paired by message_filters; `synchronizer` is one of SYNCHRONIZERS.

    Raises:
        UserError: It is asked for and not installed.
    """
    installed = importlib.util.find_spec("message_filters") is not None
    if synchronizer == "message_filters" and not installed:
        raise UserError(
            "synchronizer:=message_filters needs the ROS package message_filters, which is not installed; use "
            "synchronizer:=auto or builtin"
        )
    return installed and synchronizer != "builtin"


class ImagePairs:
    """One ApproximateTimeSynchronizer over the streams.

    Args:
        streams: Names of the cameras.
        slop_s: Largest stamp difference within a pair [s].
        queue_size: Images kept per camera.
        on_image: Called with name and message for every image of a pair, in the order of `streams`.
    """

    def __init__(
        self,
        streams: tuple[str, ...],
        *,
        slop_s: float,
        queue_size: int,
        on_image: Callable[[str, Any], None],
    ) -> None:
        self._streams, self._slop_s, self._queue_size = streams, slop_s, queue_size
        self._on_image = on_image
        self._error: Exception | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all images: after a jump back of time the synchronizer would wait for the old ones for ever."""
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter

        self._inputs = {name: SimpleFilter() for name in self._streams}
        self._synchronizer = ApproximateTimeSynchronizer(
            list(self._inputs.values()), self._queue_size, self._slop_s
        )
        self._synchronizer.registerCallback(self._on_pair)

    def put(self, stream: str, message: Any) -> None:
        """Take an image message of a camera, and hand a pair over if it completes one."""
        self._inputs[stream].signalMessage(message)
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _on_pair(self, *messages: Any) -> None:
        # An exception in here would leave the synchronizer's lock taken for good; `put` raises it instead.
        try:
            for name, message in zip(self._streams, messages, strict=True):
                self._on_image(name, message)
        except Exception as error:  # noqa: BLE001  (costs this pair, never the lock)
            self._error = error
