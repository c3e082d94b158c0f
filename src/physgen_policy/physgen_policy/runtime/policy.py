# SPDX-License-Identifier: Apache-2.0
"""From an observation to an action chunk with a PhysGen checkpoint: the whole deciding path, without ROS.

Outcomes depend on the checkpoint, the configuration, the episode's seed and the observations only: never on
earlier episodes, on time, or on who calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen_control.types import HORIZON, ActionChunk, Episode, Float32Array, RobotState, UInt8Image
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.contract.embodiment_check import GraphDescription, find_mismatches
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.model.batch import PackOutput
from physgen_policy.runtime.episode_state import executed_actions
from physgen_policy.runtime.frame_decoder import decode_frame
from physgen_policy.runtime.frame_encoder import FrameEncoder
from physgen_policy.runtime.mailbox import CancelToken
from physgen_policy.runtime.pack_window import Pack, PackWindow, WindowPolicy
from physgen_policy.runtime.policy_config import PolicyConfig, PolicyError
from physgen_policy.runtime.prediction_error import PredictionError, compare_views
from physgen_policy.runtime.prompts import PromptStates
from physgen_policy.sampling.actions import ActionDenoiser
from physgen_policy.sampling.frame import sample_frame

STAGES = ("preprocess", "vae", "transformer", "denoise", "chunk")
"""What `on_stage` is told, in order: each name when that part of an observation's way to its chunk is done."""


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
    expected: UInt8Image | None
    """What the picture was imagined to be, if it was, and if what was imagined to be done has been done."""


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
        self._expected: UInt8Image | None = None
        self.prediction_errors: tuple[PredictionError, ...] = ()
        """Of the fixed and the wrist view of the newest observation against the frame that was imagined for it; empty
        where none was. predict_frame compares."""

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
        self._latest = self._expected = None
        self.prediction_errors = ()
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
        self.prediction_errors = (
            () if latest.expected is None else compare_views(latest.expected, latest.image)
        )
        model = self.checkpoint.model
        with self._autocast(self._half and not self._cast):
            condition = model.frame_condition(
                self._window.anchor(),
                latest.output.frame_hidden,
                self._present(latest),
                self._state.normalized(executed_actions(self.checkpoint, latest.sampled[0])),
            )
            latent = sample_frame(model, condition, self._frames, self._state.generator(1))
        self._expected = decode_frame(self.checkpoint.imagined_codec, latent)
        return self._expected

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
        self._latest = self._expected = None
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
        expected, self._expected = self._expected, None
        return _Latest(image, latent, output, actions, expected if executed == HORIZON else None)

    def _autocast(self, enabled: bool) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False)
