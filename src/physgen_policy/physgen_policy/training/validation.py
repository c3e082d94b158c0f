# SPDX-License-Identifier: Apache-2.0
"""What a policy in training is worth: errors of sampled chunks, size of the attention logits, effect of the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physgen_policy.contract.normalize import NormStats
from physgen_policy.data.windows import Window, max_packs
from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.transformer import Attention
from physgen_policy.sampling.actions import sample_actions
from physgen_policy.sampling.solver import SamplerConfig
from physgen_policy.training.batches import EpisodeTensors, collate, idle_action, window_batch
from physgen_policy.training.text_states import TextSource


@torch.no_grad()
def validate(
    model: PhysGen,
    text_encoder: TextSource,
    episodes: Sequence[EpisodeTensors],
    config: ModelConfig,
    norm: NormStats,
    denoise_steps: int = 10,
) -> dict[str, float]:
    """Return action errors of sampled chunks on at least one held-out episode, the way a rollout samples.

    Returns:
        Mean absolute errors of the executed chunk: translation [m], rotation [rad], gripper sign mismatch rate, and the
        median translation error [m].
        first_chunk_error: median error of the displacement over the whole first chunk [m], which the first picture
            alone decides; absent where no episode shows one. Later chunks can be right on average by going on as
            demonstrations do, the first cannot.
        logit_bound: what largest_logit_bound says.
        instruction_effect: median change of the first chunk's displacement [m] when another episode's instruction is
            given, with the same noise; absent where there is only one instruction.
    """
    errors: list[NDArray[np.float32]] = []
    first: list[float] = []
    with largest_logit_bound(model) as bound:
        for episode in episodes:
            packs = max_packs(len(episode.actions), 0, config.context_packs, config.action.horizon)
            batch = _aligned(episode, packs, config, norm, model, text_encoder)
            horizon = config.action.horizon
            target = norm.denormalize(batch.target_actions[0, :, :horizon].cpu().numpy())
            mask = batch.target_mask[0, :, :horizon].cpu().numpy()
            error = _sampled(model, batch, norm, denoise_steps) - target
            errors.append(error[mask])
            if mask[0].all():
                first.append(float(np.linalg.norm(error[0, :, :3].sum(axis=0))))
    error = np.concatenate(errors)
    translation = np.linalg.norm(error[:, :3], axis=1)
    found = {
        "translation_error": float(translation.mean()),
        "translation_error_median": float(np.median(translation)),
        "rotation_error": float(np.linalg.norm(error[:, 3:6], axis=1).mean()),
        "gripper_mismatch": float((np.abs(error[:, 6]) > 1.0).mean()),
        "logit_bound": bound(),
    }
    if first:
        found["first_chunk_error"] = float(np.median(first))
    instructions = sorted({episode.instruction for episode in episodes})
    if len(instructions) > 1:
        changes = []
        for episode in episodes:
            other = instructions[(instructions.index(episode.instruction) + 1) % len(instructions)]
            own, changed = (
                _sampled(model, _aligned(told, 1, config, norm, model, text_encoder), norm, denoise_steps)[
                    0, :, :3
                ].sum(axis=0)
                for told in (episode, replace(episode, instruction=other))
            )
            changes.append(float(np.linalg.norm(own - changed)))
        found["instruction_effect"] = float(np.median(changes))
    return found


@contextmanager
def largest_logit_bound(model: PhysGen) -> Iterator[Callable[[], float]]:
    """Within the block, watch how large attention logits in the transformer's blocks can be; call the value for it.

    Per head the largest |q| times the largest |k| over the square root of the head's width, which no logit passes and
    which rotary embeddings do not change. Logits of many hundreds pick single keys, and almost no gradient reaches
    the others; the bound may be that large while the logits are not.
    """
    largest = [0.0]

    def watch(attention: Attention) -> Callable[[torch.nn.Module, object, Tensor], None]:
        def look(_module: torch.nn.Module, _inputs: object, out: Tensor) -> None:
            parts = out.detach().float().unflatten(-1, (3, attention.heads, -1))
            norms = parts[..., :2, :, :].norm(dim=-1).flatten(0, -3).amax(dim=0)  # of q and k, [2, heads]
            bound = norms.prod(dim=0).max() / parts.shape[-1] ** 0.5
            largest[0] = max(largest[0], float(bound))

        return look

    layers = [module for module in model.nova.video_encoder.modules() if isinstance(module, Attention)]
    handles = [layer.qkv.register_forward_hook(watch(layer)) for layer in layers]
    try:
        yield lambda: largest[0]
    finally:
        for handle in handles:
            handle.remove()


def _aligned(
    episode: EpisodeTensors,
    packs: int,
    config: ModelConfig,
    norm: NormStats,
    model: PhysGen,
    text_encoder: TextSource,
) -> WindowBatch:
    """Return the first packs of an episode as a rollout would see them, a batch of one."""
    action = config.action
    picked = [(episode, Window(0, packs, True))]
    batch = collate(picked, horizon=action.horizon, num_chunks=action.num_chunks, idle=idle_action(norm))
    return window_batch(batch, text_encoder).to(model.action_tokenizer.slot.device)


def _sampled(model: PhysGen, batch: WindowBatch, norm: NormStats, denoise_steps: int) -> NDArray[np.float32]:
    """Return the executed chunk of every pack [p, 8, action_dim], SI units; equal inputs draw equal noise."""
    text = model.text_tokens(batch.text_states, batch.text_lengths)
    packs = batch.past_actions.shape[1]
    hidden = model.full(text, batch.latents[:, :packs], batch.past_actions, batch.boa)
    sampled = sample_actions(
        model,
        hidden.action_hidden.flatten(0, 1),
        None,
        SamplerConfig(kind="ddim", steps=denoise_steps),
        torch.Generator().manual_seed(0),
        frame_hidden=hidden.frame_hidden.flatten(0, 1),
    )
    return norm.denormalize(sampled[:, 0].float().cpu().numpy())
