# SPDX-License-Identifier: Apache-2.0
"""What a policy remembers between the chunks of one episode, and what follows from it without any network.

The networks belong to whoever computes: a policy of one episode (policy.py) or a batch of many (batched.py).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from physgen_control.types import (
    ActionChunk,
    ActionSpace,
    DeltaReference,
    Episode,
    Float32Array,
    GripperMode,
    Rotation,
    UInt8Image,
)
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.contract.splice import splice_views


def chunk_generator(
    seed: int, episode_seed: int, chunk: int, purpose: int, device: torch.device
) -> torch.Generator:
    """Return the random numbers of an episode's chunk (purpose 0) or imagined frame (1), counted from 0."""
    entropy = np.random.SeedSequence([part & (2**64 - 1) for part in (seed, episode_seed, chunk, purpose)])
    return torch.Generator(device).manual_seed(int(entropy.generate_state(1, np.uint64)[0]))


def executed_actions(checkpoint: Checkpoint, sampled: Float32Array) -> Float32Array:
    """Return a sampled chunk [8, a] as it will be executed, in SI units: within range, gripper open or closed."""
    actions = checkpoint.norm.denormalize(np.clip(sampled, -1.0, 1.0))
    if checkpoint.embodiment.gripper_mode == GripperMode.SIGNED_PM1.name:
        actions[:, -1] = np.where(actions[:, -1] >= 0.0, 1.0, -1.0)
    return actions


class EpisodeState:
    """Instruction, random numbers, the last prediction and the count of chunks of one episode at a time.

    Args:
        checkpoint: What acts.
        seed: Added to every episode's own seed.
        use_plan: Condition on the plan.
        execute_steps: Actions of a chunk to run before the next observation.
    """

    def __init__(self, checkpoint: Checkpoint, *, seed: int, use_plan: bool, execute_steps: int) -> None:
        self._checkpoint = checkpoint
        self._seed, self._run = seed, 0
        self._use_plan, self._execute_steps = use_plan, execute_steps
        self._device = next(checkpoint.model.parameters()).device
        self._session_id = ""
        self._chunk_seq = 0
        self._prediction: Float32Array | None = None
        self.episode: Episode | None = None
        self.instruction = ""

    def seed(self, run: int) -> None:
        """Choose the random numbers of the episodes from now on; 0 is the default, added to the configured seed."""
        self._run = run

    def begin(self, episode: Episode, session_id: str = "") -> None:
        """Start an episode with its instruction; nothing of earlier ones remains."""
        self.episode, self._session_id = episode, session_id or episode.episode_id
        self.instruction = episode.instruction
        self._chunk_seq, self._prediction = 0, None

    def end(self) -> None:
        """Forget the episode: none is running."""
        self.episode, self._prediction = None, None

    def runs(self, episode_id: str) -> bool:
        """Return whether this is the running episode."""
        return self.episode is not None and self.episode.episode_id == episode_id

    def follow(self, instruction: str) -> None:
        """Follow another instruction from the next chunk on; the plan of the old one is dropped."""
        self.instruction, self._prediction = instruction, None

    def image(self, observation: PolicyObservation) -> UInt8Image:
        """Return the frame that the model sees, uint8 [y, 2 x, 3]."""
        embodiment, frames = self._checkpoint.embodiment, observation.frames
        return splice_views(
            frames["fixed"].rgb, frames["wrist"].rgb, embodiment.image_height, embodiment.image_width
        )

    def normalized(self, past: Float32Array) -> Tensor:
        """Return SI actions [8, a] as the model takes them, [1, 8, a] on its device."""
        return torch.from_numpy(self._checkpoint.norm.normalize(past))[None].to(self._device)

    def plan(self, executed: int | None) -> Tensor | None:
        """Return the unexecuted rest of the last prediction, normalised [1, 16, a]; None where there is no plan."""
        action = self._checkpoint.model.config.action
        usable = self._use_plan and action.plan_conditioning and executed is not None
        if not usable or self._prediction is None or executed is None or executed > action.horizon:
            return None
        flat = self._prediction.reshape(-1, action.action_dim)
        plan = np.clip(flat[executed : executed + action.plan_actions], -1.0, 1.0)
        return torch.from_numpy(plan)[None].to(self._device)

    def generator(self, purpose: int = 0) -> torch.Generator:
        """Return the random numbers of the next chunk (purpose 0) or imagined frame (1), whatever happened before."""
        episode_seed = self.episode.seed if self.episode is not None else 0
        return chunk_generator(self._seed + self._run, episode_seed, self._chunk_seq, purpose, self._device)

    def predicted(self, sampled: Float32Array) -> None:
        """Remember the last prediction, normalised [3, 8, a]; the next plan comes from it."""
        self._prediction = sampled

    def chunk(
        self, observation: PolicyObservation, sampled: Float32Array, now_ns: int, policy_id: str
    ) -> ActionChunk:
        """Remember a prediction, normalised [3, 8, a], and make it the episode's next chunk in SI units."""
        assert self.episode is not None  # callers refuse observations of any other episode
        self.predicted(sampled)
        embodiment = self._checkpoint.embodiment
        data = self._checkpoint.norm.denormalize(sampled).astype(np.float32)
        if (missing := embodiment.num_chunks - len(data)) > 0:
            # A model without lookahead has nothing to say about later chunks: they rest.
            rest = np.zeros((missing, *data.shape[1:]), np.float32)
            rest[..., -1] = data[-1, -1, -1]
            data = np.concatenate([data, rest])
        # The gripper is a command between closed and open; the controller thresholds it.
        data[..., -1] = np.clip(data[..., -1], -1.0, 1.0)
        chunk = ActionChunk.of(
            data,
            session_id=self._session_id,
            episode_id=self.episode.episode_id,
            chunk_seq=self._chunk_seq,
            base_step=observation.base_step,
            stamp_ns=observation.frames.stamp_ns,
            inference_ns=now_ns,
            step_period_ns=round(1e9 / embodiment.control_rate_hz),
            instruction=self.instruction,
            policy_id=policy_id,
        )
        self._chunk_seq += 1
        return replace(
            chunk,
            execute_steps=self._execute_steps,
            action_space=ActionSpace[embodiment.action_space],
            rotation=Rotation[embodiment.rotation],
            delta_reference=DeltaReference[embodiment.delta_reference],
            gripper_mode=GripperMode[embodiment.gripper_mode],
            frame_id=embodiment.base_frame,
        )
