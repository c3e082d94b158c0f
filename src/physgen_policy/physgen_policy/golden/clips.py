# SPDX-License-Identifier: Apache-2.0
"""Computes the recorded tensors of the video encoder on whole clips: at once, block by block, and slot by slot."""

from __future__ import annotations

import torch
from torch import Tensor

from physgen_policy.golden.recording import Recording, Tensors
from physgen_policy.model.cache import KVCache
from physgen_policy.model.mask import slot_mask
from physgen_policy.model.nova import Nova


def clean_clip(r: Recording) -> Tensor:
    """Return the clean latents as [b, t, c, h, w]."""
    return r.real("video_encoder.in.latents").transpose(1, 2)


def condition_text(r: Recording, nova: Nova, batch: int) -> Tensor:
    """Return text tokens of the first prompts [b, l, d]."""
    out: Tensor = nova.text_embed(r.real("text.in.states")[:batch], r.ids("text.in.lengths")[:batch])
    return out


def run_clip(nova: Nova, condition: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Return hidden and mixed conditions [b, t, n, d] of latents [b, t, c, h, w], all slots at once."""
    batch, slots = latents.shape[:2]
    tokens = nova.clip_tokens(latents[:, :-1], nova.clip_coordinates(slots))
    mask = slot_mask(condition.shape[1], slots, nova.config.frame_tokens)
    stream = torch.cat([condition, tokens.flatten(1, 2)], dim=1)
    hidden = nova.video_encoder(stream, mask=mask, skip=condition.shape[1])
    hidden = hidden.view(batch, slots, -1, hidden.shape[-1])
    mixed = nova.video_encoder.mix(hidden[:, :1], hidden[:, 1:])
    return hidden, torch.cat([hidden[:, :1], mixed], dim=1)


def video_encoder_tensors(r: Recording, nova: Nova) -> Tensors:
    """Return tokens, mask, every block and the conditions of a clip; slot by slot on the cache; with motion tokens."""
    latents = clean_clip(r)
    batch, slots = latents.shape[:2]
    text = condition_text(r, nova, batch)
    num_text, frame_tokens = text.shape[1], nova.config.frame_tokens
    tokens = nova.clip_tokens(latents[:, :-1], nova.clip_coordinates(slots))
    streams: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output: streams.append(output))
        for block in nova.video_encoder.blocks
    ]
    hidden, cond = run_clip(nova, text, latents)
    for hook in hooks:
        hook.remove()
    ours = {
        "video_encoder.out.tokens": tokens,
        "video_encoder.out.allowed": slot_mask(num_text, slots, frame_tokens).to(torch.uint8),
        "video_encoder.out.hidden": hidden,
        "video_encoder.out.cond": cond,
        "video_encoder.out.hidden_T1": run_clip(nova, text, latents[:, :1])[0],
    }
    ours |= {f"video_encoder.out.block{index}": stream for index, stream in enumerate(streams)}
    ours |= _incremental(nova, text, tokens, hidden, cond)
    if "motion.in.flow" in r.tensors:
        motion = nova.motion_embed(r.real("motion.in.flow"), r.real("motion.in.fps"))
        with_motion = run_clip(nova, torch.cat([text, motion], dim=1), latents[:, :2])
        ours["video_encoder.out.hidden_T2_motion"], ours["video_encoder.out.cond_T2_motion"] = with_motion
    return ours


def _incremental(nova: Nova, text: Tensor, tokens: Tensor, hidden: Tensor, cond: Tensor) -> Tensors:
    """Return the same conditions from text and slot 0 first, then slot by slot on the cache."""
    config = nova.config
    batch, slots, frame_tokens, _ = tokens.shape
    num_text = text.shape[1]
    cache = KVCache(
        layers=config.video_depth,
        batch=batch,
        heads=config.heads,
        capacity=num_text + slots * frame_tokens,
        head_dim=config.head_dim,
        dtype=torch.float32,
        device=text.device,
    )
    outputs, after_first = [], (torch.empty(0), torch.empty(0))
    for slot in range(slots):
        new = torch.cat([text, tokens[:, 0]], dim=1) if slot == 0 else tokens[:, slot]
        outputs.append(nova.video_encoder(new, cache=cache, skip=num_text if slot == 0 else 0))
        if slot == 0:
            after_first = (
                cache.keys[0, :, :, : cache.length].clone(),
                cache.values[0, :, :, : cache.length].clone(),
            )
    stepwise = torch.stack(outputs, dim=1)
    mixed = torch.cat([stepwise[:, :1], nova.video_encoder.mix(stepwise[:, :1], stepwise[:, 1:])], dim=1)
    return {
        "video_encoder.out.hidden_incremental": stepwise,
        "video_encoder.out.cond_incremental": mixed,
        "video_encoder.out.full_vs_incremental_maxabs": torch.stack(
            [(stepwise - hidden).abs().max(), (mixed - cond).abs().max()]
        ),
        "video_encoder.cache.layer0.k_after_slot0": after_first[0],
        "video_encoder.cache.layer0.v_after_slot0": after_first[1],
        "video_encoder.cache.last_layer.k_final": cache.keys[-1, :, :, : cache.length],
    }
