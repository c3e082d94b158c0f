# SPDX-License-Identifier: Apache-2.0
"""A checkpoint as a world model: from one frame on, its own frames take the place of what cameras would see.

Without ROS and without a simulator. What it is asked for is either "what happens if I do this" (actions are given) or
"what will I do, and what will it look like" (they are the policy's own); or, without any, "what will be seen".
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, UInt8Image
from physgen_policy.checkpoint import Checkpoint
from physgen_policy.contract.splice import splice_views
from physgen_policy.model.attention_map import action_attention
from physgen_policy.model.batch import PackOutput
from physgen_policy.runtime.episode_state import chunk_generator, executed_actions
from physgen_policy.runtime.frame_decoder import decode_frame
from physgen_policy.runtime.pack_window import Pack, PackWindow, WindowPolicy
from physgen_policy.runtime.prompts import PromptStates
from physgen_policy.sampling.actions import ActionDenoiser
from physgen_policy.sampling.frame import FrameSampler, preview_sampler, sample_frame
from physgen_policy.sampling.solver import SamplerConfig

ACTIONS, FRAMES = 0, 1
"""Purposes of random numbers, as a policy has them."""


@dataclass(frozen=True, slots=True)
class ImaginedFrame:
    """One step of an imagination."""

    image: UInt8Image
    """What is expected after the chunk, uint8 [y, 2 x, 3], fixed view beside wrist view."""
    actions: Float32Array
    """The chunk that leads there, float32 [8, a] in SI units, as it would be executed."""
    seconds: float
    """What the frame alone took, decoder included."""


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest frame, and the chunk that led to it, as the two halves of the network read them."""

    pack: Pack
    present: Tensor
    """Latents of the codec in which frames are imagined, [1, c, h, w]."""


class Imagination:
    """One imagined episode at a time: begin, then step. Not thread-safe.

    Args:
        checkpoint: Its networks are read, never changed.
        frames: How frames are made; None: the mean where the checkpoint has one, else a sample.
        actions: How the policy's own chunks are made; the default is that of a policy.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        frames: FrameSampler | None = None,
        actions: SamplerConfig | None = None,
    ) -> None:
        model = checkpoint.model
        self.checkpoint, self._model = checkpoint, model
        self.frames = frames or preview_sampler(model.config)
        if self.frames.kind == "mean" and model.config.frames.prediction != "v":
            raise UserError(
                f"checkpoint {checkpoint.name} has no mean frame, its frame head predicts noise; take samples"
            )
        self._denoiser = ActionDenoiser(model.action_head, actions or SamplerConfig(samples=8))
        self._window = PackWindow(
            model,
            max_packs=model.config.context_packs,
            policy=WindowPolicy.RECOMPUTE,
            use_cache=True,
            split_attention=True,
        )
        self._device = next(model.parameters()).device
        self._prompts = PromptStates(
            checkpoint, unload=False, autocast=lambda: torch.autocast(self._device.type, enabled=False)
        )
        self._newest: _Newest | None = None
        self._seed = self._steps = 0

    @torch.inference_mode()
    def begin(self, image: UInt8Image, instruction: str, seed: int = 0) -> None:
        """Start from one frame, uint8 [y, 2 x, 3] (see `spliced`).

        Args:
            image: The frame.
            instruction: What the policy follows.
            seed: Of everything that is drawn; the first own chunk is what a policy sends in the episode of this seed.

        Raises:
            UserError: The frame is not of the checkpoint's size.
        """
        self._window.restart(self._prompts.tokens(instruction))
        self._seed, self._steps = seed, 0
        self._newest = self._seen(self._checked(image), None)

    def spliced(self, fixed: UInt8Image, wrist: UInt8Image) -> UInt8Image:
        """Return two cameras' images of any size, uint8 [y, x, 3], as the frame that the checkpoint sees."""
        embodiment = self.checkpoint.embodiment
        return splice_views(fixed, wrist, embodiment.image_height, embodiment.image_width)

    @torch.inference_mode()
    def correct(self, image: UInt8Image) -> None:
        """Put a frame that was really seen in the place of the newest one; the actions before it stay."""
        self._newest = self._seen(self._checked(image), self._pending().pack.past)

    @torch.inference_mode()
    def step(self, actions: Float32Array | None = None) -> ImaginedFrame:
        """Imagine one chunk ahead; the frame becomes the newest one.

        Args:
            actions: What is done, [8, a] in SI units; None: what the policy would do.

        Raises:
            UserError: begin was not called, or the actions are not a chunk of finite numbers.
        """
        newest = self._pending()
        output, _ = self._window.extend(newest.pack)
        self._window.commit()
        chunk = self._own_chunk(output) if actions is None else self._given_chunk(actions)
        past = torch.from_numpy(self.checkpoint.norm.normalize(chunk))[None].to(self._device)
        begun = self._seconds()
        image, latent = self._frame(output, newest.present, past)
        seconds = self._seconds() - begun
        self._newest = self._imagined(image, latent, past)
        self._steps += 1
        return ImaginedFrame(image, chunk, seconds)

    @torch.inference_mode()
    def watch(self) -> UInt8Image:
        """Imagine what comes next where nobody says what is done, as a model that learned from video alone can.

        Returns:
            The frame, uint8 [y, 2 x, 3] of two views; it becomes the newest one.

        Raises:
            UserError: begin was not called.
        """
        newest = self._pending()
        output, _ = self._window.extend(newest.pack)
        self._window.commit()
        image, latent = self._frame(output, newest.present, None)
        self._newest = self._imagined(image, latent, None)
        self._steps += 1
        return image

    def _frame(self, output: PackOutput, present: Tensor, chunk: Tensor | None) -> tuple[UInt8Image, Tensor]:
        anchor = self._window.anchor()  # of the instruction: computed once
        condition = self._model.frame_condition(anchor, output.frame_hidden, present, chunk)
        latent = sample_frame(self._model, condition, self.frames, self._random(FRAMES))
        return decode_frame(self.checkpoint.imagined_codec, latent), latent

    @torch.inference_mode()
    def attention(self) -> Float32Array:
        """Return where the actions of the last step looked in the frame before it, float32 [rows, columns].

        Shares of their attention on the grid of frame tokens, see action_attention.

        Raises:
            UserError: No step was made.
        """
        if not self._steps:
            raise UserError("nothing has been imagined yet: call step first")
        found: Float32Array = action_attention(self._model, *self._window.whole())[0, -1].cpu().numpy()
        return found

    def _seconds(self) -> float:
        return time.process_time() if self._device.type == "cpu" else time.perf_counter()

    def _pending(self) -> _Newest:
        if self._newest is None:
            raise UserError("an imagination has to begin with a frame: call begin first")
        return self._newest

    def _own_chunk(self, output: PackOutput) -> Float32Array:
        memory, _ = self._model.action_memory(output.action_hidden, output.frame_hidden, None, None)
        sampled = self._denoiser.sample(memory, self._random(ACTIONS))[0, 0]
        return executed_actions(self.checkpoint, sampled.float().cpu().numpy()).astype(np.float32)

    def _given_chunk(self, actions: Float32Array) -> Float32Array:
        action = self._model.config.action
        shape = (action.horizon, action.action_dim)
        if actions.shape != shape or not np.isfinite(actions).all():
            raise UserError(
                f"a chunk has {shape[0]} actions of {shape[1]} finite numbers, got {list(actions.shape)}"
            )
        return actions.astype(np.float32)

    def _checked(self, image: UInt8Image) -> UInt8Image:
        size = self._model.config.nova.image_size
        if image.dtype != np.uint8 or image.shape != (*size, 3):
            raise UserError(
                f"checkpoint {self.checkpoint.name} sees frames of {size[0]} x {size[1]} pixels, RGB, 8 bits, got "
                f"{list(image.shape)} of {image.dtype}"
            )
        return np.ascontiguousarray(image)

    def _seen(self, image: UInt8Image, past: Tensor | None) -> _Newest:
        """Return a picture as the newest frame."""
        codec, imagined_codec = self.checkpoint.codec, self.checkpoint.imagined_codec
        given = torch.from_numpy(image)[None].to(self._device)
        latent = codec.encode(given)
        return _Newest(
            Pack(latent, past), latent if imagined_codec is codec else imagined_codec.encode(given)
        )

    def _imagined(self, image: UInt8Image, latent: Tensor, past: Tensor | None) -> _Newest:
        """Return a frame that was imagined as the newest one: its latents, or what the policy would see of it."""
        codec = self.checkpoint.codec
        seen = latent
        if self.checkpoint.imagined_codec is not codec:
            seen = codec.encode(torch.from_numpy(image)[None].to(self._device))
        return _Newest(Pack(seen, past), latent)

    def _random(self, purpose: int) -> torch.Generator:
        return chunk_generator(0, self._seed, self._steps, purpose, self._device)
