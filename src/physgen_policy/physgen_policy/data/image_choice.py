# SPDX-License-Identifier: Apache-2.0
"""Which images belong to which action of a recording: the choice of the live robot's ObservationGate, by stamps alone.

A pause (HOLD, homing) belongs to the action before it: what is seen before an action is seen after the pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from physgen_control.types import HORIZON, AppliedAction, CameraFrame, Episode, Source
from physgen_policy.contract.observation import GateConfig, ObservationGate, PolicyObservation, shown_from_ns

LATEST_STEPS = HORIZON // 2
"""Images may be this many control steps late, as when a camera dropped some. Cameras slower than the control rate fall
behind ever further, and would show later steps than the actions beside them."""


class NoImagesError(Exception):
    """A step has no images; the message says which and why."""


def choose_images(
    episode: Episode,
    applied: Sequence[AppliedAction],
    actions: Sequence[AppliedAction],
    stamps_ns: Mapping[str, NDArray[np.int64]],
    config: GateConfig,
) -> dict[str, list[int]]:
    """Return the indices of the images before every action and after the last, T + 1 by camera.

    Fewer where the recording ended before an image showed the last actions (LATEST_STEPS at most): nobody saw those.
    With N = config.execute_steps > 1 they are the images before actions 0, N, 2 N, ... <= T, T // N + 1 by camera; then
    the recording was made with so few, and none of them may be missing or late.

    Args:
        episode: When it started.
        applied: All applied actions in the order of their steps, those of nobody too.
        actions: The T >= 1 of them that count; between the first and the last no step of `applied` is missing.
        stamps_ns: int64 [n], ascending, the images of each camera.
        config: As many actions per chunk as there are from one image to the next.

    Raises:
        NoImagesError: A step has no images, or they are later than LATEST_STEPS.
    """
    period_ns, every = config.step_period_ns, config.execute_steps
    latest_steps = LATEST_STEPS if every == 1 else 1
    episode = _without_first_pause(episode, applied, actions[0], period_ns)
    gate = ObservationGate(config, streams=tuple(stamps_ns))
    gate.start_episode(episode)
    # From this step before the first one the gate counts, not from the time of the first image.
    before_ns = episode.start_ns - period_ns
    gate.put_action(
        replace(actions[0], step=0, source=Source.HOLD, stamp_ns=before_ns, state_stamp_ns=before_ns)
    )
    feeds = {name: _Feed(stamps) for name, stamps in stamps_ns.items()}
    chosen: dict[str, list[int]] = {name: [] for name in stamps_ns}
    due_ns = episode.start_ns
    for step, action in enumerate([None, *_with_pauses(applied, actions)]):
        if action is not None:
            gate.put_action(action)
            due_ns = shown_from_ns(action, period_ns)
        if step % every:
            continue
        observation = _next_observation(gate, feeds)
        if observation is None:
            if step == 0 or every > 1 or len(actions) - step >= LATEST_STEPS:
                raise NoImagesError(f"has no images for control step {step} of {len(actions)}")
            break
        late_ns = observation.frames.stamp_ns - due_ns
        if late_ns > latest_steps * period_ns:
            raise NoImagesError(
                f"has no images for control step {step}, the next are {late_ns / 1e9:.2f} s late: "
                + (
                    f"cameras must be at least as fast as the control rate, {1e9 / period_ns:g} Hz"
                    if every == 1
                    else f"its metadata promises one per {every} control steps"
                )
            )
        for name, stamps in stamps_ns.items():
            chosen[name].append(int(np.searchsorted(stamps, observation.frames[name].stamp_ns)))
    return chosen


def _without_first_pause(
    episode: Episode, applied: Sequence[AppliedAction], first: AppliedAction, period_ns: int
) -> Episode:
    """Return the episode from where somebody began to act."""
    idle = [action for action in applied if action.step < first.step]
    return replace(
        episode, start_ns=max([episode.start_ns, *(shown_from_ns(action, period_ns) for action in idle)])
    )


def _with_pauses(applied: Sequence[AppliedAction], actions: Sequence[AppliedAction]) -> list[AppliedAction]:
    """Return the actions numbered 1, 2, ... without gaps, each lasting until the pause after it ended."""
    by_step = {action.step: action for action in applied}
    lasting = []
    for number, (action, following) in enumerate(zip(actions, [*actions[1:], None], strict=True), start=1):
        last = action if following is None else by_step[following.step - 1]
        lasting.append(
            replace(action, step=number, stamp_ns=last.stamp_ns, state_stamp_ns=last.state_stamp_ns)
        )
    return lasting


class _Feed:
    """The stamps of one camera, handed out one by one. The choice needs no pixels."""

    def __init__(self, stamps_ns: NDArray[np.int64]) -> None:
        self._stamps_ns = stamps_ns
        self._next = 0

    @property
    def stamp_ns(self) -> int | None:
        return int(self._stamps_ns[self._next]) if self._next < len(self._stamps_ns) else None

    def skip(self) -> None:
        self._next += 1


_NO_PIXELS = np.zeros((1, 1, 3), np.uint8)


def _next_observation(gate: ObservationGate, feeds: Mapping[str, _Feed]) -> PolicyObservation | None:
    """Put images into the gate, oldest first, until it yields; return None if there are none left."""
    while True:
        observation = gate.take(2**62)
        if isinstance(observation, PolicyObservation):
            return observation
        stamps = {name: feed.stamp_ns for name, feed in feeds.items() if feed.stamp_ns is not None}
        if not stamps:
            return None
        name = min(stamps, key=lambda n: stamps[n] or 0)
        gate.put_frame(name, CameraFrame(stamp_ns=stamps[name] or 0, rgb=_NO_PIXELS, frame_id=name))
        feeds[name].skip()
