# SPDX-License-Identifier: Apache-2.0
"""What an autoencoder of frames is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from physgen_policy.model.sizes import require, require_sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeConfig:
    """The frame autoencoder. Latents given to the model are scaling_factor x posterior mean."""

    kind: Literal["autoencoder_kl", "open_sora", "patch"] = "open_sora"
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    """Widths of the four levels; of the two of `patch`, at strides 4 and 8."""
    layers_per_block: int = 2
    place_maps: bool = False
    """`patch`: the decoder has a learned bias for every place, for what a camera that stands still always sees."""
    latent_channels: int = 4
    norm_groups: int = 32
    scaling_factor: float = 0.18215

    def __post_init__(self) -> None:
        require_sizes(self, depths=("layers_per_block",))
        levels, given = 2 if self.kind == "patch" else 4, len(self.block_out_channels)
        require(given == levels, f"block_out_channels of {self.kind} needs {levels} levels, got {given}")
        require(not self.place_maps or self.kind == "patch", "place_maps belong to vae.kind patch")
        require(self.scaling_factor > 0, f"scaling_factor must be positive, got {self.scaling_factor}")
