# SPDX-License-Identifier: Apache-2.0
"""Index arithmetic of training windows: which frames and actions form the packs of one window. Pure.

A window that starts at control step s has its n-th frame at step s + 8 n. Pack n carries that frame and the 8 actions
BEFORE it (Begin-of-Action where they are absent) and predicts the 24 actions AFTER it and the next frame
(model specification: pack n holds O_n and A_n, its outputs are A_{n+1}.. and O_{n+1}).

    step   s        s+8       s+16
    frame  O_0       O_1       O_2
    past   BOA      [s,s+8)   [s+8,s+16)
    target [s,s+24) [s+8,s+32) ...

An episode may have pictures of the steps 0, N, 2 N, ... only, where N divides 8. Then s is one of those, and so every
frame within the episode has a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Window:
    """One window of an episode."""

    start: int
    """Its first control step."""
    num_packs: int
    boa: bool
    """Whether the first pack starts with Begin-of-Action."""


@dataclass(frozen=True, slots=True)
class WindowArrays:
    """The actions of a window of P packs, in model units, and the masks that say which of them exist."""

    past: NDArray[np.float32]
    """float32 [P, 8, A], before each frame; ignored where boa."""
    boa: NDArray[np.bool_]
    """bool [P]."""
    target: NDArray[np.float32]
    """float32 [P, 24, A], after each frame."""
    target_mask: NDArray[np.bool_]
    """bool [P, 24], the labels among them."""
    plan: NDArray[np.float32]
    """float32 [P, 16, A], what a perfect previous prediction would have left over."""
    plan_mask: NDArray[np.bool_]
    """bool [P]."""
    frames: NDArray[np.int64]
    """int64 [P + 1], control steps of the frames, all with a picture. The last one is the target of pack P - 1, clipped
    to the episode's last picture."""
    frame_mask: NDArray[np.bool_]
    """bool [P], whether the next frame of each pack exists."""


def max_packs(num_steps: int, start: int, context_packs: int, horizon: int) -> int:
    """Return how many packs have at least one action to predict, at most context_packs.

    Raises:
        ValueError: The window starts outside of the episode.
    """
    if not 0 <= start < num_steps:
        raise ValueError(f"a window must start inside the episode: start {start}, steps {num_steps}")
    return min(context_packs, (num_steps - start - 1) // horizon + 1)


def rollout_start(labels: NDArray[np.bool_], horizon: int, picture_every: int = 1) -> int:
    """Return the control step of a window that is aligned as a rollout is: whole chunks before the first label.

    An episode may begin with a push (the rollout starts after it) or with the chunks of a policy in need of correction
    (they are its context). Only labels at steps with a picture count.

    Args:
        labels: bool [T], which actions are labels.
        horizon: Actions per chunk.
        picture_every: Control steps from one picture to the next.

    Raises:
        ValueError: There is no label at a step with a picture.
    """
    return _shown_steps(labels, picture_every)[0] % horizon


def _shown_steps(labels: NDArray[np.bool_], picture_every: int) -> list[int]:
    """Return the control steps that have a picture and a label.

    Raises:
        ValueError: There is none.
    """
    shown = picture_every * np.flatnonzero(labels[::picture_every])
    if len(shown) == 0:
        raise ValueError("an episode without a label (at a picture) has no training windows")
    return [int(step) for step in shown]


def draw_window(
    labels: NDArray[np.bool_],
    context_packs: int,
    horizon: int,
    rng: np.random.Generator,
    aligned_fraction: float = 0.3,
    picture_every: int = 1,
) -> Window:
    """Draw a window of an episode with labels bool [T] and a picture at every picture_every-th step.

    With probability aligned_fraction it starts at rollout_start, else at any label. Only labels at steps with a picture
    count here.

    BOA is always used where fewer than `horizon` actions precede the window, and in half of the other cases, because
    a rollout whose context was restarted begins with it too.

    Raises:
        ValueError: There is no label at a step with a picture.
    """
    _check_pictures(horizon, picture_every)
    num_steps = len(labels)
    shown = _shown_steps(labels, picture_every)
    start = shown[0] % horizon if rng.random() < aligned_fraction else int(rng.choice(shown))
    boa = start < horizon or bool(rng.random() < 0.5)
    return Window(start, max_packs(num_steps, start, context_packs, horizon), boa)


def cut_window(
    actions: NDArray[np.float32],
    labels: NDArray[np.bool_],
    window: Window,
    horizon: int,
    num_chunks: int,
    idle: NDArray[np.float32],
    picture_every: int = 1,
) -> WindowArrays:
    """Cut one window out of an episode.

    Steps beyond the episode's end are filled with `idle` and masked. So is every target from the first step on that is
    no label: what follows a push answers the push, which a prediction made before it cannot know.

    Args:
        actions: float32 [T, A], model units.
        labels: bool [T].
        window: Which window.
        horizon: Actions per chunk.
        num_chunks: Chunks per prediction.
        idle: float32 [A], zero motion in model units; its gripper becomes the last command.
        picture_every: Control steps from one picture to the next.

    Raises:
        ValueError: The window starts at no picture.
    """
    _check_pictures(horizon, picture_every)
    if window.start % picture_every:
        raise ValueError(
            f"a window must start at a picture: start {window.start}, one per {picture_every} steps"
        )
    num_steps, action_dim = actions.shape
    packs, span = window.num_packs, horizon * num_chunks
    filler = idle.copy()
    filler[-1] = actions[-1, -1]
    padded = np.concatenate([actions, np.tile(filler, (span, 1))]).astype(np.float32)
    past = np.zeros((packs, horizon, action_dim), np.float32)
    boa = np.zeros(packs, bool)
    target = np.zeros((packs, span, action_dim), np.float32)
    target_mask = np.zeros((packs, span), bool)
    plan_mask = np.zeros(packs, bool)
    for n in range(packs):
        step = window.start + n * horizon
        target[n] = padded[step : step + span]
        shown = labels[step : step + span]
        target_mask[n, : len(shown)] = np.logical_and.accumulate(shown)
        if n == 0 and window.boa:
            boa[n] = True
        else:
            past[n] = padded[step - horizon : step]
            plan_mask[n] = True
    last_picture = num_steps - num_steps % picture_every
    frames = np.minimum(window.start + horizon * np.arange(packs + 1), last_picture)
    # A next frame within the episode has a picture: it is whole chunks after the start, which has one.
    frame_mask = window.start + horizon * np.arange(1, packs + 1) <= num_steps
    # The previous prediction covered steps [step - 8, step + 16); what it left unexecuted is [step, step + 16).
    plan = target[:, : span - horizon].copy()
    return WindowArrays(past, boa, target, target_mask, plan, plan_mask, frames, frame_mask)


def _check_pictures(horizon: int, picture_every: int) -> None:
    if picture_every < 1 or horizon % picture_every:
        raise ValueError(f"pictures every {picture_every} steps miss the borders of chunks of {horizon}")
