# SPDX-License-Identifier: Apache-2.0
"""The NOVA video backbone with the published parameter names: video encoder, image encoder, diffusion MLP.

Everything here is the plain video model; actions enter in physgen.py. Latents are always already scaled.
Reference: NOVA, "Autoregressive Video Generation without Vector Quantization" (docs/model.md maps the symbols).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from physgen_policy.model.attention import Visibility, stream_dtype
from physgen_policy.model.cache import KVCache
from physgen_policy.model.config import NovaConfig
from physgen_policy.model.diffusion_mlp import AdaptiveNorm, DiffusionMlp
from physgen_policy.model.embeddings import (
    MaskEmbed,
    MotionEmbed,
    PatchEmbed,
    TextEmbed,
    VideoPosEmbed,
    gather_rows,
    patchify,
    space_table,
)
from physgen_policy.model.linear import initialise_linear
from physgen_policy.model.transformer import Block


class Mixer(nn.Module):
    """Scaling-and-shift layer: a frame reaches the image encoder only through this low-rank change of the anchor."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.lora = nn.Linear(width, rank, bias=False)
        self.proj = nn.Linear(rank, 2 * width)

    def forward(self, anchor: Tensor, hidden: Tensor) -> Tensor:
        """anchor * (1 + scale(hidden)) + shift(hidden); all [..., n, d], the anchor may broadcast."""
        scale, shift = self.proj(self.lora(F.silu(hidden))).chunk(2, dim=-1)
        return torch.addcmul(shift, anchor.to(shift.dtype), scale + 1)


class VideoEncoder(nn.Module):
    """Causal encoder over text, frame and action tokens. The caller decides what is visible."""

    def __init__(self, config: NovaConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.latent_channels, config.width, config.video_patch)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.video_depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.mixer = Mixer(config.width, config.mixer_rank) if config.mixer_rank else None
        self.recompute = False

    def forward(
        self,
        tokens: Tensor,
        *,
        mask: Visibility = None,
        rope: Tensor | None = None,
        cache: KVCache | None = None,
        skip: int = 0,
    ) -> Tensor:
        """Run the blocks and the final norm.

        Args:
            tokens: [b, s, d].
            mask: bool [s, cached + s], the same as runs of rows, or None for full visibility.
            rope: Rotation table of these tokens or None.
            cache: Grows by s rows when given.
            skip: Leading tokens (the text) that are left out of the result.

        Returns:
            [b, s - skip, d].
        """
        x = tokens.to(stream_dtype(tokens))
        recompute = self.recompute and cache is None and torch.is_grad_enabled()
        for layer, block in enumerate(self.blocks):
            if recompute:
                x = checkpoint(block, x, mask, rope, use_reentrant=False)
            else:
                x = block(x, mask, rope, cache, layer)
        if cache is not None:
            cache.advance(tokens.shape[1])
        out: Tensor = self.norm(x[:, skip:])
        return out

    def mix(self, anchor: Tensor, hidden: Tensor) -> Tensor:
        """Return the condition of the image encoder for frames after the first; without a mixer the hidden state."""
        return hidden if self.mixer is None else self.mixer(anchor, hidden)


class ImageEncoder(nn.Module):
    """Masked autoencoder over the 2x2 patches of one frame, conditioned by prepended video tokens."""

    def __init__(self, config: NovaConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.imagined_channels, config.width, config.image_patch)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, config.mlp_ratio) for _ in range(config.image_depth)
        )
        self.norm = nn.LayerNorm(config.width)
        self.recompute = False

    def forward(self, condition: Tensor, tokens: Tensor, visible_ids: Tensor) -> Tensor:
        """First half of the blocks on condition + visible tokens, second half on condition + all tokens.

        Args:
            condition: [r, m, d].
            tokens: All image tokens with the mask token at masked places and positions added, [r, n, d].
            visible_ids: Indices of the visible tokens [r, v]; v may be 0.

        Returns:
            z [r, n, d].
        """
        num_cond, half = condition.shape[1], len(self.blocks) // 2
        tokens = tokens.to(stream_dtype(tokens))
        x = torch.cat([condition.to(tokens.dtype), gather_rows(tokens, visible_ids)], dim=1)
        for block in self.blocks[:half]:
            x = self._run(block, x)
        index = visible_ids[..., None].expand(*visible_ids.shape, tokens.shape[-1])
        every = tokens.scatter(1, index, x[:, num_cond:])
        x = torch.cat([x[:, :num_cond], every], dim=1)
        for block in self.blocks[half:]:
            x = self._run(block, x)
        out: Tensor = self.norm(x[:, num_cond:])
        return out

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        recompute = self.recompute and torch.is_grad_enabled()
        out: Tensor = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return out


class Nova(nn.Module):
    """All parts of the published checkpoint; 646 tensors at full size."""

    def __init__(self, config: NovaConfig) -> None:
        super().__init__()
        self.config = config
        self.video_encoder = VideoEncoder(config)
        self.image_encoder = ImageEncoder(config)
        self.image_decoder = DiffusionMlp(
            patch=config.image_patch,
            channels=config.imagined_channels,
            cond_width=config.width,
            width=config.head_width,
            depth=config.head_depth,
        )
        self.mask_embed = MaskEmbed(config.width)
        self.text_embed = TextEmbed(config.text_table_rows, config.text_dim, config.width)
        self.video_pos_embed = VideoPosEmbed(config.width)
        self.motion_embed = MotionEmbed(config.width)
        self._initialise()

    def recompute_blocks(self, on: bool) -> None:
        """Gradient checkpointing: backward computes every block again instead of keeping what is inside."""
        self.video_encoder.recompute = self.image_encoder.recompute = on

    def clip_coordinates(self, num_slots: int) -> Tensor:
        """Time coordinates of a generated clip, rescaled by its length: slot i at i x base_time / num_slots, [t]."""
        slots = torch.arange(num_slots, dtype=torch.float32, device=self.mask_embed.bos_token.device)
        return slots * self.config.base_time / num_slots

    def bov_tokens(self, batch: int, time: Tensor) -> Tensor:
        """Begin-of-video slot: time embedding [d] of its coordinate -> [b, n, d]."""
        slot = self.mask_embed.bos_token + time + self.video_space()
        return slot.expand(batch, -1, -1)

    def frame_tokens(self, latents: Tensor, time: Tensor) -> Tensor:
        """Frames as video-encoder tokens: latents [b, t, c, h, w], time embeddings [t, d] -> [b, t, n, d]."""
        position = time[:, None] + self.video_space()
        tokens: Tensor = self.video_encoder.patch_embed(latents) + position
        return tokens

    def clip_tokens(self, latents: Tensor, coordinates: Tensor) -> Tensor:
        """Teacher forcing: slot 0 is begin-of-video, slot t carries latent t - 1.

        Args:
            latents: The frames before the last, [b, t - 1, c, h, w].
            coordinates: Time coordinates of the t slots.

        Returns:
            [b, t, n, d].
        """
        time = self.video_pos_embed(coordinates)
        first = self.bov_tokens(latents.shape[0], time[0])[:, None]
        if latents.shape[1] == 0:
            return first
        return torch.cat([first, self.frame_tokens(latents, time[1:])], dim=1)

    def anchor(self, text_tokens: Tensor) -> Tensor:
        """Output of the begin-of-video slot, a function of the text only: [b, l, d] -> [b, n, d]."""
        zero = torch.zeros(1, device=text_tokens.device)
        slot = self.bov_tokens(text_tokens.shape[0], self.video_pos_embed(zero)[0])
        tokens = torch.cat([text_tokens, slot.to(text_tokens.dtype)], dim=1)
        out: Tensor = self.video_encoder(tokens, skip=text_tokens.shape[1])
        return out

    def masked_tokens(self, patches: Tensor, visible_ids: Tensor, added: Tensor | None = None) -> Tensor:
        """Return the image encoder's input [r, n, d].

        Args:
            patches: Patch vectors [r, n, 16].
            visible_ids: The tokens that are not masked [r, v].
            added: What the tokens get in their places, [r, n, d].
        """
        space = self.image_space()
        masked = (self.mask_embed.mask_token + space).expand(patches.shape[0], -1, -1)
        seen = self.image_encoder.patch_embed.embed_patches(gather_rows(patches, visible_ids)).to(space.dtype)
        seen = seen + space[visible_ids]
        index = visible_ids[..., None].expand_as(seen)
        tokens = masked.scatter(1, index, seen)
        return tokens if added is None else tokens + added

    def image_features(
        self, condition: Tensor, latents: Tensor, visible_ids: Tensor, added: Tensor | None = None
    ) -> Tensor:
        """z of one frame per row: condition [r, m, d], latents [r, c, h, w], visible_ids [r, v] -> [r, n, d]."""
        patches = patchify(latents, self.config.image_patch)
        tokens = self.masked_tokens(patches, visible_ids, added)
        out: Tensor = self.image_encoder(condition, tokens, visible_ids)
        return out

    def video_space(self) -> Tensor:
        """Spatial table of the video grid, [n, d]."""
        token = self.mask_embed.bos_token
        return space_table(self.config.video_grid, self.config.width, token.device).to(token.dtype)

    def image_space(self) -> Tensor:
        """Spatial table of the image grid, [n, d]."""
        token = self.mask_embed.mask_token
        return space_table(self.config.image_grid, self.config.width, token.device).to(token.dtype)

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                initialise_linear(module)
            elif isinstance(module, PatchEmbed) and module.proj.bias is not None:
                # Content must enter as loud as the unit-variance position embeddings, or nothing is seen early on.
                fan_in = module.proj.weight[0].numel()
                nn.init.trunc_normal_(module.proj.weight, std=fan_in**-0.5)
                nn.init.zeros_(module.proj.bias)
        for name in ("bos_token", "mask_token"):
            nn.init.trunc_normal_(getattr(self.mask_embed, name), std=0.02)
        nn.init.normal_(self.text_embed.weight, std=0.02)
        zero_adaptive_norms(self.image_decoder)
        nn.init.zeros_(self.image_decoder.head.weight)
        if self.video_encoder.mixer is not None:
            nn.init.zeros_(self.video_encoder.mixer.proj.weight)


def zero_adaptive_norms(module: nn.Module) -> None:
    """Start every modulation at identity with closed gates."""
    for part in module.modules():
        if isinstance(part, AdaptiveNorm):
            nn.init.zeros_(part.proj.weight)
            nn.init.zeros_(part.proj.bias)
