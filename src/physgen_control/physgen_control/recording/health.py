# SPDX-License-Identifier: Apache-2.0
"""How well a recording is going while it goes: rates against what is promised, losses, size, disk space."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from physgen_control.messages import topics
from physgen_control.messages.topics import RecordedTopic
from physgen_control.types import NS_PER_S

WINDOW_NS = 2 * NS_PER_S
"""Rates are means over this time."""
RATE_SHARE = 0.9
"""A topic below this share of its promised rate is reported."""
GAP_FACTOR = 1.5
"""Stamps further apart than this multiple of the promised period have a message missing between them."""


def promised_rates(
    recorded: Sequence[RecordedTopic], *, camera_hz: float, state_hz: float
) -> dict[str, float]:
    """Return the rate [Hz] that each observation topic should have; topics without a promise are left out."""
    cameras = {
        topics.image_topic(camera, compressed) for camera in topics.CAMERAS for compressed in (False, True)
    }
    rates = {t.name: camera_hz if t.name in cameras else state_hz for t in recorded if t.observation}
    return {name: rate for name, rate in rates.items() if rate > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicHealth:
    """One topic since the recording began."""

    count: int
    """Messages that arrived."""
    rate_hz: float
    """Mean over the last two seconds."""
    promised_hz: float
    """0 if nothing is promised."""
    missing: int
    """Messages that the stamps say were never received."""
    lost: int
    """Messages that the middleware reports as lost on the way to this process."""
    dropped: int
    """Messages that found no room in the recorder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One look at a recording."""

    seconds: float
    """Since its begin."""
    bag_mb: float
    """Uncompressed megabytes in the bag."""
    mb_per_s: float
    """Uncompressed megabytes per second."""
    waiting_mb: float
    """Megabytes that wait for the disk."""
    disk_free_mb: float
    minutes_left: float
    """Until the disk is full at this speed."""
    topics: dict[str, TopicHealth]
    problems: tuple[str, ...]
    """One sentence each."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values, rounded to what a reader needs."""
        return {
            key: round(value, 3) if isinstance(value, float) else value
            for key, value in asdict(self).items()
            if key != "topics"
        } | {"topics": {name: asdict(topic) for name, topic in self.topics.items()}}

    def line(self) -> str:
        """Return one line for people."""
        rates = ", ".join(
            f"{_short(name)} {topic.rate_hz:.1f} Hz"
            for name, topic in self.topics.items()
            if topic.promised_hz
        )
        state = " ".join(self.problems) or "nothing is missing."
        return (
            f"{self.seconds:.0f} s, {self.bag_mb:.0f} MB at {self.mb_per_s:.1f} MB/s, disk full in "
            f"{self.minutes_left:.0f} min; {rates + '; ' if rates else ''}{state}"
        )


@dataclass(slots=True)
class _Counter:
    count: int = 0
    missing: int = 0
    lost: int = 0
    dropped: int = 0
    last_stamp_ns: int = 0
    recent: deque[tuple[int, int]] = field(default_factory=deque)  # arrival [monotonic ns], bytes


class HealthMonitor:
    """Counts what arrives. Used by the thread that receives the messages.

    Args:
        promised_hz: Promised rate by topic.
    """

    def __init__(self, promised_hz: Mapping[str, float]) -> None:
        self._promised = dict(promised_hz)
        self._counters: dict[str, _Counter] = {}
        self._begin_ns = 0

    def begin(self, mono_ns: int) -> None:
        """Count anew from a monotonic time [ns]: a recording begins."""
        self._begin_ns = mono_ns
        self._counters = {name: _Counter() for name in self._promised}

    def on_message(
        self, topic: str, stamp_ns: int, size: int, mono_ns: int, *, dropped: bool = False
    ) -> None:
        """Count a message that arrived.

        Args:
            topic: Its topic.
            stamp_ns: Its own stamp [ns].
            size: Its bytes.
            mono_ns: Monotonic time of arrival [ns].
            dropped: There was no room for it.
        """
        counter = self._counters.setdefault(topic, _Counter())
        counter.count += 1
        counter.dropped += dropped
        counter.recent.append((mono_ns, size))
        self._forget(counter, mono_ns)
        promised = self._promised.get(topic, 0.0)
        if promised and counter.last_stamp_ns:
            periods = (stamp_ns - counter.last_stamp_ns) * promised / NS_PER_S
            if periods > GAP_FACTOR:
                counter.missing += round(periods) - 1
        counter.last_stamp_ns = max(stamp_ns, counter.last_stamp_ns)

    def on_lost(self, topic: str, count: int) -> None:
        """Count messages that the middleware lost."""
        self._counters.setdefault(topic, _Counter()).lost += count

    def look(self, mono_ns: int, *, bag_bytes: int, waiting_bytes: int, disk_free_bytes: int) -> Health:
        """Return the health now.

        Args:
            mono_ns: Monotonic time [ns].
            bag_bytes: Uncompressed bytes in the bag.
            waiting_bytes: Bytes that wait for the disk.
            disk_free_bytes: Free space where the bag is.
        """
        seconds = max(0, mono_ns - self._begin_ns) / NS_PER_S
        span_s = min(seconds, WINDOW_NS / NS_PER_S)
        found: dict[str, TopicHealth] = {}
        total = 0
        for name, counter in sorted(self._counters.items()):
            self._forget(counter, mono_ns)
            total += sum(size for _, size in counter.recent)
            found[name] = TopicHealth(
                count=counter.count,
                rate_hz=round(len(counter.recent) / span_s, 2) if span_s else 0.0,
                promised_hz=self._promised.get(name, 0.0),
                missing=counter.missing,
                lost=counter.lost,
                dropped=counter.dropped,
            )
        speed = total / span_s if span_s else 0.0
        return Health(
            seconds=seconds,
            bag_mb=bag_bytes / 1e6,
            mb_per_s=speed / 1e6,
            waiting_mb=waiting_bytes / 1e6,
            disk_free_mb=disk_free_bytes / 1e6,
            minutes_left=disk_free_bytes / max(speed, 1.0) / 60.0,
            topics=found,
            problems=tuple(_problems(found, complete_window=seconds >= WINDOW_NS / NS_PER_S)),
        )

    def _forget(self, counter: _Counter, mono_ns: int) -> None:
        oldest = max(mono_ns - WINDOW_NS, self._begin_ns)
        while counter.recent and counter.recent[0][0] < oldest:
            counter.recent.popleft()


def _problems(found: Mapping[str, TopicHealth], *, complete_window: bool) -> list[str]:
    problems = []
    for name, topic in found.items():
        if complete_window and topic.rate_hz < RATE_SHARE * topic.promised_hz:
            problems.append(f"{_short(name)} comes at {topic.rate_hz:.1f} of {topic.promised_hz:.0f} Hz.")
        if topic.missing:
            problems.append(f"{_short(name)} has {topic.missing} gaps.")
        if topic.lost:
            problems.append(f"The middleware lost {topic.lost} of {_short(name)}.")
        if topic.dropped:
            problems.append(
                f"{topic.dropped} of {_short(name)} were dropped: the disk is too slow (queue_mb)."
            )
    return problems


def _short(topic: str) -> str:
    """Return a topic's name for a line: the camera's name for an image, the last word otherwise."""
    words = topic.strip("/").split("/")
    return f"camera {words[1]}" if words[0] == "camera" and len(words) > 2 else words[-1]
