# SPDX-License-Identifier: Apache-2.0
"""Hands the newest item from callbacks to the inference thread and lets callbacks cancel its work."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818 - not an error
    """The result of a computation is no longer wanted; not an error."""


class CancelToken:
    """A flag that one thread sets and another checks between steps of its work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the worker to stop at its next check."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether cancel was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Do nothing unless cancel was called.

        Raises:
            Cancelled: It was.
        """
        if self._event.is_set():
            raise Cancelled


class Mailbox(Generic[T]):
    """Room for one item: a newer one replaces the older, which is counted. Thread-safe."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._overwritten = 0

    def put(self, item: T) -> None:
        """Leave an item, replacing one that was not taken yet. Ignored after close."""
        with self._condition:
            if self._closed:
                return
            if self._item is not None:
                self._overwritten += 1
            self._item = item
            self._condition.notify()

    def take(self) -> T | None:
        """Wait for an item and remove it; None once the mailbox is closed."""
        with self._condition:
            self._condition.wait_for(lambda: self._item is not None or self._closed)
            item, self._item = self._item, None
            return None if self._closed else item

    def clear(self) -> None:
        """Drop an item that was not taken yet, without counting it."""
        with self._condition:
            self._item = None

    def close(self) -> None:
        """Wake the worker for the last time."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    @property
    def pending(self) -> bool:
        """Whether an item waits to be taken."""
        with self._condition:
            return self._item is not None

    @property
    def overwritten(self) -> int:
        """Items that were replaced before anybody took them."""
        with self._condition:
            return self._overwritten
