# SPDX-License-Identifier: Apache-2.0
"""Pairs the images of several cameras by acquisition stamp.

Knows stamps only: neither ROS nor the wall clock, so the live node, the in-process loop and bag conversion
drive the same class and see the same pairs. Not thread-safe; the owner serialises calls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import product

from physgen_control.types import CameraFrame

# Far below any stamp, so that the first frame of a stream is always new.
_BEFORE_ALL = -(2**63)


class Pick(Enum):
    """Which of several possible pairs is taken."""

    FIRST = "first"
    """The earliest one: what training saw after a chunk, however many later images already arrived."""
    NEWEST = "newest"
    """The latest one: the freshest view of a world that does not wait."""


class Put(Enum):
    """What became of a frame."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """The stream already had a frame with this stamp: a republished observation."""
    LATE = "late"
    """Older than what was already taken, than the episode, or than the bounded queue remembers; ignored."""


@dataclass(frozen=True, slots=True)
class SyncedFrames:
    """One image per camera; they are borrowed, never copied."""

    streams: tuple[str, ...]
    """The cameras, in the order of Synchronizer.streams."""
    frames: tuple[CameraFrame, ...]
    """Their images."""

    def __getitem__(self, stream: str) -> CameraFrame:
        return self.frames[self.streams.index(stream)]

    @property
    def stamp_ns(self) -> int:
        """Stamp of the newest image of the set."""
        return max(frame.stamp_ns for frame in self.frames)

    @property
    def oldest_ns(self) -> int:
        """Stamp of the oldest image of the set."""
        return min(frame.stamp_ns for frame in self.frames)

    @property
    def skew_ns(self) -> int:
        """How far apart the images were acquired [ns]."""
        return self.stamp_ns - self.oldest_ns


@dataclass(frozen=True, slots=True)
class Stale:
    """No usable set of images yet."""

    reason: str
    """Why, a sentence for people."""


class Synchronizer:
    """Bounded queues, one per stream, and a search for a set of frames that were taken together.

    Guarantees, for any order of arrival: every set has skew <= slop_ns; nothing in it is newer than `now_ns`
    or older than `min_stamp_ns`; per stream the stamps of successive sets strictly increase; a frame that is
    put twice changes nothing; at most queue_size frames per stream are kept (the oldest go first).
    """

    def __init__(
        self, streams: Sequence[str] = ("fixed", "wrist"), *, slop_ns: int, queue_size: int = 8
    ) -> None:
        if not streams or len(set(streams)) != len(streams):
            raise ValueError(f"streams must be distinct names, got {tuple(streams)}")
        if slop_ns < 0 or queue_size < 1:
            raise ValueError(f"slop_ns must be >= 0 and queue_size >= 1, got {slop_ns} and {queue_size}")
        self.streams = tuple(streams)
        self._slop_ns = slop_ns
        self._queue_size = queue_size
        self._queues: dict[str, list[CameraFrame]] = {stream: [] for stream in self.streams}
        self._floors: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self.clear()

    def clear(self, from_ns: int = _BEFORE_ALL) -> None:
        """Start over: forget what was taken and every frame older than `from_ns`, now and in the future.

        Frames from `from_ns` on are kept, because the announcement of an episode may arrive after its first
        images.
        """
        for stream in self.streams:
            self._floors[stream] = from_ns
            self._last[stream] = _BEFORE_ALL
            self._queues[stream] = [f for f in self._queues[stream] if f.stamp_ns >= from_ns]

    def forget(self) -> None:
        """Drop every frame and all memory of stamps."""
        for stream in self.streams:
            self._queues[stream].clear()
        self.clear()

    def put(self, stream: str, frame: CameraFrame) -> Put:
        """Add an image (borrowed). Duplicates and late ones are ignored and reported.

        Raises:
            ValueError: Unknown stream.
        """
        if stream not in self._queues:
            raise ValueError(
                f"unknown camera stream {stream!r}; this synchronizer has {', '.join(self.streams)}"
            )
        queue, stamp = self._queues[stream], frame.stamp_ns
        if stamp == self._last[stream]:
            return Put.DUPLICATE
        if stamp < self._last[stream] or stamp < self._floors[stream]:
            return Put.LATE
        index = bisect_left(queue, stamp, key=lambda f: f.stamp_ns)
        if index < len(queue) and queue[index].stamp_ns == stamp:
            return Put.DUPLICATE
        if len(queue) == self._queue_size:
            if index == 0:
                return Put.LATE
            del queue[0]
            index -= 1
        queue.insert(index, frame)
        return Put.NEW

    def take(self, min_stamp_ns: int, now_ns: int, pick: Pick = Pick.FIRST) -> SyncedFrames | Stale:
        """Take a set of frames with stamps in [min_stamp_ns, now_ns]; it and all older ones leave the queues.

        Among the possible sets `pick` chooses by the stamp of the newest frame; ties go to the smaller skew.
        """
        usable = {s: [f for f in q if min_stamp_ns <= f.stamp_ns <= now_ns] for s, q in self._queues.items()}
        missing = [s for s in self.streams if not usable[s]]
        if missing:
            return Stale(self._describe(missing, min_stamp_ns, now_ns))
        best: SyncedFrames | None = None
        for frames in product(*(usable[s] for s in self.streams)):
            candidate = SyncedFrames(self.streams, frames)
            if candidate.skew_ns <= self._slop_ns and (best is None or _precedes(candidate, best, pick)):
                best = candidate
        if best is None:
            return Stale(
                f"no images of {' and '.join(self.streams)} "
                f"within {self._slop_ns / 1e6:.1f} ms of each other; "
                "check the cameras' clocks and rates or raise sync_slop"
            )
        for stream, frame in zip(best.streams, best.frames, strict=True):
            self._last[stream] = frame.stamp_ns
            self._queues[stream] = [f for f in self._queues[stream] if f.stamp_ns > frame.stamp_ns]
        return best

    @property
    def num_buffered(self) -> int:
        """Frames held over all streams."""
        return sum(len(queue) for queue in self._queues.values())

    def _describe(self, missing: list[str], min_stamp_ns: int, now_ns: int) -> str:
        early = [s for s in missing if any(f.stamp_ns > now_ns for f in self._queues[s])]
        names = " and ".join(missing)
        if early:
            return f"images of {' and '.join(early)} are stamped in the future: check that all clocks agree"
        return f"waiting for an image of {names} stamped {min_stamp_ns} ns or later"


def _precedes(a: SyncedFrames, b: SyncedFrames, pick: Pick) -> bool:
    key_a, key_b = a.stamp_ns, b.stamp_ns
    if key_a == key_b:
        return a.skew_ns < b.skew_ns
    return key_a < key_b if pick is Pick.FIRST else key_a > key_b
