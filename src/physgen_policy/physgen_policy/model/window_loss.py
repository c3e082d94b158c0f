# SPDX-License-Identifier: Apache-2.0
"""The joint noise-prediction loss of PhysGen on windows: its action part and its frame part."""

from __future__ import annotations

import torch
from torch import Tensor

from physgen_policy.model.action_bins import bin_losses
from physgen_policy.model.batch import Losses, PackOutput, WindowBatch
from physgen_policy.model.draws import Randomness, RowDraws
from physgen_policy.model.frame_loss import frame_loss
from physgen_policy.model.frame_mean import mean_frame
from physgen_policy.model.nova import Nova
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import cosine_schedule


def window_loss(
    model: PhysGen,
    batch: WindowBatch,
    generator: Randomness,
    *,
    obs_loss_frames: int = 1,
    draws: int = 4,
    obs_weight: float = 1.0,
    actions_known: bool = True,
    mean_frames: bool = False,
) -> Losses:
    """Return the joint noise-prediction loss on windows; safe under autocast, errors in fp32.

    Args:
        model: The policy network.
        batch: The windows.
        generator: One for the batch, or one per window (then neighbours do not change what a window draws).
        obs_loss_frames: Random target frames per window that get the frame loss; 0 leaves it out.
        draws: Of the diffusion time per frame and per action sequence.
        obs_weight: Weight of the frame loss in the total.
        actions_known: Whether there are actions: to predict, and for the frame path to read the chunk that leads to its
            frame, where it is made to. Without them the action loss is 0 of 0 actions.
        mean_frames: Take the squared error of the mean of the frame instead of the frame loss.
    """
    num_packs = int(batch.pack_mask.sum(dim=1).max())
    packs = slice(0, num_packs)  # trailing packs that are padding in every window are not computed
    valid = batch.pack_mask[:, packs]
    text = model.text_tokens(batch.text_states, batch.text_lengths)
    latents = batch.latents[:, packs].masked_fill(~valid[..., None, None, None], 0.0)
    boa = batch.boa[:, packs] | ~valid
    output = model.full(text, latents, batch.past_actions[:, packs], boa)

    if actions_known:
        action, per_chunk, actions = _action_loss(model, batch, output, valid, draws, generator)
    else:
        action, actions = output.action_hidden.sum() * 0.0, torch.zeros((), device=valid.device)
        per_chunk = action.detach().expand(model.config.action.num_chunks)
    if obs_loss_frames and obs_weight:
        observation, frames = _observation_loss(
            model, batch, text, output, obs_loss_frames, draws, generator, actions_known, mean_frames
        )
    else:
        observation, frames = torch.zeros_like(action), 0
    return Losses(
        total=action + obs_weight * observation,
        observation=observation,
        action=action,
        num_actions=actions,
        num_frames=torch.tensor(frames, device=action.device),
        action_per_chunk=per_chunk,
        action_hidden=output.action_hidden,
    )


def _action_loss(
    model: PhysGen, batch: WindowBatch, output: PackOutput, valid: Tensor, draws: int, generator: Randomness
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean error, its parts per chunk, and over how many actions it is the mean."""
    config, device = model.config.action, valid.device
    schedule = cosine_schedule(config.train_timesteps)
    window, pack = valid.nonzero(as_tuple=True)
    target = batch.target_actions[window, pack].float()
    mask = batch.target_mask[window, pack]
    target = target.masked_fill(~mask[..., None], 0.0)
    rows = RowDraws(generator, window, device)

    plan = plan_mask = None
    if config.plan_conditioning:
        plan = batch.plan_actions[window, pack].float()
        plan = plan + config.plan_noise * rows.normal(*plan.shape[1:])
        kept = rows.uniform() >= config.plan_dropout
        plan_mask = batch.plan_mask[window, pack] & kept
    memory, memory_mask = model.action_memory(
        output.action_hidden[window, pack], output.frame_hidden[window, pack], plan, plan_mask
    )
    kv = model.action_head.memory_kv(memory)
    if config.prediction == "bins":
        blank, start = torch.zeros_like(target[:, None]), torch.zeros_like(window[:, None])
        logits = model.action_head(blank, start, kv, memory_mask)
        errors = bin_losses(logits[:, 0], target, config.bins) * mask
    else:
        noise = rows.normal(draws, *target.shape[1:])
        timesteps = rows.timesteps(config.train_timesteps, draws)
        noisy = schedule.add_noise(target[:, None], noise, timesteps[..., None])
        predicted = model.action_head(noisy, timesteps, kv, memory_mask)
        wanted = noise
        if config.prediction == "v":
            wanted = schedule.velocity(target[:, None], noise, timesteps[..., None])
        errors = (predicted - wanted).square().mean(dim=(1, 3)) * mask
    loss = errors.sum() / mask.sum().clamp(min=1)
    chunks = (config.num_chunks, config.horizon)
    sums = errors.detach().unflatten(1, chunks).sum(dim=(0, 2))
    return loss, sums / mask.unflatten(1, chunks).sum(dim=(0, 2)).clamp(min=1), mask.sum()


def _observation_loss(
    model: PhysGen,
    batch: WindowBatch,
    text: Tensor,
    output: PackOutput,
    frames: int,
    draws: int,
    generator: Randomness,
    actions_known: bool,
    mean_frames: bool,
) -> tuple[Tensor, int]:
    """Return the mean error, and over how many frames it is the mean."""
    num_packs = output.frame_hidden.shape[1]
    exists = batch.frame_mask[:, :num_packs] & batch.pack_mask[:, :num_packs]
    every = torch.arange(exists.shape[0], device=exists.device)
    # Packs that only the longest window of the batch has must not change what the others draw.
    drawn = num_packs if isinstance(generator, torch.Generator) else model.config.context_packs
    scores = RowDraws(generator, every, exists.device).uniform(drawn)[:, :num_packs]
    scores = scores.masked_fill(~exists, -1.0)
    chosen = scores.topk(min(frames, num_packs), dim=1).indices
    picked = torch.zeros_like(exists).scatter(1, chosen, True) & exists
    window, pack = picked.nonzero(as_tuple=True)
    if len(window) == 0:
        return output.frame_hidden.sum() * 0.0, 0
    mixes = model.nova.video_encoder.mixer is not None
    horizon = model.config.action.horizon
    condition = model.frame_condition(
        anchors(model.nova, batch, text)[window] if mixes else None,
        output.frame_hidden[window, pack],
        batch.imagined[window, pack].float(),
        batch.target_actions[window, pack, :horizon].float() if actions_known else None,
    )
    following = batch.imagined[window, pack + 1].float()
    if mean_frames:
        return (mean_frame(model, condition) - following).square().mean(), len(window)
    loss = frame_loss(
        model.nova,
        condition,
        following,
        draws=draws,
        schedule=cosine_schedule(),
        rows=RowDraws(generator, window, condition.tokens.device),
        prediction=model.config.frames.prediction,
    )
    return loss, len(window)


def anchors(nova: Nova, batch: WindowBatch, text: Tensor) -> Tensor:
    """Return the anchor of every window; computed once for windows with the same instruction."""
    states = batch.text_states.detach().flatten(1)
    key = torch.cat([states, batch.text_lengths[:, None].to(states.dtype)], dim=1)
    unique, inverse = torch.unique(key, dim=0, return_inverse=True)
    first = torch.full((len(unique),), len(key), device=key.device)
    first = first.scatter_reduce(0, inverse, torch.arange(len(key), device=key.device), "amin")
    return nova.anchor(text[first])[inverse]
