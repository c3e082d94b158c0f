# SPDX-License-Identifier: Apache-2.0
"""A small autoencoder that never works at full resolution: patches of 4 x 4 pixels, then one halving (stride 8).

Nothing runs on single pixels, so that on a CPU a step of training costs a fifth of what it costs diffusers'
AutoencoderKL at the same size. Without normalisation: brightness stays what it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physgen_policy.model.vae_config import VaeConfig

PATCH = 4
"""Side of a patch [pixels]."""
STRIDE = 8


class PatchVae(nn.Module):
    """Pixels to mean and log variance of latents, and latents to pixels.

    Args:
        config: `block_out_channels` are the widths at strides 4 and 8, `layers_per_block` the residual blocks of each,
            `place_maps` whether the decoder knows places.
        image_size: Rows and columns of the images [pixels], to which place maps are bound.
    """

    def __init__(self, config: VaeConfig, image_size: tuple[int, int]) -> None:
        super().__init__()
        fine, coarse = config.block_out_channels
        numbers, latent, depth = 3 * PATCH**2, config.latent_channels, config.layers_per_block
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(numbers, fine, 3, padding=1),
            *_blocks(fine, depth),
            nn.Conv2d(fine, coarse, 2, stride=2),
            *_blocks(coarse, depth),
        )
        self.quant_conv = nn.Conv2d(coarse, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)
        self.decoder_in = nn.Conv2d(latent, coarse, 3, padding=1)
        self.decoder_coarse = nn.Sequential(
            *_blocks(coarse, depth), nn.Conv2d(coarse, 4 * fine, 3, padding=1), nn.PixelShuffle(2)
        )
        self.decoder_fine = nn.Sequential(
            *_blocks(fine, depth), nn.Conv2d(fine, numbers, 3, padding=1), nn.PixelShuffle(PATCH)
        )
        rows, columns = image_size
        self.coarse_places = self.fine_places = None
        if config.place_maps:
            self.coarse_places = nn.Parameter(torch.zeros(1, coarse, rows // STRIDE, columns // STRIDE))
            self.fine_places = nn.Parameter(torch.zeros(1, fine, rows // PATCH, columns // PATCH))

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance [b, c, H / 8, W / 8] of pixels in [-1, 1], [b, 3, H, W]."""
        mean, log_variance = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)
        return mean, log_variance.clamp(-12.0, 4.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Return pixels around [-1, 1], [b, 3, 8 h, 8 w], of latents [b, c, h, w].

        Raises:
            ValueError: Place maps were made for images of another size.
        """
        hidden = self.decoder_in(self.post_quant_conv(latents))
        if self.coarse_places is not None:
            if hidden.shape[2:] != self.coarse_places.shape[2:]:
                made, got = (
                    [STRIDE * side for side in shape[2:]]
                    for shape in (self.coarse_places.shape, hidden.shape)
                )
                raise ValueError(f"the codec's place maps are of images of {made} pixels, got {got}")
            hidden = hidden + self.coarse_places
        hidden = self.decoder_coarse(hidden)
        if self.fine_places is not None:
            hidden = hidden + self.fine_places
        pixels: Tensor = self.decoder_fine(hidden)
        return pixels


class _ResidualBlock(nn.Module):
    """Adds nothing at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, values: Tensor) -> Tensor:
        change: Tensor = self.second(nn.functional.silu(self.first(values)))
        return values + change


def _blocks(width: int, count: int) -> list[nn.Module]:
    return [_ResidualBlock(width) for _ in range(count)]
