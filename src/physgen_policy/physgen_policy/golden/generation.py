# SPDX-License-Identifier: Apache-2.0
"""Computes with our model what the published one's recording holds: noise schedule, one denoised frame, whole clips.

`physgen verify-golden` compares the two by the names of the recorded tensors.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from physgen_policy.golden.clips import condition_text
from physgen_policy.golden.recording import Recording, Tensors
from physgen_policy.model.embeddings import patchify, unpatchify
from physgen_policy.model.mask import slot_mask
from physgen_policy.model.nova import Nova
from physgen_policy.model.schedule import cosine_schedule
from physgen_policy.sampling.frame import generate_frame
from physgen_policy.sampling.solver import ddim, ddpm


def schedule_tensors(r: Recording) -> Tensors:
    """Return the noise schedule and the timesteps of its solvers."""
    schedule = cosine_schedule()
    ours = {"schedule.out.alphas_cumprod": schedule.alphas_cumprod}
    for kind in ("ddpm", "ddim"):
        for steps in r.numbers(f"schedule.out.timesteps_{kind}"):
            ours[f"schedule.out.timesteps_{kind}{steps}"] = torch.tensor(schedule.sampling_timesteps(steps))
    return ours


def denoise_tensors(r: Recording, nova: Nova) -> Tensors:
    """Return one frame from recorded noise, after every step of DDPM and by DDIM."""
    grid, patch = nova.config.image_grid, nova.config.image_patch
    start, z = patchify(r.real("denoise.in.init_noise"), patch), r.real("head.in.z")[:1]
    noises = r.real("denoise.in.step_noise")
    schedule = cosine_schedule()
    ours: Tensors = {}

    def predict(x: Tensor, timestep: int) -> Tensor:
        out: Tensor = nova.image_decoder(x, torch.full((1, 1), timestep), z)
        return out

    def keep(done: int, x: Tensor) -> None:
        ours[f"denoise.out.ddpm{len(noises)}_after_step{done}"] = unpatchify(x, grid, patch)

    steps = schedule.sampling_timesteps(len(noises))
    ddpm(predict, start, steps, schedule, lambda index: patchify(noises[index], patch), observe=keep)
    x = ddim(predict, start, schedule.sampling_timesteps(r.ddim_steps), schedule)
    ours[f"denoise.out.ddim{r.ddim_steps}"] = unpatchify(x, grid, patch)
    return ours


def generate_tensors(r: Recording, nova: Nova) -> Tensors:
    """Return two whole clips: one without guidance and, where guidance was recorded, one with it."""
    ours = {"generate.out.latents_nocfg": _generate_clip(r, nova, None)}
    if r.guidance is not None:
        ours["generate.out.latents_cfg"] = _generate_clip(r, nova, r.guidance)
    return ours


def _generate_clip(r: Recording, nova: Nova, guidance: float | None) -> Tensor:
    """Return a whole clip [1, c, t, h, w] for prompt 0 with every generated frame fed back."""
    order, counts = r.ids("generate.in.order"), r.ids("generate.in.num_preds").tolist()
    start, noises = r.real("generate.in.init_noise"), r.real("generate.in.step_noise")
    slots = start.shape[0] // len(counts)
    denoise_steps = noises.shape[0] // start.shape[0]
    start, noises = (
        start.unflatten(0, (slots, len(counts))),
        noises.unflatten(0, (slots, len(counts), denoise_steps)),
    )
    patch = nova.config.image_patch
    text = condition_text(r, nova, 1)
    if guidance is not None:
        empty = nova.text_embed(r.real("text.in.states")[:1], torch.zeros(1, dtype=torch.long))
        text = torch.cat([text, empty])
    frames: list[Tensor] = []
    for slot in range(slots):
        history = torch.stack([*frames, torch.zeros_like(start[0, 0])], dim=1).repeat(
            text.shape[0], 1, 1, 1, 1
        )
        # Only the slots so far are run, but the time coordinates are those of the whole clip.
        tokens = nova.clip_tokens(history[:, :-1], nova.clip_coordinates(slots)[: slot + 1])
        mask = slot_mask(text.shape[1], slot + 1, nova.config.frame_tokens)
        stream = torch.cat([text, tokens.flatten(1, 2)], dim=1)
        hidden = nova.video_encoder(stream, mask=mask, skip=text.shape[1])
        hidden = hidden.view(text.shape[0], slot + 1, -1, hidden.shape[-1])
        condition = hidden[:, 0] if slot == 0 else nova.video_encoder.mix(hidden[:, 0], hidden[:, slot])
        frames.append(
            generate_frame(
                nova,
                condition,
                order=order,
                counts=counts,
                denoise_steps=denoise_steps,
                schedule=cosine_schedule(),
                start_noise=partial(_patches_at, start[slot], patch),
                step_noise=partial(_patches_at, noises[slot], patch),
                guidance=guidance,
            )
        )
    return torch.stack(frames, dim=2)


def _patches_at(noise: Tensor, patch: int, *index: int) -> Tensor:
    return patchify(noise[index], patch)
