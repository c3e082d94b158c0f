# SPDX-License-Identifier: Apache-2.0
"""The one rule that says which images and which actions condition the next chunk.

The live node, the in-process loop and bag conversion all drive ObservationGate, so that a checkpoint is
trained on what it will see. Order is decided by integer steps and acquisition stamps, never by arrival.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from physgen_control.types import HORIZON, AppliedAction, CameraFrame, Episode, Float32Array, Source
from physgen_policy.contract.applied_log import AppliedLog
from physgen_policy.contract.past_actions import idle_actions, pack_actions
from physgen_policy.contract.synchronizer import Pick, Put, Stale, SyncedFrames, Synchronizer

CONTEXT_SOURCES = (Source.POLICY, Source.TELEOP)
"""Only actions that somebody meant enter the context; HOLD and HOMING never occur in training data."""

# Applied actions of an episode that is not announced yet.
_STASH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """How observations are chosen."""

    step_period_ns: int
    """Control period."""
    execute_steps: int = HORIZON
    """Actions of a chunk that run before the next observation."""
    lead_steps: int = 0
    """Pipelined execution asks this many steps early; 0 = sync."""
    lockstep: bool = True
    """The world waits for every answer."""
    any_session: bool = False
    """Take the actions of every session as ours (bag conversion)."""
    interrupt_steps: int = 2
    """A chunk whose actions stopped is over after this many other actions."""
    abandon_steps: int = 2 * HORIZON
    """A chunk that never started is asked for again after this many other actions."""
    slop_ns: int = 20_000_000
    """Largest difference of the stamps of an image pair."""
    queue_size: int = 8
    """Images that are kept per camera."""

    def __post_init__(self) -> None:
        if self.step_period_ns <= 0:
            raise ValueError(f"the control period must be positive, got {self.step_period_ns} ns")
        if not 1 <= self.execute_steps <= HORIZON:
            raise ValueError(f"execute_steps must be 1..{HORIZON}, got {self.execute_steps}")
        if not 0 <= self.lead_steps < self.execute_steps:
            raise ValueError(f"lead_steps must be 0..{self.execute_steps - 1}, got {self.lead_steps}")
        if self.interrupt_steps < 1 or self.abandon_steps < 1:
            raise ValueError("interrupt_steps and abandon_steps must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyObservation:
    """What the next chunk is conditioned on."""

    episode_id: str
    frames: SyncedFrames
    base_step: int
    """Control steps executed before the images were taken."""
    past_actions: Float32Array
    """float32 [8, 7], applied actions since the previous observation, oldest first, SI units."""
    first: bool
    """No history, Begin-of-Action instead of actions."""
    executed: int | None = None
    """How many actions of the previous prediction were applied; None when a human acted in between or it is not known,
    and then what remains of that prediction is no plan any more."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """No observation is due."""

    reason: str
    """Why, a sentence for people."""


class ObservationGate:
    """Consumes images and applied actions in any order, yields observations.

    The first observation of an episode needs images only. Each later one is due when `execute_steps` actions
    of the previous chunk (or of a human) were applied, and takes the first image pair that shows their
    effect: stamp >= application of the last one + 3/4 of a control period (a quarter of slack for clocks that
    do not agree exactly).
    """

    def __init__(self, config: GateConfig, streams: tuple[str, ...] = ("fixed", "wrist")) -> None:
        self._config = config
        self._sync = Synchronizer(streams, slop_ns=config.slop_ns, queue_size=config.queue_size)
        self._stash: deque[AppliedAction] = deque(maxlen=_STASH)
        self._log = AppliedLog()
        self._episode: Episode | None = None
        self._session_id = ""
        self._base: int | None = None
        self._in_flight = False
        self._sent_after, self._sent_ns = -1, 0
        self._context_from: int | None = None
        self._retry = False
        self._latest_start_ns = 0
        self._waiting_since: int | None = None

    @property
    def episode(self) -> Episode | None:
        """The running episode, if any."""
        return self._episode

    def start_episode(self, episode: Episode, session_id: str = "") -> None:
        """Forget everything older than the episode's start; younger images that are already here stay."""
        if episode.start_ns < self._latest_start_ns:
            self._sync.forget()  # time went back: what is buffered lies in the future
        self._sync.clear(episode.start_ns)
        self._latest_start_ns = episode.start_ns
        self._episode, self._session_id = episode, session_id
        self._log = AppliedLog()
        self._base, self._context_from = None, None
        self._in_flight = self._retry = False
        self._sent_after, self._sent_ns, self._waiting_since = -1, 0, None
        for action in self._stash:
            if action.episode_id == episode.episode_id:
                self._log.add(action)
        self._stash.clear()

    def stop_episode(self) -> None:
        """Yield no more observations until the next episode."""
        self._episode = None

    @property
    def due(self) -> bool:
        """Whether the next images can become an observation: a world that waits need not draw any others."""
        return self._episode is not None and not isinstance(self._due(), Waiting)

    def put_frame(self, stream: str, frame: CameraFrame) -> Put:
        """Add an image of a camera; return what became of it.

        Raises:
            ValueError: Unknown camera.
        """
        return self._sync.put(stream, frame)

    def put_action(self, action: AppliedAction) -> None:
        """Add an applied action; repeated ones and those of other episodes change nothing."""
        if self._episode is not None and action.episode_id == self._episode.episode_id:
            self._log.add(action)
        else:
            self._stash.append(action)

    def chunk_sent(self, now_ns: int = 0) -> None:
        """Note that the chunk for the last observation is out: from now on its absence at the arm can be noticed.

        Args:
            now_ns: ROS time; actions applied before it say nothing, however late they are heard of.
        """
        self._in_flight = False
        self._sent_after, self._sent_ns = self._log.last_step, now_ns

    def chunk_failed(self) -> None:
        """Ask again with the next images and the same actions: no chunk came of the last observation."""
        self._in_flight = False
        self._retry = True

    def take(self, now_ns: int) -> PolicyObservation | Waiting:
        """Return the next observation if one is due and its images are there; `now_ns` is ROS time."""
        if self._episode is None:
            return Waiting("no episode is running")
        due = self._due()
        if isinstance(due, Waiting):
            return due
        min_stamp_ns, pick = due
        blocked = self._blocked_start(now_ns)
        if blocked is not None:
            return blocked
        frames = self._sync.take(min_stamp_ns, now_ns, pick)
        if isinstance(frames, Stale):
            return Waiting(frames.reason)
        return self._observe(frames)

    def _due(self) -> tuple[int, Pick] | Waiting:
        """Return the smallest acceptable stamp and which pair, or what is still missing."""
        config = self._config
        assert self._episode is not None
        fresh = Pick.FIRST if config.lockstep or config.any_session else Pick.NEWEST
        if self._base is None or self._retry:
            return self._episode.start_ns, fresh
        since = self._log.since(self._base)
        if config.lead_steps:
            progress = self._log.last_step + 1 - self._base
            if self._in_flight:
                return Waiting("inference is running")
            asked = config.execute_steps - config.lead_steps
            if progress < asked:
                return Waiting(f"{progress} of {asked} actions applied")
            return self._shows_step(self._base + asked - 1), fresh
        own = [action for action in since if self._is_own(action)]
        if len(own) >= config.execute_steps:
            return self._shows(own[config.execute_steps - 1]), Pick.FIRST
        if own and since[-1].step - own[-1].step >= config.interrupt_steps:
            return self._shows_step(own[-1].step + config.interrupt_steps), fresh
        if not own and not self._in_flight:
            unanswered = [
                action
                for action in since
                if action.step > self._sent_after and action.stamp_ns >= self._sent_ns
            ]
            if len(unanswered) >= config.abandon_steps:
                return self._shows(unanswered[config.abandon_steps - 1]), fresh
        return Waiting(f"{len(own)} of {config.execute_steps} actions of the chunk applied")

    def _blocked_start(self, now_ns: int) -> Waiting | None:
        """Wait a little after a restart within a realtime episode, to learn the controller's step count."""
        config, episode = self._config, self._episode
        assert episode is not None
        if self._base is not None or config.lockstep or not self._log.empty:
            return None
        if self._waiting_since is None:
            self._waiting_since = now_ns
        joined_late = self._waiting_since - episode.start_ns > 2 * config.step_period_ns
        if joined_late and now_ns - self._waiting_since < 10 * config.step_period_ns:
            return Waiting("joined a running episode: waiting for an applied action to learn the step count")
        return None

    def _observe(self, frames: SyncedFrames) -> PolicyObservation:
        assert self._episode is not None
        base = self._base_step(frames)
        if not self._retry:
            self._context_from = self._base
        if self._context_from is None:
            past = idle_actions(np.float32(1.0))
        elif self._config.lead_steps:
            # Pipelined observations are less than a chunk apart: the last eight actions are what training
            # shows.
            past = pack_actions(self._context(0, base))
        else:
            past = pack_actions(self._context(self._context_from, base))
        self._log.expect(base)
        self._base = base
        self._in_flight, self._retry = True, False
        return PolicyObservation(
            episode_id=self._episode.episode_id,
            frames=frames,
            base_step=base,
            past_actions=past,
            first=self._context_from is None,
            executed=self._executed(base),
        )

    def _executed(self, base: int) -> int | None:
        """Return how many actions of the previous prediction ran before `base`."""
        start = self._context_from
        if start is None:
            return None
        ran = [action for action in self._log.since(start) if action.step < base]
        if any(action.source is Source.TELEOP for action in ran):
            return None
        if self._config.lead_steps:
            return base - start  # a pipelined chunk is aligned by steps
        return sum(action.source is Source.POLICY and action.base_step == start for action in ran)

    def _base_step(self, frames: SyncedFrames) -> int:
        """Return the control steps whose effect the images show."""
        assert self._episode is not None
        shown = [action.step for action in self._log.actions if self._shows(action) <= frames.stamp_ns]
        if shown:
            return max(shown) + 1
        if not self._log.empty:
            return self._log.actions[0].step
        elapsed = frames.stamp_ns - self._episode.start_ns
        period = self._config.step_period_ns
        return max(0, (elapsed + period // 2) // period)

    def _context(self, from_step: int, to_step: int) -> list[AppliedAction]:
        return [a for a in self._log.since(from_step) if a.step < to_step and a.source in CONTEXT_SOURCES]

    def _is_own(self, action: AppliedAction) -> bool:
        if action.source is Source.TELEOP:
            return True
        if action.source is not Source.POLICY:
            return False
        if self._config.any_session:
            return True
        return action.session_id == self._session_id and action.base_step == self._base

    def _shows_step(self, step: int) -> int:
        """Return the stamp from which on an image shows the first action of this step or later.

        Not of the newest action: where images come later than the next action, that stamp would run away from them.
        """
        return self._shows(self._log.since(step)[0])

    def _shows(self, action: AppliedAction) -> int:
        """Return the stamp from which on an image shows the effect of `action`.

        The later of both stamps counts: in lockstep a controller may apply an action before it heard of the
        new time.
        """
        return shown_from_ns(action, self._config.step_period_ns)


def shown_from_ns(action: AppliedAction, period_ns: int) -> int:
    """Return the stamp from which on an image shows the effect of `action`: 3/4 of a control period later."""
    return max(action.stamp_ns, action.state_stamp_ns) + period_ns - period_ns // 4
