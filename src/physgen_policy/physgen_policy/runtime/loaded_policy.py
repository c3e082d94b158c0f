# SPDX-License-Identifier: Apache-2.0
"""A checkpoint's policy for callers without a graph: images and a sentence in, actions out, the history kept here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM, HORIZON, CameraFrame, Episode, Float32Array, UInt8Image
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.contract.embodiment_check import GraphDescription
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.past_actions import idle_actions
from physgen_policy.contract.synchronizer import SyncedFrames
from physgen_policy.runtime.batched import BatchedPolicy, BatchItem
from physgen_policy.runtime.loading import load_policy
from physgen_policy.runtime.policy import PhysGenPolicy
from physgen_policy.runtime.policy_config import PolicyConfig

STREAMS = ("fixed", "wrist")


class LoadedPolicyError(UserError):
    """The arguments of a call cannot be used; the text says what they must be."""


@dataclass(slots=True)
class _Row:
    """One episode of a batch."""

    episode: Episode
    """What is being done."""
    step: int = 0
    """Control steps so far."""
    last: Float32Array | None = None
    """The last prediction, float32 [3, 8, 7]."""


class LoadedPolicy:
    """Runs one checkpoint; see `act`. Not thread-safe.

    Attributes:
        name: The checkpoint's name.
        tasks: Tasks that it was trained for.
        robot: Robot that it was trained on.
        image_size: Rows and columns of one camera's image as the network sees it; larger ones are scaled down.
        control_period: Seconds from one action to the next.
    """

    def __init__(self, policy: PhysGenPolicy) -> None:
        self._policy = policy
        self._checkpoint: Checkpoint = policy.checkpoint
        self._batched: BatchedPolicy | None = None
        self._rows: list[_Row] = []
        self._batch: int | None = None
        self._seed = 0
        self._count = 0
        embodiment = self._checkpoint.embodiment
        self.name = self._checkpoint.name
        self.tasks = tuple(embodiment.tasks)
        self.robot = embodiment.robot
        self.image_size = (embodiment.image_height, embodiment.image_width)
        self.control_period = 1.0 / embodiment.control_rate_hz

    @classmethod
    def load(cls, checkpoint: str, device: str = "auto") -> LoadedPolicy:
        """Load a checkpoint, as `physgen.load` does.

        Raises:
            LoadedPolicyError: No checkpoint is named.
            CheckpointError: There is no such checkpoint, it is damaged, or it cannot act.
        """
        if not checkpoint:
            raise LoadedPolicyError("name a checkpoint or its folder; physgen.checkpoints() lists the names")
        from physgen_policy.checkpoint import read_description, resolve_checkpoint

        path = resolve_checkpoint(checkpoint, "")
        embodiment = read_description(path).embodiment
        # Nothing is known of where it will act but what it says itself.
        graph = GraphDescription(
            control_period=1.0 / embodiment.control_rate_hz, base_frame=embodiment.base_frame
        )
        return cls(load_policy(str(path), graph, PolicyConfig(), device))

    def reset(self, seed: int = 0) -> None:
        """Forget the history: the next call of `act` begins an episode.

        Args:
            seed: For the random numbers, at least 0; the same seed gives the same actions for the same images. Row i of
                a batch has seed + i.

        Raises:
            LoadedPolicyError: The seed is negative.
        """
        if seed < 0:
            raise LoadedPolicyError(f"seed must be at least 0, got {seed}")
        self._seed, self._rows = seed, []

    def act(
        self,
        *,
        fixed: UInt8Image,
        wrist: UInt8Image,
        instruction: str | Sequence[str],
        executed: Float32Array | None = None,
    ) -> Float32Array:
        """Return the next actions.

        Call it once per executed chunk: take the images, call, execute the first 8 actions, call again. With arrays
        that have one more axis in front, B rows are B episodes side by side, computed together.

        Args:
            fixed: Image of the fixed camera, uint8 [height, width, 3], RGB, or [B, height, width, 3].
            wrist: Image of the wrist camera, taken at the same time, of the same kind.
            instruction: What to do, one sentence for all rows or one for each.
            executed: What the robot was really commanded since the last call, float32 [n, 7] or [B, n, 7], oldest
                first, numbers as in the result. None: the first 8 actions of the last result, as they are. Without
                meaning at an episode's first call.

        Returns:
            float32 [3, 8, 7] or [B, 3, 8, 7]: three chunks of 8 actions, one action per `control_period`; the first
            chunk is to be executed, the others look ahead. An action is dx, dy, dz [m], a rotation vector [rad], both
            added to the measured pose of the tool centre point in the robot's base frame, and the gripper, +1 open to
            -1 closed. Nothing here limits them: on a robot a controller must.

        Raises:
            LoadedPolicyError: An argument is of the wrong kind, or another number of rows came within an episode.
        """
        pairs, batch = _image_pairs(fixed, wrist)
        sentences = [instruction] * len(pairs) if isinstance(instruction, str) else list(instruction)
        if len(sentences) != len(pairs):
            raise LoadedPolicyError(
                f"there are {len(pairs)} pairs of images but {len(sentences)} instructions"
            )
        done = _executed(executed, len(pairs), batch)
        if not self._rows:
            self._begin(sentences, batch)
        if len(self._rows) != len(pairs) or self._batch != (len(pairs) if batch else None):
            raise LoadedPolicyError(
                "the number of rows changed within an episode; call reset() before another batch"
            )
        observations = [
            _observation(row, pair, row_done, self.control_period)
            for row, pair, row_done in zip(self._rows, pairs, done, strict=True)
        ]
        answers = self._ask(observations, sentences)
        for row, observation, answer in zip(self._rows, observations, answers, strict=True):
            row.step, row.last = observation.base_step, answer
        return np.stack(answers) if batch else answers[0]

    def imagine(self) -> UInt8Image | None:
        """Return the image that the network expects after the last chunk, uint8 [height, 2 * width, 3].

        Fixed view left, wrist view right. None before any chunk and in a batch. Slow, and never needed for acting.
        """
        return self._policy.predict_frame() if self._rows and self._batch is None else None

    def _begin(self, sentences: list[str], batch: bool) -> None:
        self._count += 1
        self._batch = len(sentences) if batch else None
        self._rows = [
            _Row(
                Episode(
                    episode_id=f"episode-{self._count}-{number}",
                    task="",
                    seed=self._seed + number,
                    instruction=sentence,
                    start_ns=0,
                )
            )
            for number, sentence in enumerate(sentences)
        ]
        if not batch:
            self._policy.reset(self._rows[0].episode)
            return
        if self._batched is None:
            self._batched = BatchedPolicy(self._checkpoint, self._policy.config, len(sentences))
        for number, row in enumerate(self._rows):
            self._batched.reset(number, row.episode)

    def _ask(self, observations: list[PolicyObservation], sentences: list[str]) -> list[Float32Array]:
        if self._batch is None or self._batched is None:
            self._policy.set_instruction(sentences[0])
            return [self._policy.act(observations[0], 0).data]
        if sentences != [row.episode.instruction for row in self._rows]:
            raise LoadedPolicyError("the instructions of a batch stay; call reset() before others")
        items = {
            number: BatchItem(observation=observation, now_ns=0)
            for number, observation in enumerate(observations)
        }
        answers = self._batched.act(items)
        return [answers[number].data for number in items]


def _image_pairs(fixed: UInt8Image, wrist: UInt8Image) -> tuple[list[tuple[UInt8Image, UInt8Image]], bool]:
    """Return the pairs of images and whether they came as a batch.

    Raises:
        LoadedPolicyError: They are not uint8 RGB images, or not as many of each camera.
    """
    views = []
    for name, images in (("fixed", fixed), ("wrist", wrist)):
        array = np.asarray(images)
        if array.dtype != np.uint8 or array.ndim not in (3, 4) or array.shape[-1] != 3 or not array.size:
            raise LoadedPolicyError(
                f"{name} must be uint8 [height, width, 3] (or [B, height, width, 3]) in RGB, got {array.dtype} "
                f"{list(array.shape)}"
            )
        views.append(array)
    if views[0].ndim != views[1].ndim or (views[0].ndim == 4 and len(views[0]) != len(views[1])):
        raise LoadedPolicyError("fixed and wrist must be one image each, or the same number of images")
    if views[0].ndim == 3:
        return [(views[0], views[1])], False
    return list(zip(views[0], views[1], strict=True)), True


def _executed(executed: Float32Array | None, rows: int, batch: bool) -> list[Float32Array | None]:
    """Return what each row executed, float32 [n, 7].

    Raises:
        LoadedPolicyError: They are of another shape or number, or not finite.
    """
    if executed is None:
        return [None] * rows
    actions = np.asarray(executed, np.float32)
    if actions.ndim != (3 if batch else 2) or actions.shape[-1] != ACTION_DIM:
        expected = f"[{rows}, n, {ACTION_DIM}]" if batch else f"[n, {ACTION_DIM}]"
        raise LoadedPolicyError(f"executed must be float32 {expected}, got {list(actions.shape)}")
    if batch and len(actions) != rows:
        raise LoadedPolicyError(f"executed has {len(actions)} rows, and there are {rows}")
    if not np.isfinite(actions).all():
        raise LoadedPolicyError("executed has numbers that are not finite")
    return list(actions) if batch else [actions]


def _observation(
    row: _Row, pair: tuple[UInt8Image, UInt8Image], executed: Float32Array | None, period_s: float
) -> PolicyObservation:
    """Return what the network is to see of one row."""
    first = row.last is None
    past, steps = idle_actions(np.float32(1.0)), 0
    if row.last is not None:
        done = row.last[0] if executed is None else executed
        steps = len(done)
        recent = done[-HORIZON:]
        if steps:
            past = idle_actions(np.float32(recent[-1, -1]))
            past[: len(recent)] = recent
    stamp_ns = round((row.step + steps) * period_s * 1e9)
    frames = tuple(
        CameraFrame(stamp_ns=stamp_ns, rgb=rgb, frame_id=name)
        for name, rgb in zip(STREAMS, pair, strict=True)
    )
    return PolicyObservation(
        episode_id=row.episode.episode_id,
        frames=SyncedFrames(STREAMS, frames),
        base_step=row.step + steps,
        past_actions=past,
        first=first,
        executed=steps if not first and steps <= HORIZON else None,
    )
