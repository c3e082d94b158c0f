# SPDX-License-Identifier: Apache-2.0
"""Images <-> scaled latents. The one place where pixels change range and where the scaling factor is applied."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from physgen_policy.model.config import ModelConfig
from physgen_policy.model.image_vae import ImageVaeEncoder
from physgen_policy.model.open_sora_vae import OpenSoraVae
from physgen_policy.model.patch_vae import PatchVae
from physgen_policy.model.sizes import ConfigError
from physgen_policy.model.vae_config import VaeConfig


class FrameCodec(nn.Module, ABC):
    """Frames to scaled latents and back; every frame on its own, so that training and rollout see the same latents."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config

    def encode(self, images: Tensor) -> Tensor:
        """Encode uint8 [b, H, W, 3] RGB to scaled posterior means [b, c, H / 8, W / 8].

        Raises:
            ValueError: Not a batch of uint8 RGB images with sides that are multiples of 8.
        """
        pixels = pixels_from_images(images).to(next(self.parameters()).dtype)
        return self.encode_pixels(pixels) * self.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents [b, c, h, w] to uint8 [b, 8 h, 8 w, 3] RGB."""
        weight = next(self.parameters())
        pixels = self.decode_latents(latents.to(weight.dtype) / self.config.scaling_factor)
        return (
            (pixels.float() * 127.5 + 127.5)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
            .permute(0, 2, 3, 1)
            .contiguous()
        )

    @abstractmethod
    def image_encoder(self, *, collapse: bool = True) -> nn.Module:
        """Return encode_pixels as a module of its own that shares no weights, so that it may change type and layout.

        Args:
            collapse: Store what a video autoencoder needs for single frames only; otherwise run them as clips of one.
        """

    @abstractmethod
    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Return the unscaled posterior mean [b, c, h, w] of pixels in [-1, 1], [b, 3, H, W]."""

    @abstractmethod
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pixels around [-1, 1], [b, 3, H, W], of unscaled latents [b, c, h, w]."""


class TrainableCodec(FrameCodec):
    """A codec that is trained here, on single frames."""

    vae: Any
    """Has an `encoder`, and 1x1 convolutions behind it (`quant_conv`) and before its decoder (`post_quant_conv`)."""

    @abstractmethod
    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return unscaled mean and log variance [b, c, h, w] of pixels in [-1, 1], [b, 3, H, W]."""

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Return the unscaled posterior mean [b, c, h, w] of pixels in [-1, 1], [b, 3, H, W]."""
        return self.posterior(pixels)[0]

    def image_encoder(self, *, collapse: bool = True) -> nn.Module:
        """Return encode_pixels as a module of its own; these are 2-D already, whatever `collapse` says."""
        return _KlImageEncoder(copy.deepcopy(self.vae.encoder), copy.deepcopy(self.vae.quant_conv))


class PatchCodec(TrainableCodec):
    """The autoencoder of patches; `image_size` as in NovaConfig."""

    def __init__(self, config: VaeConfig, image_size: tuple[int, int]) -> None:
        super().__init__(config)
        self.vae = PatchVae(config, image_size)

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return unscaled mean and log variance [b, c, h, w] of pixels in [-1, 1], [b, 3, H, W]."""
        mean, log_variance = self.vae.encode(pixels)
        return mean, log_variance

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pixels around [-1, 1], [b, 3, H, W], of unscaled latents [b, c, h, w]."""
        pixels: Tensor = self.vae.decode(latents)
        return pixels


class AutoencoderKlCodec(TrainableCodec):
    """diffusers' AutoencoderKL with four levels (stride 8)."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__(config)
        from diffusers import AutoencoderKL  # slow to import, and only this codec needs it

        self.vae = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=config.block_out_channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
            scaling_factor=config.scaling_factor,
        )

    def posterior(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return unscaled mean and log variance [b, c, h, w] of pixels in [-1, 1], [b, 3, H, W]."""
        distribution = self.vae.encode(pixels).latent_dist
        return distribution.mean, distribution.logvar

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pixels around [-1, 1], [b, 3, H, W], of unscaled latents [b, c, h, w]."""
        pixels: Tensor = self.vae.decode(latents).sample
        return pixels


class OpenSoraCodec(FrameCodec):
    """The backbone's own causal video VAE, used on single frames with collapsed (2-D) encoder kernels."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__(config)
        self.vae = OpenSoraVae(config)

    def image_encoder(self, *, collapse: bool = True) -> nn.Module:
        """Return encode_pixels as a module of its own, with 2-D kernels or as clips of one frame."""
        if collapse:
            return ImageVaeEncoder(self.vae)
        return _ClipOfOneEncoder(copy.deepcopy(self.vae.encoder), copy.deepcopy(self.vae.quant_conv))

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Return the unscaled posterior mean [b, c, h, w] of pixels in [-1, 1], [b, 3, H, W]."""
        return self.vae.encode(pixels)[0]

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return pixels around [-1, 1], [b, 3, H, W], of unscaled latents [b, c, h, w]."""
        return self.vae.decode(latents)


class _KlImageEncoder(nn.Module):
    def __init__(self, encoder: nn.Module, quant_conv: nn.Module) -> None:
        super().__init__()
        self.encoder, self.quant_conv = encoder, quant_conv

    def forward(self, pixels: Tensor) -> Tensor:
        mean: Tensor = self.quant_conv(self.encoder(pixels)).chunk(2, dim=1)[0]
        return mean


class _ClipOfOneEncoder(_KlImageEncoder):
    """The video encoder with its 3-D convolutions on a clip of one frame."""

    def forward(self, pixels: Tensor) -> Tensor:
        return super().forward(pixels[:, :, None])[:, :, 0]


def pixels_from_images(images: Tensor) -> Tensor:
    """Return uint8 [b, H, W, 3] RGB as fp32 in [-1, 1], [b, 3, H, W].

    Raises:
        ValueError: Not a batch of uint8 RGB images with sides that are multiples of 8.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images must be uint8 [b, H, W, 3], got {images.dtype} {list(images.shape)}")
    if images.shape[1] % 8 or images.shape[2] % 8:
        raise ValueError(f"image sides must be multiples of 8 pixels, got {list(images.shape[1:3])}")
    return pixels_from_uint8(images.permute(0, 3, 1, 2))


def pixels_from_uint8(images: Tensor) -> Tensor:
    """0 .. 255 -> fp32 [-1, 1]."""
    return (images.float() - 127.5) / 127.5


def build_frame_codec(config: ModelConfig) -> FrameCodec:
    """Return the codec a model configuration asks for, with fresh weights.

    Raises:
        ConfigError: There is no such kind.
    """
    match config.vae.kind:
        case "autoencoder_kl":
            return AutoencoderKlCodec(config.vae)
        case "open_sora":
            return OpenSoraCodec(config.vae)
        case "patch":
            return PatchCodec(config.vae, config.nova.image_size)
    raise ConfigError(f"there is no frame autoencoder called {config.vae.kind!r}")
