# SPDX-License-Identifier: Apache-2.0
"""The video encoder alone: full window, new pack on a cached window, first step; in float32 and bfloat16.

efficiency = (FLOPs under a dense mask / time) / (FLOP/s of F.linear with as many rows, measured beside it). It is the
figure that moves little from machine to machine.
"""

from __future__ import annotations

import copy
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from physgen_policy.cost import decoding as cost
from physgen_policy.cost.machine import DTYPES, matmul_rate, time_calls
from physgen_policy.model.cache import KVCache
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.mask import window_mask, window_segments
from physgen_policy.model.nova import VideoEncoder


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderCase:
    """Result for one number of new tokens."""

    case: str
    """What was run, in words."""
    dtype: str
    new: int
    """Tokens that go through the blocks."""
    cached: int
    """Tokens whose keys and values are there already."""
    dense_mask: bool
    """Every token sees all others, instead of what the window mask allows."""
    seconds: float
    """Median of all calls."""
    fastest: float
    """Of all calls [s]."""
    matmul_rate: float
    """F.linear with as many rows, beside it [FLOP/s]."""
    efficiency: float
    """Share of that rate, the arithmetic counted as under a dense mask."""


def measure(
    encoder: VideoEncoder, config: ModelConfig, device: torch.device, repeats: int
) -> list[EncoderCase]:
    """Return all cases in float32 and bfloat16; the full window also under a dense mask, for comparison."""
    pack, text, packs = config.pack_tokens, config.nova.text_len, config.context_packs
    shapes = [
        ("full window, dense mask", 0, text + packs * pack, True),
        ("full window", 0, text + packs * pack, False),
        ("new pack on the cached window", text + (packs - 1) * pack, pack, False),
        ("first step", 0, text + pack, False),
    ]
    results = []
    for name, dtype in DTYPES.items():
        module = copy.deepcopy(encoder).to(dtype)
        for case, cached, new, dense in shapes:
            results.append(_measure(module, config, device, name, case, cached, new, dense, repeats))
    return results


def _measure(
    module: VideoEncoder,
    config: ModelConfig,
    device: torch.device,
    dtype: str,
    case: str,
    cached: int,
    new: int,
    dense: bool,
    repeats: int,
) -> EncoderCase:
    kind = DTYPES[dtype]
    tokens = torch.randn(1, new, config.nova.width, device=device, dtype=kind)
    cache = _random_cache(config, kind, device) if cached else None
    frame, action, text = config.nova.frame_tokens, config.action.horizon, config.nova.text_len
    packs = (cached + new - text) // config.pack_tokens
    first = packs - 1 if cached else None
    function = window_mask if dense else window_segments
    mask = function(text, packs, frame, action, first_pack=first, device=device)

    def run() -> Tensor:
        if cache is not None:
            cache.truncate(0)
            cache.advance(cached)
        out: Tensor = module(tokens, mask=mask, cache=cache)
        return out

    # Half of the calibration before and half after, so that both see the same machine.
    rates = [matmul_rate(device, kind, new, repeats)]
    seconds = time_calls(run, device, repeats)
    rates.append(matmul_rate(device, kind, new, repeats))
    rate, median = statistics.mean(rates), statistics.median(seconds)
    flops = cost.video_encoder(config, new, cached, item=1, dense=True).flops
    return EncoderCase(
        case=case,
        dtype=dtype,
        new=new,
        cached=cached,
        dense_mask=dense,
        seconds=median,
        fastest=min(seconds),
        matmul_rate=rate,
        efficiency=flops / median / rate,
    )


def _random_cache(config: ModelConfig, dtype: torch.dtype, device: torch.device) -> KVCache:
    nova = config.nova
    cache = KVCache(
        layers=nova.video_depth,
        batch=1,
        heads=nova.heads,
        capacity=config.window_tokens,
        head_dim=nova.head_dim,
        dtype=dtype,
        device=device,
    )
    cache.keys.normal_()
    cache.values.normal_()
    return cache
