# SPDX-License-Identifier: Apache-2.0
"""What arrived before an episode is known: the last seconds of every topic, and what was latched."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from physgen_control.messages.topics import RecordedTopic
from physgen_control.recording.config import RecorderConfig
from physgen_control.types import NS_PER_S

LATCHED_WRITERS = 64
"""Messages kept of a topic that several nodes latch."""


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it came."""

    topic: str
    data: bytes
    """CDR bytes."""
    stamp_ns: int
    """Its own stamp [ns]."""
    log_ns: int
    """ROS time of its arrival [ns]."""
    mono_ns: int
    """Monotonic time of its arrival [ns]."""


class PreRoll:
    """Remembers messages for an episode whose start is still unknown, as long and as many as the parameters say."""

    def __init__(self, config: RecorderConfig, recorded: Mapping[str, RecordedTopic]) -> None:
        self._config = config
        self._recorded = recorded
        self._ring: deque[RawMessage] = deque()
        self._ring_bytes = 0
        self._latched: dict[str, list[RawMessage]] = {}

    def remember(self, item: RawMessage) -> None:
        """Keep a message; forget those that are too old or too many."""
        if self._recorded[item.topic].latched:
            self._keep_latched(item)
        self._ring.append(item)
        self._ring_bytes += len(item.data)
        oldest = item.mono_ns - int(self._config.pre_roll_s * NS_PER_S)
        limit = self._config.pre_roll_mb * 1e6
        while self._ring and (self._ring[0].mono_ns < oldest or self._ring_bytes > limit):
            self._ring_bytes -= len(self._ring.popleft().data)

    def latched(self) -> Iterator[RawMessage]:
        """Return what a reader of the latched topics would get now, however long ago it came."""
        return (item for items in self._latched.values() for item in items)

    def early(self) -> Iterator[RawMessage]:
        """Return what came lately on the other topics, the oldest first."""
        return (item for item in self._ring if not self._recorded[item.topic].latched)

    def _keep_latched(self, item: RawMessage) -> None:
        if not self._recorded[item.topic].keep_all:
            self._latched[item.topic] = [item]
            return
        kept = self._latched.setdefault(item.topic, [])
        if all(item.data != other.data for other in kept):
            self._latched[item.topic] = [*kept, item][-LATCHED_WRITERS:]
