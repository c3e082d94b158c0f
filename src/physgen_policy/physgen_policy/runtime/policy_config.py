# SPDX-License-Identifier: Apache-2.0
"""How a checkpoint is run: solver, samples, window, number format, frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from physgen_control.errors import UserError
from physgen_control.types import HORIZON
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.model.physgen import PhysGen
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.runtime.episode_state import EpisodeState
from physgen_policy.runtime.pack_window import WindowPolicy
from physgen_policy.sampling.frame import FrameChoice, FrameSampler, preview_sampler
from physgen_policy.sampling.solver import SamplerConfig, SolverKind


class PolicyError(UserError):
    """The policy cannot act; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """How a checkpoint is run."""

    sampler: SolverKind = "ddim"
    """Solver of the action head."""
    denoise_steps: int = 10
    """Of the action head."""
    action_samples: int = 8
    """Chunks denoised from different noise, whose mean is taken."""
    window_policy: WindowPolicy = WindowPolicy.RECOMPUTE
    """What is done at a full window."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """How it is computed."""
    use_plan: bool = False
    """Condition on the plan. Off: the shipped checkpoint follows its own plan too closely, see its card."""
    execute_steps: int = HORIZON
    """Actions of the executed chunk to run before the next observation."""
    num_threads: int = 1
    """CPU threads of torch, process-wide; 0 leaves it alone."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the networks; solvers and statistics stay float32."""
    frame_sampler: FrameChoice = "auto"
    """How frames are imagined, see FrameSampler; auto: the mean where the checkpoint has one."""
    frame_ar_steps: int = 8
    """Of sampled frames."""
    frame_denoise_steps: int = 10
    """Of sampled frames."""
    frame_temperature: float = 1.0
    """Of sampled frames."""
    seed: int = 0
    """Added to every episode's own seed."""

    def __post_init__(self) -> None:
        if self.denoise_steps < 1:
            raise ValueError(f"denoise_steps must be at least 1, got {self.denoise_steps}")
        self._sampled_frames()
        if self.action_samples < 1:
            raise ValueError(f"action_samples must be at least 1, got {self.action_samples}")
        if not 1 <= self.execute_steps <= HORIZON:
            raise ValueError(f"execute_steps must be 1..{HORIZON}, got {self.execute_steps}")
        if self.num_threads < 0:
            raise ValueError(f"num_threads must be >= 0, got {self.num_threads}")

    def frames_of(self, model: PhysGen) -> FrameSampler:
        """Return how the frames of a model are imagined.

        Raises:
            PolicyError: The mean is asked for, and the model has none.
        """
        if self.frame_sampler == "sample":
            return self._sampled_frames()
        preview = preview_sampler(model.config)
        if self.frame_sampler == "mean" and preview.kind != "mean":
            raise PolicyError(
                "frame_sampler mean needs a checkpoint whose frame head predicts v (frames.prediction); use auto or "
                "sample"
            )
        return preview if preview.kind == "mean" else self._sampled_frames()

    def _sampled_frames(self) -> FrameSampler:
        return FrameSampler(
            ar_steps=self.frame_ar_steps,
            denoise_steps=self.frame_denoise_steps,
            temperature=self.frame_temperature,
        )

    def action_sampler(self) -> SamplerConfig:
        """How the action head is run."""
        return SamplerConfig(kind=self.sampler, steps=self.denoise_steps, samples=self.action_samples)

    def episode_state(self, checkpoint: Checkpoint) -> EpisodeState:
        """Return the memory of one episode at a time."""
        return EpisodeState(
            checkpoint, seed=self.seed, use_plan=self.use_plan, execute_steps=self.execute_steps
        )
