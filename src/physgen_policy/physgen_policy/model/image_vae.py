# SPDX-License-Identifier: Apache-2.0
"""The encoder of the video VAE for single images alone, its 3-D convolutions stored as the 2-D ones they equal there.

The video modules sum their kernels over time at every call; here that is done once, and 3-D weights are not kept.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from physgen_policy.model.open_sora_vae import (
    CausalConv3d,
    FrameDownsample,
    OpenSoraVae,
    VideoDownsample,
    collapsed_kernel,
)


class ImageVaeEncoder(nn.Module):
    """Pixels of images -> posterior means. A copy: it may change type and memory layout without touching the VAE."""

    def __init__(self, vae: OpenSoraVae) -> None:
        super().__init__()
        self.encoder = collapse(vae.encoder)
        self.quant_conv = collapse(vae.quant_conv)

    def forward(self, pixels: Tensor) -> Tensor:
        """[-1, 1], [b, 3, H, W] -> unscaled means [b, c, H / 8, W / 8]."""
        mean: Tensor = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)[0]
        return mean


def collapse(module: nn.Module) -> nn.Module:
    """A frozen copy of a module for image input [b, c, h, w], without 3-D convolutions."""
    return _flatten(copy.deepcopy(module).requires_grad_(False))


def _flatten(module: nn.Module) -> nn.Module:
    if isinstance(module, CausalConv3d):
        return _flat_conv(module)
    if isinstance(module, VideoDownsample):
        down = FrameDownsample(module.conv.in_channels)
        down.conv = _flat_conv(module.conv, stride=2)
        return down
    for name, child in module.named_children():
        setattr(module, name, _flatten(child))
    return module


def _flat_conv(conv: nn.Conv3d, stride: int = 1) -> nn.Conv2d:
    kernel = collapsed_kernel(conv.weight)
    size = kernel.shape[-1]
    padding = (
        size // 2 if stride == 1 else 0
    )  # strided ones are padded on one side, outside of the convolution
    flat = nn.Conv2d(conv.in_channels, conv.out_channels, size, stride=stride, padding=padding, device="meta")
    flat.weight = nn.Parameter(kernel, requires_grad=False)
    flat.bias = conv.bias
    return flat
