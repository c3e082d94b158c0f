# SPDX-License-Identifier: Apache-2.0
"""SIGINT, SIGTERM and SIGHUP ask a node to stop; it stops between two callbacks, with its context alive.

rclpy's own handlers shut the context down, and Python's raises KeyboardInterrupt, at any moment: between a check and a
publish, inside the conversion of a message. Here a signal is written to a pipe, a thread that waits for the pipe
completes a future, and the executor ends when the callback that runs has returned. What a node says last, as a stop
or a bag's metadata, is still said.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Self

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

_END = b"\0"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Catches the signals that ask for a stop while it is held as a context manager, in the main thread.

    Until `spin` or `defer` a signal raises KeyboardInterrupt, so that a node that takes long to make can be stopped.
    SIGHUP stays ignored where it was (`nohup`). SIGINT does not: a shell ignores it for every job in the background.
    """

    def __init__(self) -> None:
        self._future = Future()
        self._finishing = threading.RLock()
        self._requested = False
        self._deferred = False

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return self._requested

    def __enter__(self) -> Self:
        """Install the handlers."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._old_descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._old_handlers = {
            number: signal.signal(number, self._on_signal)
            for number in STOP_SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN
        }
        self._watcher = threading.Thread(target=self._watch, name="stop signals", daemon=True)
        self._watcher.start()
        return self

    def accept(self) -> None:
        """Take what came, and was blocked, while the program was loaded (`guard.py`)."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def __exit__(self, *_: object) -> None:
        """Put back what was there before."""
        # The watcher first, which may still signal this thread. Closing the pipe would not wake it: a forked helper may
        # hold it open.
        os.write(self._write, _END)
        self._watcher.join()
        signal.set_wakeup_fd(self._old_descriptor)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        os.close(self._write)
        os.close(self._read)

    def spin(self, node: Node, until: Future | None = None) -> None:
        """Run the node's callbacks until a signal comes, or until `until` is done."""
        if until is not None:
            until.add_done_callback(lambda _: self._finish())
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        self.defer()
        try:
            if not self._requested:
                executor.spin_until_future_complete(self._future)
        finally:
            with self._finishing:  # the future wakes the executor, which must be there until it has
                pass
            executor.remove_node(node)
            executor.shutdown()

    def defer(self) -> None:
        """Raise nothing at a signal from here on; the caller looks at `requested`."""
        self._deferred = True

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        first, self._requested = not self._requested, True
        if first and not self._deferred:
            raise KeyboardInterrupt

    def _watch(self) -> None:
        # Python's own handler runs in the main thread, which waits inside the middleware: only the pipe is prompt.
        while True:
            numbers = os.read(self._read, 64)
            if any(number in numbers for number in STOP_SIGNALS if number in self._old_handlers):
                if not self._future.done() and not self._deferred:
                    # A thread of the middleware may have caught it: whatever the main thread waits for, it wakes.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                self._finish()
            if _END in numbers:
                return

    def _finish(self) -> None:
        with self._finishing:
            if not self._future.done():
                self._future.set_result(None)
