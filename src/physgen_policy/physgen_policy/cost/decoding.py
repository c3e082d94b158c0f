# SPDX-License-Identifier: Apache-2.0
"""Arithmetic and memory traffic that a computation cannot avoid, from the architecture alone.

FLOPs: two per multiply-add of linear layers, convolutions and attention. Bytes: weights once, cached keys and values
once; activations are left out, so the floor is a lower bound. Formulas: docs/performance.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from physgen_policy.model.config import ActionConfig, ModelConfig
from physgen_policy.model.frame_codec import FrameCodec, build_frame_codec


@dataclass(frozen=True, slots=True)
class Cost:
    """Work of one stage."""

    flops: float
    """Two per multiply-add."""
    bytes: float
    """Weights, and cached keys and values, once each."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.bytes + other.bytes)

    def floor(self, flops_per_s: float, bytes_per_s: float) -> float:
        """Return the seconds of the slower of computing and moving, as if both overlapped perfectly."""
        return max(self.flops / flops_per_s, self.bytes / bytes_per_s)


def video_encoder(config: ModelConfig, new: int, cached: int, item: int, *, dense: bool = False) -> Cost:
    """Return the cost of new tokens on cached ones.

    Args:
        config: The model.
        new: Tokens that go through the blocks; they are text (when nothing is cached) and packs.
        cached: Tokens whose keys and values are kept.
        item: Bytes of a stored number.
        dense: Count every new token as seeing all tokens, as under a dense mask, instead of what it may see.
    """
    nova = config.nova
    parameters = (4 + 2 * nova.mlp_ratio) * nova.width**2  # qkv 3, projection 1, MLP twice the ratio
    pairs = float(new * (cached + new)) if dense else visible_pairs(config, new, cached)
    flops = nova.video_depth * (2.0 * new * parameters + 4.0 * nova.width * pairs)
    cache = 2 * (cached + new) * nova.width
    return Cost(flops, float(nova.video_depth * (parameters + cache) * item))


def visible_pairs(config: ModelConfig, new: int, cached: int) -> float:
    """Return how many pairs (query, key) the window mask allows for the last `new` tokens.

    They are text only if `cached` is 0.
    """
    frame, action, text = config.nova.frame_tokens, config.action.horizon, config.nova.text_len
    pairs, position = 0.0, cached
    if cached == 0:
        pairs, position = float(min(new, text) ** 2), min(new, text)
    while position < cached + new:
        pairs += frame * (position + frame)
        pairs += action * (position + frame) + action * (action + 1) / 2
        position += frame + action
    return pairs


def action_head(
    config: ActionConfig, width: int, memory: int, evaluations: int, item: int, *, samples: int = 1
) -> Cost:
    """Return the cost of denoising one chunk.

    Keys and values of `memory` tokens count once, modulations not at all (they are kept).

    Args:
        config: The head.
        width: Of a memory token.
        memory: Memory tokens.
        evaluations: Of the head per sample.
        item: Bytes of a stored number.
        samples: Drawn together.
    """
    w, tokens = config.dit_width, config.num_actions
    per_layer = (
        6 + 2 * config.dit_mlp_ratio
    ) * w**2  # qkv 3, two projections, query of the cross-attention, MLP
    projected = 2 * width * w  # keys and values of the memory, per layer
    ends = 2 * config.action_dim * w
    attention = 4.0 * w * tokens * (tokens + memory)
    each = samples * config.dit_depth * (2.0 * tokens * per_layer + attention) + samples * 2.0 * tokens * ends
    once = config.dit_depth * 2.0 * memory * projected
    modulations = (6 * config.dit_depth + 2) * w
    moved = config.dit_depth * (per_layer + 2 * memory * w) + ends + modulations
    return Cost(evaluations * each + once, float((evaluations * moved + config.dit_depth * projected) * item))


def frame_encoder(config: ModelConfig, item: int, *, collapse: bool = True) -> Cost:
    """Return the cost of one frame through the encoder half of the frame codec."""
    with torch.device("meta"):
        codec = build_frame_codec(config)
        module = codec.image_encoder(collapse=collapse)
        pixels = torch.empty(1, 3, *config.nova.image_size)
    return Cost(_module_flops(module, pixels), float(_numbers(module) * item))


def weights_bytes(model: nn.Module, codec: FrameCodec) -> int:
    """Return the bytes of all parameters of a policy, text encoder aside."""
    return sum(p.numel() * p.element_size() for module in (model, codec) for p in module.parameters())


def _numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _module_flops(module: nn.Module, pixels: Tensor) -> float:
    """Return FLOPs of convolutions and linear layers as they really run, and of attention over a frame's pixels."""
    total = 0.0

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight: Tensor = layer.weight  # type: ignore[assignment]
        if isinstance(layer, nn.Linear):
            total += 2.0 * output.numel() * layer.in_features
            if layer in queries:
                tokens, width = output.shape[-2], output.shape[-1]
                total += 4.0 * tokens * tokens * width
        else:
            total += 2.0 * output.numel() * weight[0].numel()

    queries = {layer for name, layer in module.named_modules() if name.endswith("to_q")}
    handles = [
        layer.register_forward_hook(count)
        for layer in module.modules()
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d)
    ]
    try:
        with torch.no_grad():
            module(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return total
