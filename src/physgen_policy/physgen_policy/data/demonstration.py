# SPDX-License-Identifier: Apache-2.0
"""Reads a recorded episode as a demonstration: which actions count, and which images the policy would have seen.

Every control step gets the image pair that the policy would have been given if it had been asked after that step
(ObservationGate with one action per chunk): training data is chosen by the class that chooses on the live robot. A bag
that was collected with a picture at every N-th step only says so; there the policy is asked after every N actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physgen_control.bags.reader import EpisodeRecording, read_episode
from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM, ActionSpace, AppliedAction, EpisodePhase, Limit, Source
from physgen_policy.contract.observation import CONTEXT_SOURCES, GateConfig
from physgen_policy.data.image_choice import NoImagesError, choose_images

MIN_STEPS = 2


class EpisodeRejectedError(UserError):
    """A bag does not become an episode; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """One episode of T control steps."""

    recording: EpisodeRecording
    actions: tuple[AppliedAction, ...]
    """The T applied actions that somebody meant, by step."""
    labels: NDArray[np.bool_]
    """bool [T], False where the action shows not what to do (a pushed or led step)."""
    observations: dict[str, list[int]]
    """By camera T // N + 1 indices into `recording.images[camera]`: the images at control steps 0, N, 2 N, ... <= T
    with N = picture_every. For N = 1 these are the image before every action and the one after the last."""
    picture_every: int = 1

    @property
    def values(self) -> NDArray[np.float32]:
        """The applied actions, float32 [T, action_dim] in SI units."""
        return np.stack([action.applied for action in self.actions]).astype(np.float32)

    @property
    def intervention(self) -> NDArray[np.bool_]:
        """In which steps a human was in command, bool [T]."""
        return np.array([action.source is Source.TELEOP for action in self.actions])


def read_demonstration(
    path: Path, *, control_rate_hz: float, cameras: tuple[str, ...], slop_s: float = 0.02
) -> Demonstration:
    """Read one bag; no pixel is decoded.

    Args:
        path: Bag folder.
        control_rate_hz: Actions per second wanted.
        cameras: Names of the views wanted.
        slop_s: Largest stamp difference of an image pair [s].

    Raises:
        EpisodeRejectedError: Not a success, too short, lost steps, no images for a step, another control rate, actions
            of another kind, or a number that is not finite.
        BagError: The bag is damaged.
    """
    recording = read_episode(path)
    every = recording.picture_every
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
    _check_actions(recording, actions)
    _check_measured(recording)
    _check_rate(path, actions, period_ns)
    _check_complete(recording, actions)
    labels = np.array([Limit.DISTURBANCE not in a.limits for a in actions])
    if not labels.any():
        raise EpisodeRejectedError(
            f"{path.name} has no step that shows what to do: all are pushed or led by another policy"
        )
    if not labels[::every].any():
        raise EpisodeRejectedError(
            f"{path.name} has one picture per {every} control steps, and none of them where it shows what to do"
        )
    gate = GateConfig(
        step_period_ns=period_ns, execute_steps=every, any_session=True, slop_ns=round(slop_s * 1e9)
    )
    stamps = {name: recording.images[name].stamps_ns for name in cameras}
    try:
        observations = choose_images(recording.episode, recording.applied, actions, stamps, gate)
    except NoImagesError as error:
        raise EpisodeRejectedError(f"{path.name} {error}") from error
    seen = len(observations[cameras[0]]) - 1 if every == 1 else len(actions)
    return Demonstration(
        recording=recording,
        actions=tuple(actions[:seen]),
        labels=labels[:seen],
        observations=observations,
        picture_every=every,
    )


def _check_actions(recording: EpisodeRecording, actions: list[AppliedAction]) -> None:
    """Check that all actions are finite EE_DELTA actions in the robot's base frame.

    Raises:
        EpisodeRejectedError: One is not.
    """
    name, frames = recording.path.name, ("base", f"{recording.episode.robot}_link0")
    for action in actions:
        where = f"{name} has, in control step {action.step}, an action"
        if action.action_space is not ActionSpace.EE_DELTA:
            raise EpisodeRejectedError(f"{where} of the kind {action.action_space.name}, expected EE_DELTA")
        if action.frame_id not in frames:
            raise EpisodeRejectedError(
                f"{where} in the frame {action.frame_id!r}, expected {frames[0]!r} or {frames[1]!r}"
            )
        if action.applied.shape != (ACTION_DIM,):
            raise EpisodeRejectedError(f"{where} of {action.applied.size} numbers, expected {ACTION_DIM}")
        if not np.isfinite(action.applied).all():
            raise EpisodeRejectedError(f"{where} that is not finite: {action.applied.tolist()}")


def _check_measured(recording: EpisodeRecording) -> None:
    """Check that everything the robot measured is a number.

    Raises:
        EpisodeRejectedError: Something is not.
    """
    joints, poses = recording.joints, recording.poses
    tables = {
        "joint state": np.column_stack([joints.positions, joints.velocities, joints.gripper_width]),
        "TCP pose": np.column_stack([poses.positions, poses.quaternions]),
    }
    for what, table in tables.items():
        bad = np.flatnonzero(~np.isfinite(table).all(axis=1))
        if len(bad):
            raise EpisodeRejectedError(
                f"{recording.path.name} has {len(bad)} {what}s that are not finite, the first is number {bad[0]}"
            )


def _check_rate(path: Path, actions: list[AppliedAction], period_ns: int) -> None:
    stamps = np.array([a.stamp_ns for a in actions])
    measured = float(np.median(np.diff(stamps)))
    if abs(measured - period_ns) > 0.1 * period_ns:
        raise EpisodeRejectedError(
            f"{path.name} was recorded with {measured / 1e6:.1f} ms per control step, expected {period_ns / 1e6:.1f} ms"
        )


def _check_complete(recording: EpisodeRecording, actions: list[AppliedAction]) -> None:
    steps = [a.step for a in recording.applied if actions[0].step <= a.step <= actions[-1].step]
    lost = sorted(set(range(actions[0].step, actions[-1].step + 1)) - set(steps))
    if lost:
        raise EpisodeRejectedError(
            f"{recording.path.name} lost the actions of {len(lost)} control steps, the first of step {lost[0]}"
        )
