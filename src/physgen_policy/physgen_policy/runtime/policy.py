# SPDX-License-Identifier: Apache-2.0
"""From an observation to an action chunk with a PhysGen checkpoint: the whole deciding path, without ROS.

Outcomes depend on the checkpoint, the configuration, the episode's seed and the observations only: never on
earlier episodes, on time, or on who calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from physgen_control.errors import UserError
from physgen_control.types import HORIZON, ActionChunk, Episode, Float32Array, RobotState, UInt8Image
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.contract.embodiment_check import GraphDescription, find_mismatches
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.model.batch import PackOutput
from physgen_policy.model.physgen import PhysGen
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.runtime.episode_state import EpisodeState, executed_actions
from physgen_policy.runtime.frame_decoder import decode_frame
from physgen_policy.runtime.frame_encoder import FrameEncoder
from physgen_policy.runtime.mailbox import CancelToken
from physgen_policy.runtime.pack_window import Pack, PackWindow, WindowPolicy
from physgen_policy.runtime.prompts import PromptStates
from physgen_policy.sampling.actions import ActionDenoiser
from physgen_policy.sampling.frame import FrameChoice, FrameSampler, preview_sampler, sample_frame
from physgen_policy.sampling.solver import SamplerConfig, SolverKind

STAGES = ("preprocess", "vae", "transformer", "denoise", "chunk")
"""What `on_stage` is told, in order: each name when that part of an observation's way to its chunk is done."""


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


@dataclass(frozen=True, slots=True)
class _Latest:
    """What became of the newest observation."""

    image: UInt8Image
    """The picture of it, for the frame path's own codec."""
    latent: Tensor
    output: PackOutput
    """Hidden states."""
    sampled: Float32Array
    """Normalised actions [3, 8, a]."""


class PhysGenPolicy:
    """Runs one checkpoint for one robot. Not thread-safe: one thread calls reset, act and predict_frame."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: PolicyConfig | None = None,
        *,
        on_stage: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config or PolicyConfig()
        self._on_stage = on_stage or (lambda _: None)
        self.checkpoint = checkpoint
        if self.config.num_threads:
            torch.set_num_threads(self.config.num_threads)
        model, engine = checkpoint.model, self.config.engine
        weights = next(model.parameters())
        self._device = weights.device
        self._half = self.config.dtype == "bfloat16"
        self._cast = weights.dtype == torch.bfloat16  # then nothing is left to convert at every use
        self._window = PackWindow(
            model,
            max_packs=model.config.context_packs,
            policy=WindowPolicy(self.config.window_policy),
            use_cache=engine.use_cache,
            split_attention=engine.split_attention,
        )
        half_encoder = self._cast or (self._half and engine.cast_weights)
        self._encoder = FrameEncoder(checkpoint.codec, engine, torch.bfloat16 if half_encoder else None)
        self._denoiser = ActionDenoiser(
            model.action_head,
            self.config.action_sampler(),
            reuse=engine.reuse_conditioning,
            capture=engine.capture_on(self._device),
        )
        self._prompts = PromptStates(
            checkpoint,
            unload=engine.unload_text_encoder,
            autocast=lambda: self._autocast(self._half),
        )
        self._state = self.config.episode_state(checkpoint)
        self._frames = self.config.frames_of(model)
        self._latest: _Latest | None = None

    @property
    def policy_id(self) -> str:
        """Checkpoint name and the beginning of its hash."""
        return self.checkpoint.policy_id

    @property
    def gpu_memory(self) -> float:
        """Bytes allocated on the GPU, 0 on a CPU."""
        return float(torch.cuda.memory_allocated(self._device)) if self._device.type == "cuda" else 0.0

    needs_state = False
    """Images and actions are all that it sees."""

    def put_state(self, state: RobotState) -> None:
        """Ignore a measured state."""

    def mismatches(self, graph: GraphDescription) -> list[str]:
        """Return what forbids using the checkpoint in a graph, as sentences."""
        return find_mismatches(self.checkpoint.embodiment, graph, self.checkpoint.norm.action_dim)

    @property
    def instruction(self) -> str:
        """The instruction being followed."""
        return self._state.instruction

    @torch.inference_mode()
    def reset(self, episode: Episode, session_id: str = "") -> None:
        """Start an episode with its instruction; nothing of earlier episodes remains."""
        self._state.begin(episode, session_id)
        self._latest = None
        self._window.restart(self._prompts.tokens(episode.instruction))
        self._prompts.release()

    def seed(self, run: int) -> None:
        """Choose the random numbers of the episodes from now on; 0 is the default, added to the configured seed."""
        self._state.seed(run)

    @torch.inference_mode()
    def set_instruction(self, instruction: str) -> None:
        """Follow another instruction from the next chunk on; the history stays, the old plan does not.

        Where the new one cannot be read the old one stays in force, and the next call tries again.
        """
        if instruction != self._state.instruction:
            tokens = self._prompts.tokens(instruction)  # may fail: nothing is assigned before it
            self._window.set_text(tokens)
            self._state.follow(instruction)

    @torch.inference_mode()
    def act(
        self, observation: PolicyObservation, now_ns: int, cancel: CancelToken | None = None
    ) -> ActionChunk:
        """Predict the next three chunks, float32 [3, 8, 7] in SI units; see ServedPolicy.act. Missing lookahead rests.

        Raises:
            PolicyError: No or another episode, or the networks returned something that is not a number.
            Cancelled: `cancel` was set in time.
        """
        state = self._state
        if not state.runs(observation.episode_id):
            running = "no episode" if state.episode is None else f"episode {state.episode.episode_id}"
            raise PolicyError(
                f"an observation of episode {observation.episode_id} came while {running} was running"
            )
        image = state.image(observation)
        self._on_stage("preprocess")
        past = None if observation.first else observation.past_actions
        try:
            latest = self._compute(image, past, observation.executed, cancel or CancelToken())
        except BaseException:
            self._window.rollback()
            raise
        self._window.commit()
        self._latest = latest
        chunk = state.chunk(observation, latest.sampled, now_ns, self.policy_id)
        self._on_stage("chunk")
        return chunk

    @torch.inference_mode()
    def predict_frame(self) -> UInt8Image | None:
        """Imagine the frame that the last chunk leads to: uint8 [y, 2 x, 3], spliced views; None before any chunk.

        Never needed for acting. Uses random numbers of its own.
        """
        if (latest := self._latest) is None:
            return None
        model = self.checkpoint.model
        with self._autocast(self._half and not self._cast):
            condition = model.frame_condition(
                self._window.anchor(),
                latest.output.frame_hidden,
                self._present(latest),
                self._state.normalized(executed_actions(self.checkpoint, latest.sampled[0])),
            )
            latent = sample_frame(model, condition, self._frames, self._state.generator(1))
        return decode_frame(self.checkpoint.imagined_codec, latent)

    def _present(self, latest: _Latest) -> Tensor:
        """Return the newest frame as the frame path reads it."""
        codec = self.checkpoint.imagined_codec
        if codec is self.checkpoint.codec:
            return latest.latent
        return codec.encode(torch.from_numpy(latest.image)[None].to(self._device)).float()

    def warm_up(self, imagine: bool = False) -> None:
        """Run every path once on empty images, so that no real observation is a slow one: an empty to a full window.

        What is captured or compiled, is so here.
        """
        config = self.checkpoint.model.config
        episode = Episode(episode_id="warm-up", task="", seed=0, instruction="warm up", start_ns=0)
        with torch.inference_mode():
            self._state.begin(episode)
            self._window.restart(self._prompts.tokens(episode.instruction))
        image = np.zeros((*config.nova.image_size, 3), np.uint8)
        past: Float32Array | None = None
        for _ in range(config.context_packs + 1):
            self._latest = self._compute(image, past, HORIZON, CancelToken())
            self._state.predicted(self._latest.sampled)
            self._window.commit()
            past = np.zeros((HORIZON, config.action.action_dim), np.float32)
        if imagine:
            self.predict_frame()
        self._state.end()
        self._latest = None
        self._prompts.forget()

    @torch.inference_mode()
    def _compute(
        self, image: UInt8Image, past: Float32Array | None, executed: int | None, token: CancelToken
    ) -> _Latest:
        """Run the networks on a new pack, tentatively.

        Raises:
            PolicyError: The networks returned something that is not a number.
        """
        checkpoint = self.checkpoint
        model = checkpoint.model
        token.check()
        with self._autocast(self._half and not self._cast):
            latent = self._encoder(torch.from_numpy(image)[None].to(self._device))
            self._on_stage("vae")
            token.check()
            output, begins = self._window.extend(
                Pack(latent, None if past is None else self._state.normalized(past))
            )
            self._on_stage("transformer")
            token.check()
            memory, _ = model.action_memory(
                output.action_hidden,
                output.frame_hidden,
                None if begins else self._state.plan(executed),
                None,
            )
            sampled = self._denoiser.sample(memory, self._state.generator(), check=token.check)
        actions: Float32Array = sampled[0].float().cpu().numpy()
        self._on_stage("denoise")
        if not np.isfinite(actions).all():
            raise PolicyError(
                f"checkpoint {checkpoint.name} predicted actions that are not finite numbers; "
                "its weights or the camera images are damaged"
            )
        return _Latest(image, latent, output, actions)

    def _autocast(self, enabled: bool) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
