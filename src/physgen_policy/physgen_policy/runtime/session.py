# SPDX-License-Identifier: Apache-2.0
"""The live policy without ROS: gate, inference thread, repeated observations and status.

Callbacks of any thread may call it; one lock guards it. Times are ROS nanoseconds except where they say
monotonic.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from physgen_control.messages.graph_identity import new_id
from physgen_control.types import ActionChunk, AppliedAction, CameraFrame, Episode, EpisodePhase, UInt8Image
from physgen_policy.contract.observation import GateConfig, ObservationGate, PolicyObservation
from physgen_policy.contract.synchronizer import Put
from physgen_policy.runtime.served_policy import ServedPolicy
from physgen_policy.runtime.view_check import ViewCheck
from physgen_policy.runtime.worker import InferenceWorker, LatencyRecord, Work

_AHEAD_NS = 1_000_000_000  # an image stamped further ahead of the clock than this has a wrong stamp
THREAD_DIED = "the inference thread died: nothing is predicted any more; restart the policy node"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatus:
    """A snapshot for people."""

    session_id: str
    instruction: str
    latency_last: float
    """From complete observation to chunk [s]."""
    latency_mean: float
    """Over the session [s]."""
    latency_p95: float
    """Over the last 100 inferences [s]."""
    predictions: int
    dropped: int
    """Observations that newer ones replaced before inference started."""
    sync_skew: float
    """Stamp difference of the images used last [s]."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEvents:
    """Where a session reports to. Called from the inference thread or from whoever fed the session."""

    chunk: Callable[[ActionChunk], None]
    """Publish it."""
    frame: Callable[[UInt8Image, int], None]
    """An imagined frame and the stamp [ns] of the observation it follows."""
    failure: Callable[[Exception], None]
    """An exception of an inference."""
    changed: Callable[[], None]
    """The status has changed."""
    wants_frame: Callable[[], bool]
    """Whether anybody looks at imagined frames."""


class PolicySession:
    """Feeds one policy with what the world publishes, for as long as it is active."""

    def __init__(
        self,
        policy: ServedPolicy,
        config: GateConfig,
        streams: tuple[str, ...],
        events: SessionEvents,
        now_ns: Callable[[], int],
    ) -> None:
        self._events, self._now_ns, self._lockstep = events, now_ns, config.lockstep
        self._lock = threading.RLock()
        self._gate = ObservationGate(config, streams)
        self._views = ViewCheck(streams)
        self._work: Work | None = None
        self._answer: ActionChunk | None = None
        self._failed = self._closed = False
        self._newest_ns = 0
        self._session_id, self._instruction, self._detail = "", "", "active"
        self._latency = LatencyRecord()
        self._worker = InferenceWorker(
            policy,
            now_ns=now_ns,
            on_chunk=self._on_chunk,
            on_failure=self._on_failure,
            wants_frame=events.wants_frame,
            on_frame=self._on_frame,
        )

    def close(self) -> None:
        """Cancel what is running and end the inference thread."""
        with self._lock:
            self._end("inactive")
            self._closed = True
        self._worker.stop()

    def put_frame(self, stream: str, frame: CameraFrame) -> None:
        """Take an image (borrowed). Outside lockstep one from an implausible future is ignored and reported."""
        if self._from_the_future(frame):
            self.set_detail(
                f"images of the {stream} camera are stamped more than {_AHEAD_NS / 1e9:g} s in the future "
                "and ignored: check that all clocks agree"
            )
            return
        with self._lock:
            doubt = self._views.doubt(stream, frame)
        if doubt:
            self.set_detail(doubt)
            return
        with self._lock:
            self._newest_ns = max(self._newest_ns, frame.stamp_ns)
            if self._gate.put_frame(stream, frame) is Put.DUPLICATE and self._lockstep:
                self._on_repeated(stream, frame)
            else:
                self.poll()

    def put_action(self, action: AppliedAction) -> None:
        """Take an applied action."""
        with self._lock:
            self._gate.put_action(action)
            self.poll()

    def put_episode(self, episode: Episode) -> None:
        """Take an episode's announcement, its repetition or its end."""
        with self._lock:
            current = self._gate.episode
            same = current is not None and current.episode_id == episode.episode_id
            if episode.phase is EpisodePhase.RUNNING and not same:
                self._end(f"episode {episode.episode_id} is running")
                self._session_id = new_id()
                self._instruction = episode.instruction or self._instruction
                self._latency = LatencyRecord()
                self._views.restart()
                self._gate.start_episode(replace(episode, instruction=self._instruction), self._session_id)
                self.poll()
            elif episode.phase is not EpisodePhase.RUNNING and same:
                self._end(f"episode {episode.episode_id} ended: {episode.phase.name}")
            else:
                return
        self._events.changed()

    def set_instruction(self, instruction: str) -> None:
        """Follow another instruction from the next chunk on."""
        with self._lock:
            self._instruction = instruction
        self._events.changed()

    def set_detail(self, sentence: str) -> None:
        """Report a sentence for people."""
        with self._lock:
            changed, self._detail = sentence != self._detail, sentence
        if changed:
            self._events.changed()

    def poll(self) -> None:
        """Start an inference if an observation is due; call it also when only time has passed."""
        with self._lock:
            episode = self._gate.episode
            if episode is None:
                return
            # In lockstep an image proves that its time has come, even where /clock arrives after it.
            now_ns = max(self._now_ns(), self._newest_ns) if self._lockstep else self._now_ns()
            observation = self._gate.take(now_ns)
            if isinstance(observation, PolicyObservation):
                self._work = Work(
                    episode=episode,
                    session_id=self._session_id,
                    instruction=self._instruction,
                    observation=observation,
                    received_ns=time.monotonic_ns(),
                )
                self._answer, self._failed = None, False
                self._worker.submit(self._work)

    @property
    def alive(self) -> bool:
        """Whether the inference thread lives, or was closed in order; look at it now and then."""
        return self._closed or self._worker.alive

    @property
    def running(self) -> bool:
        """Whether an episode is running."""
        with self._lock:
            return self._gate.episode is not None

    @property
    def status(self) -> SessionStatus:
        """What people want to know."""
        with self._lock:
            work, latency = self._work, self._latency
            return SessionStatus(
                session_id=self._session_id,
                instruction=self._instruction,
                latency_last=latency.last,
                latency_mean=latency.mean,
                latency_p95=latency.p95,
                predictions=latency.count,
                dropped=self._worker.dropped,
                sync_skew=work.observation.frames.skew_ns / 1e9 if work is not None else 0.0,
                detail=self._detail if self.alive else THREAD_DIED,
            )

    def _from_the_future(self, frame: CameraFrame) -> bool:
        """Return whether an image's stamp is implausibly late.

        In lockstep the images lead the clock, and before the first /clock simulated time is 0: both are fine.
        """
        if self._lockstep:
            return False
        now_ns = self._now_ns()
        return now_ns > 0 and frame.stamp_ns > now_ns + _AHEAD_NS

    def _end(self, detail: str) -> None:
        if self._work is not None:
            self._work.cancel.cancel()
        self._worker.clear()
        self._work, self._answer, self._failed, self._detail = None, None, False, detail
        self._gate.stop_episode()

    def _on_repeated(self, stream: str, frame: CameraFrame) -> None:
        """Send the same chunk again: the world asks again, so whoever should have acted may have missed it."""
        work = self._work
        if work is None or frame.stamp_ns < work.observation.frames[stream].stamp_ns:
            return
        if self._failed:
            self._failed = False
            self._worker.submit(replace(work, received_ns=time.monotonic_ns()))
        elif self._answer is not None and stream == work.observation.frames.streams[0]:
            self._events.chunk(self._answer)

    def _on_chunk(self, work: Work, chunk: ActionChunk) -> None:
        with self._lock:
            if work.cancel.cancelled:
                return
            self._answer = replace(chunk, inference_end_ns=max(chunk.inference_start_ns, self._now_ns()))
            self._gate.chunk_sent(self._now_ns())
            self._events.chunk(self._answer)
            self._latency.add((time.monotonic_ns() - work.received_ns) / 1e9)
            self._detail = f"episode {work.episode.episode_id} is running"
            self.poll()
        self._events.changed()

    def _on_frame(self, work: Work, image: UInt8Image) -> None:
        if not work.cancel.cancelled:  # its episode may have ended while it was imagined
            self._events.frame(image, work.observation.frames.stamp_ns)

    def _on_failure(self, work: Work, error: Exception) -> None:
        with self._lock:
            if work.cancel.cancelled:
                return
            self._failed = True
            self._gate.chunk_failed()
            self._detail = f"inference failed: {error}"
        self._events.failure(error)
        self._events.changed()
