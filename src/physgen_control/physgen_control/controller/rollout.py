# SPDX-License-Identifier: Apache-2.0
"""One rollout of a policy: what was asked for, how far it is, and whether it is over. ROS-free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from physgen_control.types import AppliedAction, ChunkAck, Episode, EpisodePhase, Source


class Termination(IntEnum):
    """Why a rollout ended; values equal RunPolicy.action."""

    COMPLETED = 0
    STEP_LIMIT = 1
    TIMEOUT = 2
    CANCELLED = 3
    ABORTED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a rollout is over at the latest."""

    max_steps: int
    """Control steps, 0 for no limit."""
    max_duration_s: float
    """Steady time [s], 0 for no limit."""


class Rollout:
    """Follows the episode of a rollout by its messages.

    Args:
        episode_id: The episode that belongs to the rollout.
        limits: When it is over at the latest.
        now_s: Steady time of its start [s].
    """

    def __init__(self, episode_id: str, limits: Limits, now_s: float) -> None:
        self.episode_id = episode_id
        self._limits = limits
        self._start_s = now_s
        self.steps = 0
        self.latency_s = 0.0
        self.ack: ChunkAck | None = None
        self.ended: Episode | None = None
        self._announced = False
        self._replaced = False

    def on_applied(self, action: AppliedAction) -> None:
        """Count a control step; those of other episodes, and one that comes after the end, change nothing."""
        if action.episode_id == self.episode_id and self.ended is None:
            self.steps = max(self.steps, action.step + 1)
            if action.source is Source.POLICY:
                self.latency_s = action.latency

    def on_ack(self, ack: ChunkAck) -> None:
        """Remember the newest answer to a chunk of the episode."""
        if ack.episode_id == self.episode_id:
            self.ack = ack

    def on_episode(self, episode: Episode) -> None:
        """Notice the end of the episode, or that another one has begun instead."""
        if episode.episode_id == self.episode_id:
            self._announced = True
            if episode.phase > EpisodePhase.RUNNING:
                self.ended = episode
                # Who counts steps knows best: some may not have been heard of yet, and the controller may answer the
                # last observation before it hears of the end.
                self.steps = episode.step or self.steps
        elif episode.phase is EpisodePhase.RUNNING:
            self._replaced = True

    def on_early_episode(self, episode: Episode) -> None:
        """Take what was heard while the episode began: unlike in `on_episode`, another may have come before it."""
        if self._announced or episode.episode_id == self.episode_id:
            self.on_episode(episode)

    def verdict(self, now_s: float) -> Termination | None:
        """Return why the rollout is over at a steady time [s]; None while it goes on."""
        if self.ended is not None:
            judged = self.ended.phase in (EpisodePhase.SUCCESS, EpisodePhase.FAILURE)
            return Termination.COMPLETED if judged else Termination.ABORTED
        if self._replaced:
            return Termination.ABORTED
        if 0 < self._limits.max_steps <= self.steps:
            return Termination.STEP_LIMIT
        if 0 < self._limits.max_duration_s <= now_s - self._start_s:
            return Termination.TIMEOUT
        return None
