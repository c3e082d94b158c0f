# SPDX-License-Identifier: Apache-2.0
"""Generates latent frames: sets of masked tokens in random order, each denoised by the diffusion MLP; or the mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from physgen_policy.model.config import ModelConfig
from physgen_policy.model.embeddings import gather_rows, random_normal, unpatchify
from physgen_policy.model.frame_config import FramePrediction
from physgen_policy.model.frame_inputs import FrameCondition
from physgen_policy.model.frame_mean import mean_frame
from physgen_policy.model.nova import Nova
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import NoiseSchedule, cosine_schedule, noise_from_velocity
from physgen_policy.sampling.solver import ddpm

StartNoise = Callable[[int], Tensor]  # autoregressive step -> standard normal patch vectors [b, n, 16]
DenoiseNoise = Callable[[int, int], Tensor]  # (autoregressive step, denoising step) -> likewise
FrameSamplerKind = Literal["sample", "mean"]
FRAME_SAMPLERS: tuple[FrameSamplerKind, ...] = get_args(FrameSamplerKind)
FrameChoice = Literal["auto", "mean", "sample"]
FRAME_CHOICES: tuple[FrameChoice, ...] = get_args(FrameChoice)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSampler:
    """How frames are generated."""

    kind: FrameSamplerKind = "sample"
    """"sample" draws one of the frames that may come; "mean" computes their mean in one evaluation, which needs a model
    with frames.prediction v: nothing is drawn, and what is uncertain is blurred."""
    ar_steps: int = 8
    """Autoregressive steps of a sample."""
    denoise_steps: int = 10
    """Per autoregressive step."""
    temperature: float = 1.0
    """Multiplies all noise of a sample, so that 0 is close to the mean."""

    def __post_init__(self) -> None:
        if self.kind not in FRAME_SAMPLERS:
            known = " or ".join(f'"{kind}"' for kind in FRAME_SAMPLERS)
            raise ValueError(f"the frame sampler must be {known}, got {self.kind!r}")
        if self.ar_steps < 1 or self.denoise_steps < 1:
            raise ValueError(
                f"the frame sampler needs at least 1 step, got {self.ar_steps} autoregressive and "
                f"{self.denoise_steps} denoise steps"
            )
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"the temperature of frames must be 0 to 2, got {self.temperature}")

    @property
    def label(self) -> str:
        """The sampler in a few characters, for tables."""
        if self.kind == "mean":
            return "mean"
        return f"{self.ar_steps} x {self.denoise_steps}, T {self.temperature:g}"


def preview_sampler(config: ModelConfig) -> FrameSampler:
    """Return the cheapest sampler that shows what this model expects: the mean where there is one."""
    return FrameSampler(kind="mean" if config.frames.prediction == "v" else "sample")


def tokens_per_step(tokens: int, steps: int) -> list[int]:
    """Return how many tokens each step predicts, at least one, by the cosine rule.

    After step i round(tokens cos(pi/2 i/steps)) tokens stay masked.

    Raises:
        ValueError: More steps than tokens, or none.
    """
    if not 1 <= steps <= tokens:
        raise ValueError(
            f"the number of autoregressive steps must be 1 to {tokens} (tokens of a frame), got {steps}"
        )
    counts, left = [], tokens
    for step in range(1, steps + 1):
        still_masked = round(tokens * math.cos(math.pi / 2 * step / steps))
        still_masked = max(min(still_masked, left - 1), steps - step)
        counts.append(left - still_masked)
        left = still_masked
    return counts


def generate_frame(
    nova: Nova,
    condition: Tensor,
    *,
    order: Tensor,
    counts: list[int],
    denoise_steps: int,
    schedule: NoiseSchedule,
    start_noise: StartNoise,
    step_noise: DenoiseNoise,
    guidance: float | None = None,
    added: Tensor | None = None,
    prediction: FramePrediction = "epsilon",
) -> Tensor:
    """Generate one frame per row.

    Args:
        nova: The video backbone.
        condition: [b, m, d]; with guidance [2 b, m, d], the conditional half first.
        order: Token order [b, n].
        counts: Tokens of each autoregressive step, summing to n.
        denoise_steps: Per autoregressive step.
        schedule: The noise schedule.
        start_noise: Gives the noise that a set of tokens begins with.
        step_noise: Gives the fresh noise of a denoise step.
        guidance: Weight g of unconditional + g (conditional - unconditional), or None.
        added: What is added to the image tokens in their places [b, n, d]; with guidance [2 b, n, d].
        prediction: What the head predicts.

    Returns:
        fp32 latents [b, c, h, w].
    """
    config = nova.config
    rows, tokens = order.shape
    timesteps = schedule.sampling_timesteps(denoise_steps)
    patches = torch.zeros(rows, tokens, config.patch_dim, device=condition.device)
    done = 0
    for step, count in enumerate(counts):
        visible, wanted = order[:, :done], order[:, done : done + count]

        def noise(index: int, step: int = step, wanted: Tensor = wanted) -> Tensor:
            return gather_rows(step_noise(step, index), wanted)

        sample = generate_set(
            nova,
            condition,
            patches,
            visible=visible,
            wanted=wanted,
            start=gather_rows(start_noise(step), wanted),
            timesteps=timesteps,
            schedule=schedule,
            step_noise=noise,
            guidance=guidance,
            added=added,
            prediction=prediction,
        )
        patches = patches.scatter(1, wanted[..., None].expand_as(sample), sample)
        done += count
    return unpatchify(patches, config.image_grid, config.image_patch)


def generate_set(
    nova: Nova,
    condition: Tensor,
    patches: Tensor,
    *,
    visible: Tensor,
    wanted: Tensor,
    start: Tensor,
    timesteps: Sequence[int],
    schedule: NoiseSchedule,
    step_noise: Callable[[int], Tensor],
    guidance: float | None = None,
    added: Tensor | None = None,
    prediction: FramePrediction = "epsilon",
) -> Tensor:
    """Run one autoregressive step: denoise the patches `wanted` given those that are `visible`.

    Args:
        nova: The video backbone.
        condition: As in generate_frame.
        patches: Patch vectors of the frame so far [b, n, 16].
        visible: Indices [b, v].
        wanted: Indices [b, m].
        start: Noise of the wanted ones [b, m, 16].
        timesteps: Of the denoise steps, descending.
        schedule: The noise schedule.
        step_noise: Gives the fresh noise of a denoise step.
        guidance: As in generate_frame.
        added: As in generate_frame.
        prediction: What the head predicts.

    Returns:
        fp32 [b, m, 16].
    """
    halves = 1 if guidance is None else 2
    seen = visible.repeat(halves, 1)
    masked = nova.masked_tokens(patches.to(condition.dtype).repeat(halves, 1, 1), seen, added)
    z = nova.image_encoder(condition, masked, seen)
    z = gather_rows(z, wanted.repeat(halves, 1))

    def predict(x: Tensor, timestep: int) -> Tensor:
        time = torch.full((len(z), 1), timestep, device=x.device)
        out: Tensor = nova.image_decoder(x.to(z.dtype).repeat(halves, 1, 1), time, z)
        if guidance is not None:
            conditional, unconditional = out.chunk(2)
            out = unconditional + guidance * (conditional - unconditional)
        if prediction == "v":
            return noise_from_velocity(x, out, float(schedule.alphas_cumprod[timestep]))
        return out

    return ddpm(predict, start, timesteps, schedule, step_noise)


def sample_frame(
    model: PhysGen, condition: FrameCondition, sampler: FrameSampler, generator: torch.Generator
) -> Tensor:
    """Generate the frame that follows a pack.

    Args:
        model: The policy network.
        condition: Of PhysGen.frame_condition, one row per frame.
        sampler: How.
        generator: Unused by the mean.

    Returns:
        The scaled latents, fp32 [b, c, h, w].

    Raises:
        ValueError: The step counts do not fit, or the model has no mean.
    """
    if sampler.kind == "mean":
        return mean_frame(model, condition)
    nova, rows, device = model.nova, condition.tokens.shape[0], condition.tokens.device
    tokens, patch = nova.config.image_tokens, nova.config.patch_dim

    def noise(*_: int) -> Tensor:
        return sampler.temperature * random_normal((rows, tokens, patch), generator, device)

    order = torch.rand(rows, tokens, generator=generator, device=generator.device).argsort(dim=1).to(device)
    return generate_frame(
        nova,
        condition.tokens,
        order=order,
        counts=tokens_per_step(tokens, sampler.ar_steps),
        denoise_steps=sampler.denoise_steps,
        schedule=cosine_schedule(),
        start_noise=noise,
        step_noise=noise,
        added=condition.added,
        prediction=model.config.frames.prediction,
    )
