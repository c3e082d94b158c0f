# SPDX-License-Identifier: Apache-2.0
"""Computes, with our modules, every tensor family that a golden recording may hold. All fp32 on the CPU.

Names follow the recordings: family.in.* are inputs, family.out.* and family.cache.* are what we must reproduce.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from physgen_policy.golden.clips import clean_clip, condition_text, run_clip, video_encoder_tensors
from physgen_policy.golden.generation import denoise_tensors, generate_tensors, schedule_tensors
from physgen_policy.golden.recording import Recording, Tensors
from physgen_policy.model.diffusion_mlp import AdaptiveNorm
from physgen_policy.model.embeddings import TIME_FREQUENCIES, gather_rows, patchify, sinusoid, unpatchify
from physgen_policy.model.frame_codec import pixels_from_uint8
from physgen_policy.model.frame_loss import clip_loss
from physgen_policy.model.nova import Nova
from physgen_policy.model.open_sora_vae import OpenSoraVae
from physgen_policy.model.schedule import cosine_schedule

DEFAULT_FLOW, DEFAULT_FPS = 5.0, 12.0  # motion values of the published pipeline


def compute_all(recording: Recording, nova: Nova, vae: OpenSoraVae | None) -> tuple[Tensors, dict[str, str]]:
    """Return our tensors by recorded name, and a sentence for each family that could not be computed."""
    families: dict[str, Callable[[], Tensors]] = {
        "text.": lambda: _text(recording, nova),
        "motion.": lambda: _motion(recording, nova),
        "patch.": lambda: _patch(recording, nova),
        "pos.": lambda: _positions(recording, nova),
        "video_encoder.": lambda: video_encoder_tensors(recording, nova),
        "image_encoder.": lambda: _image_encoder(recording, nova),
        "head.": lambda: _head(recording, nova),
        "norm_probe.": lambda: _norm_probe(recording, nova, vae),
        "loss.": lambda: _loss(recording, nova),
        "schedule.": lambda: schedule_tensors(recording),
        "denoise.": lambda: denoise_tensors(recording, nova),
        "generate.": lambda: generate_tensors(recording, nova),
    }
    if vae is not None:
        families["vae."] = lambda: _vae(recording, vae)
    ours: Tensors = {}
    problems: dict[str, str] = {}
    for family, compute in families.items():
        if not any(name.startswith(family) for name in recording.tensors):
            continue
        try:
            with torch.set_grad_enabled(family == "loss."):
                ours.update({name: value.detach() for name, value in compute().items()})
        except KeyError as error:
            problems[family] = f"the recording lacks the input {error}"
        except (RuntimeError, ValueError, IndexError) as error:
            problems[family] = f"not computable: {str(error).splitlines()[0]}"
    return ours, problems


def _text(r: Recording, nova: Nova) -> Tensors:
    states, lengths = r.real("text.in.states"), r.ids("text.in.lengths")
    return {
        "text.out.padded_states": nova.text_embed.pad(states, lengths),
        "text.out.embed": nova.text_embed(states, lengths),
    }


def _motion(r: Recording, nova: Nova) -> Tensors:
    flow, fps = r.real("motion.in.flow"), r.real("motion.in.fps")
    defaults = torch.full_like(flow, DEFAULT_FLOW), torch.full_like(fps, DEFAULT_FPS)
    return {
        "motion.out.embed": nova.motion_embed(flow, fps),
        "motion.out.embed_default": nova.motion_embed(*defaults),
    }


def _patch(r: Recording, nova: Nova) -> Tensors:
    first = clean_clip(r)[:, 0]
    return {
        "patch.out.head": nova.image_decoder.patch_embed(first[:1]),
        "patch.out.image": nova.image_encoder.patch_embed(first[:1]),
        "patch.out.video": nova.video_encoder.patch_embed(first[:1]),
        "patch.out.patchify": patchify(first, nova.config.image_patch),
    }


def _positions(r: Recording, nova: Nova) -> Tensors:
    ours = {"pos.out.space_image": nova.image_space(), "pos.out.space_video": nova.video_space()}
    for slots in r.numbers("pos.out.time_T"):
        ours[f"pos.out.time_T{slots}"] = nova.video_pos_embed(nova.clip_coordinates(slots))
    return ours


def _image_encoder(r: Recording, nova: Nova) -> Tensors:
    first, condition = clean_clip(r)[:, 0], r.real("image_encoder.in.cond")
    visible = r.ids("image_encoder.in.visible_ids")
    half = len(nova.image_encoder.blocks) // 2
    streams: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output: streams.append(output))
        for block in nova.image_encoder.blocks
    ]
    z = nova.image_features(condition, first, visible)
    for hook in hooks:
        hook.remove()
    return {
        "image_encoder.out.z": z,
        "image_encoder.out.last_first_half": streams[half - 1][:1],
        "image_encoder.out.first_second_half": streams[half][:1],
        "image_encoder.out.z_none_visible": nova.image_features(condition, first, visible[:, :0]),
    }


def _head(r: Recording, nova: Nova) -> Tensors:
    noisy, z = patchify(r.real("head.in.noisy"), nova.config.image_patch), r.real("head.in.z")
    per_image, ids = r.ids("head.in.timestep_per_image"), r.ids("head.in.pred_ids")
    head = nova.image_decoder
    return {
        "head.out.eps_per_token_t": head(noisy, r.ids("head.in.timestep_per_token"), z),
        "head.out.eps_per_image_t": head(noisy, per_image[:, None], z),
        "head.out.eps_pred_ids": head(gather_rows(noisy, ids), per_image[:, None], gather_rows(z, ids)),
        "head.out.time_sinusoid": sinusoid(per_image, TIME_FREQUENCIES, cosine_first=True),
    }


def _norm_probe(r: Recording, nova: Nova, vae: OpenSoraVae | None) -> Tensors:
    small, small_head = r.real("norm_probe.in.small"), r.real("norm_probe.in.small_head")
    activated = F.silu(r.real("norm_probe.in.head_cond"))
    video, head = nova.video_encoder, nova.image_decoder
    first = head.blocks[0]
    assert isinstance(first.norm1, AdaptiveNorm)
    modulated, gate = first.norm1(small_head, activated)
    ours = {
        "norm_probe.out.block0_norm1": video.blocks[0].norm1(small),  # type: ignore[operator]
        "norm_probe.out.block0_norm2": video.blocks[0].norm2(small),  # type: ignore[operator]
        "norm_probe.out.final_norm": video.norm(small),
        "norm_probe.out.text_norm": nova.text_embed.norm(small),
        "norm_probe.out.time_norm": nova.video_pos_embed.norm(small),
        "norm_probe.out.head_block0_modulated": modulated,
        "norm_probe.out.head_block0_gate": gate,
        "norm_probe.out.head_block0_norm2": first.norm2(small_head),  # type: ignore[operator]
        "norm_probe.out.head_final_modulated": head.norm(small_head, activated)[0],
    }
    if vae is not None and "norm_probe.in.small_vae" in r.tensors:
        volume = r.real("norm_probe.in.small_vae")
        attention = vae.encoder.mid_block.attentions[0]
        ours["norm_probe.out.vae_attention_group_norm"] = attention.group_norm(volume)  # type: ignore[operator]
        ours["norm_probe.out.vae_encoder_conv_norm_out"] = vae.encoder.conv_norm_out(volume)
    return ours


def _loss(r: Recording, nova: Nova) -> Tensors:
    latents = clean_clip(r)
    batch, slots = latents.shape[:2]
    schedule = cosine_schedule()
    noise, timesteps, visible = (
        r.real("loss.in.noise"),
        r.ids("loss.in.timestep"),
        r.ids("loss.in.visible_ids"),
    )
    features: list[Tensor] = []
    predictions: list[Tensor] = []
    hooks = [
        nova.image_encoder.register_forward_hook(lambda _module, _inputs, output: features.append(output)),
        nova.image_decoder.register_forward_hook(lambda _module, _inputs, output: predictions.append(output)),
    ]
    nova.zero_grad()
    text = condition_text(r, nova, batch)
    cond = run_clip(nova, text, latents)[1]
    settings = {"visible_ids": visible, "noise": noise, "timesteps": timesteps}
    first, later, errors = clip_loss(nova, cond, latents, schedule=schedule, **settings)
    (first + later).backward()
    for hook in hooks:
        hook.remove()
    flat = patchify(latents.flatten(0, 1), nova.config.image_patch)
    noisy = schedule.add_noise(flat[:2], noise[:2], timesteps[:2])
    ours = {
        "loss.out.loss_first_frame": first.view(1),
        "loss.out.loss_later_frames": later.view(1),
        "loss.out.total": (first + later).view(1),
        "loss.out.mse_per_token": errors,
        "loss.out.z": features[0][[0, -1]],
        "loss.out.eps_pred_first2": predictions[0][:2],
        "loss.out.noisy_first2": unpatchify(noisy, nova.config.image_grid, nova.config.image_patch),
    }
    parameters = dict(nova.named_parameters())
    for name in r.tensors:
        parameter = name.removeprefix("loss.out.grad.")
        if parameter != name and parameter in parameters:
            grad = parameters[parameter].grad
            ours[name] = torch.zeros_like(parameters[parameter]) if grad is None else grad.clone()
    nova.zero_grad()
    with torch.no_grad():
        rows = noise.shape[0] // slots
        single = {"visible_ids": visible[:batch], "noise": noise[:rows], "timesteps": timesteps[:rows]}
        cond = run_clip(nova, text, latents[:, :1])[1]
        first, later, _ = clip_loss(nova, cond, latents[:, :1], schedule=schedule, **single)
        ours["loss.out.total_T1"] = (first + later).view(1)
    return ours


def _vae(r: Recording, vae: OpenSoraVae) -> Tensors:
    pixels, latents = pixels_from_uint8(r.tensors["vae.in.pixels_uint8"]), r.real("vae.in.latents")
    ours: Tensors = {}
    ours["vae.out.mean_image"], ours["vae.out.logvar_image"] = vae.encode(pixels[:, :, 0])
    for frames in r.numbers("vae.out.mean_T"):
        mean, logvar = vae.encode(pixels[:, :, :frames])
        ours[f"vae.out.mean_T{frames}"], ours[f"vae.out.logvar_T{frames}"] = mean, logvar
    for frames in r.numbers("vae.out.scaled_sample_T"):
        mean, logvar = vae.encode(pixels[:, :, :frames])
        sample = mean + (0.5 * logvar).exp() * r.real("vae.in.posterior_noise")
        ours[f"vae.out.scaled_sample_T{frames}"] = r.scaling_factor * sample
    ours["vae.out.decoded_image"] = vae.decode(latents[:, :, 0])
    for count in r.numbers("vae.out.decoded_L"):
        ours[f"vae.out.decoded_L{count}"] = vae.decode(latents[:, :, :count])
    for name in r.tensors:
        if match := re.match(r"vae\.out\.decoded_L(\d+)_frames(\d+)to(\d+)$", name):
            count, low, high = (int(number) for number in match.groups())
            ours[name] = vae.decode(latents[:, :, :count])[:, :, low : high + 1]
    return ours
