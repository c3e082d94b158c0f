# SPDX-License-Identifier: Apache-2.0
"""Turns recorded bags into training episodes with the very classes that choose observations on the live robot.

Every control step of a bag becomes one frame: the image pair that the policy would have been given if it had been
asked after that step (ObservationGate with one action per chunk), spliced and resized as at inference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.errors import UserError
from physgen_control.types import AppliedAction, EpisodePhase, Limit, Source
from physgen_policy.data.dataset import EpisodeRecord
from physgen_policy.data.splice import splice_views
from physgen_policy.embodiment import Embodiment
from physgen_policy.runtime.observation import CONTEXT_SOURCES, GateConfig, ObservationGate, PolicyObservation

MIN_STEPS = 2


class EpisodeRejectedError(UserError):
    """A bag does not become an episode; the message says why."""


def episode_from_bag(path: Path, embodiment: Embodiment, slop_s: float = 0.02) -> EpisodeRecord:
    """Read one bag.

    Args:
        path: bag folder.
        embodiment: image size and control rate wanted.
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
    period_ns = round(1e9 / embodiment.control_rate_hz)
    _check_rate(path, actions, period_ns)
    labels = np.array([Limit.DISTURBANCE not in a.limits for a in actions])
    if not labels.any():
        raise EpisodeRejectedError(
            f"{path.name} has no step that shows what to do: all are disturbances or led by another policy"
        )
    frames = _frames(recording, actions, embodiment, period_ns, round(slop_s * 1e9))
    return EpisodeRecord(
        images=frames,
        actions=np.stack([a.applied for a in actions]).astype(np.float32),
        labels=labels,
        intervention=np.array([a.source is Source.TELEOP for a in actions]),
        task=recording.episode.task,
        seed=recording.episode.seed,
        instruction=recording.instruction,
        success=True,
        source=path.name,
    )


def _check_rate(path: Path, actions: list[AppliedAction], period_ns: int) -> None:
    stamps = np.array([a.stamp_ns for a in actions])
    measured = float(np.median(np.diff(stamps)))
    if abs(measured - period_ns) > 0.1 * period_ns:
        raise EpisodeRejectedError(
            f"{path.name} was recorded with {measured / 1e6:.1f} ms per control step, expected {period_ns / 1e6:.1f} ms"
        )


def _frames(
    recording: EpisodeRecording,
    actions: list[AppliedAction],
    embodiment: Embodiment,
    period_ns: int,
    slop_ns: int,
) -> np.ndarray:
    """uint8 [T + 1, y, 2 x, 3]: the observation before every action and the one after the last."""
    gate = ObservationGate(
        GateConfig(step_period_ns=period_ns, execute_steps=1, any_session=True, slop_ns=slop_ns),
        streams=embodiment.cameras,
    )
    gate.start_episode(recording.episode)
    pending = {name: _Feed(recording, name) for name in embodiment.cameras}
    spliced = []
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
        fixed, wrist = (observation.frames[name].rgb for name in embodiment.cameras)
        spliced.append(splice_views(fixed, wrist, embodiment.image_height, embodiment.image_width))
    return np.stack(spliced)


class _Feed:
    """The images of one camera, handed out one by one."""

    def __init__(self, recording: EpisodeRecording, camera: str) -> None:
        self.stream = recording.images[camera]
        self.next = 0

    @property
    def stamp_ns(self) -> int | None:
        return int(self.stream.stamps_ns[self.next]) if self.next < len(self.stream) else None


def _feed_oldest(gate: ObservationGate, pending: dict[str, _Feed]) -> bool:
    """Put the oldest unread image into the gate; False if there is none left."""
    stamps = {name: feed.stamp_ns for name, feed in pending.items() if feed.stamp_ns is not None}
    if not stamps:
        return False
    name = min(stamps, key=lambda n: stamps[n] or 0)
    feed = pending[name]
    gate.put_frame(name, feed.stream.frame(feed.next))
    feed.next += 1
    return True
