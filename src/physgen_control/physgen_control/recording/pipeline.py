# SPDX-License-Identifier: Apache-2.0
"""Everything slow about recording happens here, in one thread: compression, the disk, the end of a bag.

Whoever receives messages only puts them into the queue, so that a slow disk costs memory first and messages
last. What does not fit is dropped and counted. ROS-free.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from physgen_control.bags.errors import BagError
from physgen_control.recording.jpeg import jpeg_from_image
from physgen_control.recording.recorder import EpisodeRecorder

TICK_S = 0.05
ENCODERS = 2
"""Threads that encode JPEG; libjpeg works without the interpreter's lock."""


@dataclass(frozen=True, slots=True)
class _Entry:
    topic: str
    data: bytes | Future[bytes]
    size: int
    now_ns: int
    mono_ns: int


class RecordingPipeline:
    """A bounded queue in front of an EpisodeRecorder, which is used by the pipeline's thread alone.

    Args:
        recorder: Where the messages go.
        limit_bytes: Bytes that may wait.
        on_error: Called with a sentence about a message that had to be left out.
        jpeg_quality: Quality for messages put with `encode`.
    """

    def __init__(
        self,
        recorder: EpisodeRecorder,
        *,
        limit_bytes: int,
        on_error: Callable[[str], None],
        jpeg_quality: int = 95,
    ) -> None:
        self._recorder = recorder
        self._limit = limit_bytes
        self._on_error = on_error
        self._quality = jpeg_quality
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting = 0
        self._encoders: ThreadPoolExecutor | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Bytes in the queue."""
        return self._waiting

    def put(self, topic: str, data: bytes, now_ns: int, mono_ns: int, *, encode: bool = False) -> bool:
        """Hand one raw message over; False if there is no room for it.

        Args:
            topic: The topic it is recorded as.
            data: CDR bytes.
            now_ns: ROS time of arrival [ns].
            mono_ns: Monotonic time of arrival [ns].
            encode: `data` is a raw image and becomes a JPEG CompressedImage.
        """
        size = len(data)
        with self._lock:
            if self._waiting + size > self._limit and self._waiting:
                return False
            self._waiting += size
        content: bytes | Future[bytes] = data
        if encode:
            if self._encoders is None:
                self._encoders = ThreadPoolExecutor(ENCODERS, thread_name_prefix="jpeg")
            content = self._encoders.submit(jpeg_from_image, data, self._quality)
        self._queue.put(_Entry(topic, content, size, now_ns, mono_ns))
        return True

    def close(self) -> None:
        """Record what is waiting and complete the open bag; call it once, after the last `put`."""
        self._queue.put(None)
        self._thread.join()
        if self._encoders is not None:
            self._encoders.shutdown()
        self._recorder.close()

    def _run(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=TICK_S)
            except queue.Empty:
                self._guarded(self._recorder.on_time, time.monotonic_ns())
                continue
            if entry is None:
                return
            self._guarded(self._record, entry)
            with self._lock:
                self._waiting -= entry.size

    def _record(self, entry: _Entry) -> None:
        data = entry.data.result() if isinstance(entry.data, Future) else entry.data
        self._recorder.on_message(entry.topic, data, entry.now_ns, entry.mono_ns)
        self._recorder.on_time(time.monotonic_ns())

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        """Run a step and report what it raises: without this thread the next episode would be lost without a word."""
        try:
            step(*arguments)
        except BagError as error:
            self._on_error(str(error))
        except Exception as error:  # noqa: BLE001  (costs this message, never the recorder)
            self._recorder.give_up(
                f"The recording ended there, because of {type(error).__name__}: {error}. "
                "The next episode is recorded again."
            )
