# SPDX-License-Identifier: Apache-2.0
"""The Open-Sora-Plan causal video VAE with the published parameter names (docs/model.md, "frame autoencoder").

Stride 8 in space and 4 in time: 1 + 4k frames give 1 + k latents. Not strictly causal: GroupNorm statistics run over
time, so only image mode (one frame) gives latents that do not depend on later frames. Every module also takes images
[b, c, h, w]: they run through 2-D convolutions whose kernels are the sums over time of the 3-D ones, which is exact
because time is padded by replication. A clip of one frame [b, c, 1, h, w] gives the same the long way round.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from physgen_policy.model.vae_config import VaeConfig

NORM_EPS = 1e-6
LOGVAR_RANGE = (-30.0, 20.0)
TILE_FRAMES, TILE_LATENTS = 17, 5  # long clips run in tiles that overlap by one


class CausalConv3d(nn.Conv3d):
    """Stride-1 3-D convolution: the first frame is repeated in front, zeros pad space."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(inputs, outputs, kernel)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] or [b, c, h, w] -> the same size."""
        return causal_conv(x, self.weight, self.bias)


class FrameConv(nn.Conv2d):
    """2-D convolution applied to every frame of [b, c, t, h, w]."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> the same size in t, h, w."""
        return per_frame(super().forward, x)


class FrameDownsample(nn.Module):
    """Halves space: zeros on the right and bottom, 2-D convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> [b, c, t, h/2, w/2]."""
        return per_frame(lambda frames: self.conv(F.pad(frames, (0, 1, 0, 1))), x)


class VideoDownsample(nn.Module):
    """Halves space and time: zeros on the right and bottom, the first frame repeated twice in front, stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> [b, c, (t + 1)/2, h/2, w/2]."""
        x = F.pad(x, (0, 1, 0, 1))
        if x.ndim == 4:
            return F.conv2d(x, collapsed_kernel(self.conv.weight), self.conv.bias, stride=2)
        out: Tensor = self.conv(torch.cat([x[:, :, :1], x[:, :, :1], x], dim=2))
        return out


class VideoUpsample(nn.Module):
    """Doubles space; with `time` also every frame but the first in time (trilinear), else nearest in space only."""

    def __init__(self, channels: int, *, time: bool) -> None:
        super().__init__()
        self.time = time
        self.conv = CausalConv3d(channels, channels, (3 if time else 1, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> [b, c, 2t - 1 or t, 2h, 2w]."""
        if x.ndim == 4:
            x = F.interpolate(x, scale_factor=2, mode="bilinear" if self.time else "nearest")
        elif self.time:
            first = F.interpolate(x[:, :, :1], scale_factor=(1, 2, 2), mode="trilinear")
            if x.shape[2] > 1:
                rest = F.interpolate(x[:, :, 1:], scale_factor=(2, 2, 2), mode="trilinear")
                first = torch.cat([first, rest], dim=2)
            x = first
        else:
            x = F.interpolate(x, scale_factor=(1, 2, 2), mode="nearest")
        out: Tensor = self.conv(x)
        return out


class ResnetBlock(nn.Module):
    """Two normalised convolutions around a shortcut; 3-D, or 2-D per frame."""

    def __init__(self, inputs: int, outputs: int, groups: int, *, video: bool) -> None:
        super().__init__()
        self.video = video
        self.norm1 = nn.GroupNorm(groups, inputs, eps=NORM_EPS)
        self.conv1 = _conv(inputs, outputs, 3, video)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=NORM_EPS)
        self.conv2 = _conv(outputs, outputs, 3, video)
        self.conv_shortcut = _conv(inputs, outputs, 1, video) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> [b, c', t, h, w]."""
        h = self.conv1(F.silu(self._norm(self.norm1, x)))
        h = self.conv2(F.silu(self._norm(self.norm2, h)))
        shortcut: Tensor = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return shortcut + h

    def _norm(self, norm: nn.Module, x: Tensor) -> Tensor:
        # 3-D blocks take statistics over time too; 2-D blocks see single frames.
        out: Tensor = norm(x) if self.video else per_frame(norm, x)
        return out


class FrameAttention(nn.Module):
    """Single-head attention over the pixels of each frame; its norm takes statistics over time like all 3-D norms."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> the same."""
        return x + per_frame(self._mix, self.group_norm(x))

    def _mix(self, frames: Tensor) -> Tensor:
        tokens = frames.flatten(2).transpose(1, 2)
        q, k, v = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        mixed = self.to_out[0](F.scaled_dot_product_attention(q, k, v))
        return mixed.transpose(1, 2).reshape(frames.shape)


class MidBlock(nn.Module):
    """Resnet, attention, resnet."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, groups, video=True) for _ in range(2))
        self.attentions = nn.ModuleList([FrameAttention(channels, groups)])

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> the same."""
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x)))
        return out


class Level(nn.Module):
    """Resnets of one resolution and the change to the next."""

    def __init__(
        self, resnets: list[ResnetBlock], *, down: nn.Module | None = None, up: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if down is not None:
            self.downsamplers = nn.ModuleList([down])
        if up is not None:
            self.upsamplers = nn.ModuleList([up])

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, t, h, w] -> the next resolution."""
        for name in ("resnets", "downsamplers", "upsamplers"):
            for module in getattr(self, name, ()):
                x = module(x)
        return x


class Encoder(nn.Module):
    """Levels 0 and 1 are 2-D, 2 and 3 are 3-D; the type of a downsampler is that of the next level."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_groups
        self.conv_in = FrameConv(3, widths[0], 3)
        levels, inputs = [], widths[0]
        for index, width in enumerate(widths):
            resnets = [
                ResnetBlock(inputs if layer == 0 else width, width, groups, video=index >= 2)
                for layer in range(config.layers_per_block)
            ]
            down: nn.Module | None = None
            if index < 3:
                down = FrameDownsample(width) if index == 0 else VideoDownsample(width)
            levels.append(Level(resnets, down=down))
            inputs = width
        self.down_blocks = nn.ModuleList(levels)
        self.mid_block = MidBlock(widths[-1], groups)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=NORM_EPS)
        self.conv_out = CausalConv3d(widths[-1], 2 * config.latent_channels, (3, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Pixels [b, 3, t, H, W] -> moments before quant_conv."""
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))
        return out


class Decoder(nn.Module):
    """All 3-D; one resnet more per level than the encoder. Levels 0 and 1 double time, level 2 only space."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_groups
        self.conv_in = CausalConv3d(config.latent_channels, widths[0], (3, 3, 3))
        self.mid_block = MidBlock(widths[0], groups)
        levels, inputs = [], widths[0]
        for index, width in enumerate(widths):
            resnets = [
                ResnetBlock(inputs if layer == 0 else width, width, groups, video=True)
                for layer in range(config.layers_per_block + 1)
            ]
            levels.append(Level(resnets, up=VideoUpsample(width, time=index < 2) if index < 3 else None))
            inputs = width
        self.up_blocks = nn.ModuleList(levels)
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=NORM_EPS)
        self.conv_out = CausalConv3d(widths[-1], 3, (3, 3, 3))

    def forward(self, z: Tensor) -> Tensor:
        """Latents [b, c, l, h, w] -> pixels [b, 3, 4l - 3, 8h, 8w]."""
        x = self.mid_block(self.conv_in(z))
        for level in self.up_blocks:
            x = level(x)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out


class OpenSoraVae(nn.Module):
    """Encoder to posterior moments and decoder, with tiling of long clips. Latents here are unscaled."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        channels = config.latent_channels
        self.quant_conv = CausalConv3d(2 * channels, 2 * channels, (1, 1, 1))
        self.post_quant_conv = CausalConv3d(channels, channels, (1, 1, 1))

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return posterior mean and clipped log variance, unscaled, each [b, c, (l,) H / 8, W / 8].

        Args:
            pixels: [-1, 1], [b, 3, H, W] for images or [b, 3, t, H, W].

        Raises:
            ValueError: t is not 1 + 4k, or a long clip does not fill whole tiles of 17 frames overlapping by one.
        """
        if pixels.ndim == 4:
            mean, logvar = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)
            return mean, logvar.clamp(*LOGVAR_RANGE)
        _require_tiles(pixels.shape[2], TILE_FRAMES, "frames", "1, 5, 9, 13, 17, 33, 49 ...", unit=4)
        tiles = [
            self.quant_conv(self.encoder(tile))[:, :, 0 if index == 0 else 1 :]
            for index, tile in enumerate(_tiles(pixels, TILE_FRAMES))
        ]
        mean, logvar = torch.cat(tiles, dim=2).chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels around [-1, 1]: [b, c, h, w] -> [b, 3, 8h, 8w] or [b, c, l, h, w] -> [b, 3, 4l - 3, 8h, 8w].

        Raises:
            ValueError: A long clip does not fill whole tiles of 5 latents overlapping by one.
        """
        if latents.ndim == 4:
            image: Tensor = self.decoder(self.post_quant_conv(latents))
            return image
        _require_tiles(latents.shape[2], TILE_LATENTS, "latents", "1 to 5, 9, 13 ...", unit=1)
        tiles = [
            self.decoder(self.post_quant_conv(tile))[:, :, 0 if index == 0 else 1 :]
            for index, tile in enumerate(_tiles(latents, TILE_LATENTS))
        ]
        return torch.cat(tiles, dim=2)


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Stride-1 causal 3-D convolution of [b, c, t, h, w]; for an image [b, c, h, w] it collapses to 2-D."""
    time, space = weight.shape[2], weight.shape[3] // 2
    if x.ndim == 4:
        return F.conv2d(x, collapsed_kernel(weight), bias, padding=space)
    if time > 1:
        x = torch.cat([x[:, :, :1].expand(-1, -1, time - 1, -1, -1), x], dim=2)
    return F.conv3d(x, weight, bias, padding=(0, space, space))


def collapsed_kernel(weight: Tensor) -> Tensor:
    """The 2-D kernel that equals a causal 3-D one on a single frame: [o, i, t, h, w] -> [o, i, h, w]."""
    return weight.sum(2)


def per_frame(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an image function to every frame of [b, c, t, h, w], or to the images [b, c, h, w] themselves."""
    if x.ndim == 4:
        return function(x)
    batch, _, frames = x.shape[:3]
    out: Tensor = function(x.transpose(1, 2).flatten(0, 1))
    return out.unflatten(0, (batch, frames)).transpose(1, 2)


def _conv(inputs: int, outputs: int, kernel: int, video: bool) -> nn.Module:
    return CausalConv3d(inputs, outputs, (kernel,) * 3) if video else FrameConv(inputs, outputs, kernel)


def _tiles(x: Tensor, size: int) -> list[Tensor]:
    if x.shape[2] <= size:
        return [x]
    return [x[:, :, start : start + size] for start in range(0, x.shape[2] - 1, size - 1)]


def _require_tiles(count: int, size: int, what: str, allowed: str, *, unit: int) -> None:
    fits = (count - 1) % unit == 0 if count <= size else (count - 1) % (size - 1) == 0
    if count < 1 or not fits:
        raise ValueError(f"the video autoencoder cannot code {count} {what}; possible numbers are {allowed}")
