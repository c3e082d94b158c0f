# SPDX-License-Identifier: Apache-2.0
"""The one inference thread: takes the newest observation, runs the policy, hands the chunk to its owner.

Only this thread touches the policy. It survives failures of the policy and reports them; it knows no ROS.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from physgen_control.types import ActionChunk, Episode, UInt8Image
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.runtime.mailbox import Cancelled, CancelToken, Mailbox
from physgen_policy.runtime.served_policy import ServedPolicy

_PERCENTILE_WINDOW = 100
_JOIN_S = 20.0  # for a running inference to notice that it was cancelled
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One observation to answer."""

    episode: Episode
    session_id: str
    instruction: str
    observation: PolicyObservation
    received_ns: int
    """Monotonic time at which it was complete, for latency only."""
    cancel: CancelToken = field(default_factory=CancelToken)


class InferenceWorker:
    """Runs a policy in a thread of its own, from which all callbacks are called.

    Args:
        policy: What it runs.
        now_ns: Returns ROS time.
        on_chunk: Gets a finished chunk.
        on_failure: Gets the exception of a failed inference (Cancelled is not one).
        wants_frame: Decides after a chunk whether the next frame is imagined; an observation that is already waiting
            goes first.
        on_frame: Gets that frame.
    """

    def __init__(
        self,
        policy: ServedPolicy,
        *,
        now_ns: Callable[[], int],
        on_chunk: Callable[[Work, ActionChunk], None],
        on_failure: Callable[[Work, Exception], None],
        wants_frame: Callable[[], bool],
        on_frame: Callable[[Work, UInt8Image], None],
    ) -> None:
        self._policy = policy
        self._now_ns = now_ns
        self._on_chunk, self._on_failure = on_chunk, on_failure
        self._wants_frame, self._on_frame = wants_frame, on_frame
        self._mailbox: Mailbox[Work] = Mailbox()
        self._session_id = ""
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Answer this observation next; one that was not started yet is dropped and counted."""
        self._mailbox.put(work)

    def clear(self) -> None:
        """Drop an observation that was not started yet."""
        self._mailbox.clear()

    def stop(self) -> None:
        """End the thread; a running inference should be cancelled first. Waits for a bounded time."""
        self._mailbox.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _LOGGER.error("the inference thread did not end within %g s", _JOIN_S)

    @property
    def alive(self) -> bool:
        """Whether the thread runs: false after stop, and if something ended it that it could not catch."""
        return self._thread.is_alive()

    @property
    def dropped(self) -> int:
        """Observations that newer ones replaced before inference started."""
        return self._mailbox.overwritten

    def _run(self) -> None:
        while (work := self._mailbox.take()) is not None:
            try:
                self._answer(work)
            except Cancelled:
                continue
            except Exception as error:  # noqa: BLE001  (whatever went wrong, the node must live on and say so)
                self._report(work, error)

    def _report(self, work: Work, error: Exception) -> None:
        try:
            self._on_failure(work, error)
        except Exception:
            _LOGGER.exception("could not report that an inference failed (%s)", error)

    def _answer(self, work: Work) -> None:
        work.cancel.check()
        if work.session_id != self._session_id:
            self._policy.reset(work.episode, work.session_id)
            self._session_id = work.session_id
        if work.instruction:
            self._policy.set_instruction(work.instruction)
        chunk = self._policy.act(work.observation, self._now_ns(), work.cancel)
        self._on_chunk(work, chunk)
        if self._wants_frame() and not self._mailbox.pending and not work.cancel.cancelled:
            image = self._policy.predict_frame()
            if image is not None:
                self._on_frame(work, image)


class LatencyRecord:
    """Last, mean and 95th percentile of a latency [s]; the percentile over the last 100 values."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_PERCENTILE_WINDOW)
        self._sum = 0.0
        self.count = 0

    def add(self, seconds: float) -> None:
        """Add one value."""
        self._recent.append(seconds)
        self._sum += seconds
        self.count += 1

    @property
    def last(self) -> float:
        """The newest value, 0 before any."""
        return self._recent[-1] if self._recent else 0.0

    @property
    def mean(self) -> float:
        """Mean of all values, 0 before any."""
        return self._sum / self.count if self.count else 0.0

    @property
    def p95(self) -> float:
        """95th percentile of the last values, 0 before any."""
        return float(np.percentile(np.asarray(self._recent), 95)) if self._recent else 0.0
