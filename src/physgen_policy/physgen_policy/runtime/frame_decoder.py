# SPDX-License-Identifier: Apache-2.0
"""Imagined latents as pictures, fast enough for a live preview."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from physgen_control.types import UInt8Image
from physgen_policy.cost.machine import cpu_multiplies_bf16
from physgen_policy.model.frame_codec import FrameCodec


def decode_frame(codec: FrameCodec, latent: Tensor) -> UInt8Image:
    """A scaled latent [1, c, h, w] as uint8 [y, 2 x, 3].

    In bf16 where the device multiplies it fast, which on a CPU is 2.4 times as fast (37 instead of 90 ms for the tiny
    preset's 128 x 256 pixels) and moves a pixel by 0.2 levels on average, by 3 at most; no action depends on it.
    """
    device = latent.device.type
    with torch.autocast(device, torch.bfloat16, enabled=_fast_bf16(device), cache_enabled=False):
        pixels = codec.decode(latent.float().contiguous(memory_format=torch.channels_last))
    image: UInt8Image = pixels[0].cpu().numpy()
    return image


@lru_cache(maxsize=4)
def _fast_bf16(device: str) -> bool:
    return device == "cuda" or cpu_multiplies_bf16()
