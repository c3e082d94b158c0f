# SPDX-License-Identifier: Apache-2.0
"""The recorder's status as its readers see it: what was said last is the newest status, whichever thread says it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderStatus:
    """What /physgen/recorder_status says."""

    state: str
    """"ready", "recording" or "error"."""
    detail: str
    """One sentence."""
    episode_id: str = ""
    bag_path: str = ""
    """Empty when no bag is open."""


class StatusBoard:
    """Holds the current status and publishes it, one thread at a time.

    Readers of a latched topic keep the last message and wait for a state in it: a status that another thread looked at
    before it was replaced must not follow its successor.

    Args:
        first: The status to begin with, not published.
        publish: Publishes a status as plain values.
    """

    def __init__(self, first: RecorderStatus, publish: Callable[[dict[str, Any]], None]) -> None:
        self._lock = threading.Lock()
        self._publish = publish
        self._current = first

    @property
    def current(self) -> RecorderStatus:
        """The status that was set last."""
        return self._current

    def replace(self, status: RecorderStatus) -> None:
        """Set and publish a new status."""
        with self._lock:
            self._current = status
            self._publish(asdict(status))

    def repeat(self, status: RecorderStatus, **details: Any) -> None:
        """Publish a status once more with details, unless it is not the current one any more."""
        with self._lock:
            if self._current is status:
                self._publish({**asdict(status), **details})
