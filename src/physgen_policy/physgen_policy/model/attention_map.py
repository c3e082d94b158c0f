# SPDX-License-Identifier: Apache-2.0
"""Where the action tokens look: their attention over the frame tokens of a window, as PhysGen's authors draw it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.rotary import rotate
from physgen_policy.model.transformer import Attention


@torch.no_grad()
def action_attention(
    model: PhysGen, text_tokens: Tensor, latents: Tensor, past_actions: Tensor, boa: Tensor
) -> Tensor:
    """Return how much of the attention of the newest pack's action slots goes to every frame token of the window.

    The mean over action slots, heads and layers of the video encoder. What is missing to 1 goes to the text and to
    action tokens.

    Args:
        model: The policy network.
        text_tokens: Of the instructions [b, l, d].
        latents: Scaled latents of the frames [b, p, c, h, w].
        past_actions: Normalised [b, p, k, a].
        boa: Packs that carry Begin-of-Action instead, bool [b, p].

    Returns:
        fp32 [b, p, rows, columns] on the grid of frame tokens.
    """
    nova, slots = model.config.nova, model.config.action.horizon
    shares: list[Tensor] = []

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        assert isinstance(module, Attention)
        shares.append(_share(module, slots, *arguments[:3]))

    layers = [part for part in model.nova.video_encoder.modules() if isinstance(part, Attention)]
    hooks = [layer.register_forward_pre_hook(record) for layer in layers]
    try:
        model.full(text_tokens, latents, past_actions, boa)
    finally:
        for hook in hooks:
            hook.remove()
    tokens = torch.stack(shares).mean(dim=0)[:, text_tokens.shape[1] :]
    packs = tokens.unflatten(1, (latents.shape[1], nova.frame_tokens + slots))
    return packs[:, :, : nova.frame_tokens].unflatten(2, nova.video_grid)


def _share(module: Attention, slots: int, x: Tensor, mask: Tensor, rope: Tensor | None) -> Tensor:
    """Return the mean weight of every key over the last `slots` queries and all heads, fp32 [b, s]."""
    width = x.shape[-1] // module.heads
    q, k, _ = module.qkv(x).unflatten(-1, (3, module.heads, width)).permute(2, 0, 3, 1, 4).float()
    if rope is not None:
        q, k = rotate(q, rope), rotate(k, rope)
    scores = q[:, :, -slots:] @ k.transpose(-1, -2) * width**-0.5
    weights = scores.masked_fill(~mask[-slots:], -torch.inf).softmax(dim=-1)
    return weights.mean(dim=(1, 2))
