# SPDX-License-Identifier: Apache-2.0
"""Reads a recorded episode as a demonstration: which actions count, and which images the policy would have seen.

Every control step gets the image pair that the policy would have been given if it had been asked after that step
(ObservationGate with one action per chunk): training data is chosen by the class that chooses on the live robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.errors import UserError
from physgen_control.types import AppliedAction, CameraFrame, EpisodePhase, Limit, Source
from physgen_policy.runtime.observation import CONTEXT_SOURCES, GateConfig, ObservationGate, PolicyObservation

MIN_STEPS = 2


class EpisodeRejectedError(UserError):
    """A bag does not become an episode; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """One episode of T control steps.

    actions: the T applied actions that somebody meant, by step. labels: bool [T], False where the action shows not
    what to do (a deliberate disturbance). observations: T + 1 indices into `recording.images[camera]` by camera, the
    image before every action and the one after the last.
    """

    recording: EpisodeRecording
    actions: tuple[AppliedAction, ...]
    labels: NDArray[np.bool_]
    observations: dict[str, list[int]]

    @property
    def values(self) -> NDArray[np.float32]:
        """float32 [T, action_dim]: the applied actions, SI units."""
        return np.stack([action.applied for action in self.actions]).astype(np.float32)

    @property
    def intervention(self) -> NDArray[np.bool_]:
        """bool [T], True where a human was in command."""
        return np.array([action.source is Source.TELEOP for action in self.actions])


def read_demonstration(
    path: Path, *, control_rate_hz: float, cameras: tuple[str, ...], slop_s: float = 0.02
) -> Demonstration:
    """Read one bag; no pixel is decoded.

    Args:
        path: bag folder.
        control_rate_hz: actions per second wanted.
        cameras: names of the views wanted.
        slop_s: largest stamp difference of an image pair [s].

    Raises:
        EpisodeRejectedError: not a success, too short, no images for a step, or another control rate.
    """
    recording = read_episode(path)
    if recording.outcome is not EpisodePhase.SUCCESS:
        raise EpisodeRejectedError(
            f"{path.name} ended as {recording.outcome.name}, only successes are demonstrations"
        )
    actions = [a for a in recording.applied if a.source in CONTEXT_SOURCES and a.executed]
    if len(actions) < MIN_STEPS:
        raise EpisodeRejectedError(
            f"{path.name} has {len(actions)} applied actions, at least {MIN_STEPS} are needed"
        )
    period_ns = round(1e9 / control_rate_hz)
    _check_rate(path, actions, period_ns)
    labels = np.array([Limit.DISTURBANCE not in a.limits for a in actions])
    if not labels.any():
        raise EpisodeRejectedError(
            f"{path.name} has no step that shows what to do: all are disturbances or led by another policy"
        )
    gate = GateConfig(
        step_period_ns=period_ns, execute_steps=1, any_session=True, slop_ns=round(slop_s * 1e9)
    )
    return Demonstration(
        recording=recording,
        actions=tuple(actions),
        labels=labels,
        observations=_observations(recording, actions, cameras, gate),
    )


def _check_rate(path: Path, actions: list[AppliedAction], period_ns: int) -> None:
    stamps = np.array([a.stamp_ns for a in actions])
    measured = float(np.median(np.diff(stamps)))
    if abs(measured - period_ns) > 0.1 * period_ns:
        raise EpisodeRejectedError(
            f"{path.name} was recorded with {measured / 1e6:.1f} ms per control step, expected {period_ns / 1e6:.1f} ms"
        )


def _observations(
    recording: EpisodeRecording, actions: list[AppliedAction], cameras: tuple[str, ...], config: GateConfig
) -> dict[str, list[int]]:
    """Indices of the images before every action and after the last, by camera."""
    gate = ObservationGate(config, streams=cameras)
    gate.start_episode(recording.episode)
    pending = {name: _Feed(recording, name) for name in cameras}
    chosen: dict[str, list[int]] = {name: [] for name in cameras}
    for step in range(len(actions) + 1):
        if step:
            gate.put_action(actions[step - 1])
        observation = None
        while not isinstance(observation, PolicyObservation):
            observation = gate.take(2**62)
            if isinstance(observation, PolicyObservation):
                break
            if not _feed_oldest(gate, pending):
                raise EpisodeRejectedError(f"{recording.path.name} has no images for control step {step}")
        for name in cameras:
            stamps = recording.images[name].stamps_ns
            chosen[name].append(int(np.searchsorted(stamps, observation.frames[name].stamp_ns)))
    return chosen


class _Feed:
    """The stamps of one camera, handed out one by one. The choice needs no pixels."""

    def __init__(self, recording: EpisodeRecording, camera: str) -> None:
        self.stamps_ns = recording.images[camera].stamps_ns
        self.next = 0

    @property
    def stamp_ns(self) -> int | None:
        return int(self.stamps_ns[self.next]) if self.next < len(self.stamps_ns) else None


_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


def _feed_oldest(gate: ObservationGate, pending: dict[str, _Feed]) -> bool:
    """Put the oldest unread image into the gate; False if there is none left."""
    stamps = {name: feed.stamp_ns for name, feed in pending.items() if feed.stamp_ns is not None}
    if not stamps:
        return False
    name = min(stamps, key=lambda n: stamps[n] or 0)
    feed = pending[name]
    gate.put_frame(name, CameraFrame(stamp_ns=stamps[name] or 0, rgb=_NO_PIXELS, frame_id=name))
    feed.next += 1
    return True
