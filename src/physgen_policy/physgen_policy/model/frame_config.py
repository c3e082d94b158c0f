# SPDX-License-Identifier: Apache-2.0
"""What the frame path is given beside the published backbone's condition, and what its head predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from physgen_policy.model.vae_config import VaeConfig

FramePrediction = Literal["epsilon", "v"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameConfig:
    """Options of the frame path; the defaults are the published backbone's, which has none of these tensors."""

    prediction: FramePrediction = "epsilon"
    """What the head predicts: the noise, or v = sqrt(a) noise - sqrt(1 - a) clean, from which one evaluation at the
    highest noise gives the mean of the frame."""
    up: bool = False
    """The hidden state of each video token is added, by a linear map, to the image tokens under it, so that no
    attention has to find out which of them lies where."""
    present: bool = False
    """The latents of the present frame are added to the image tokens in their place."""
    next_actions: bool = False
    """The chunk that is about to be executed is part of the condition; without it a frame is the mean of what any chunk
    would lead to."""

    codec: VaeConfig | None = None
    """The frame path's own autoencoder: the present frame reaches it in these latents, and the next one is imagined in
    them, while the policy goes on seeing through `vae`. So frames become sharper under a policy that stays as it is.
    None: one autoencoder for both. `nova.image_channels` has to be its latent_channels."""

    @property
    def adds_inputs(self) -> bool:
        """Whether there are tensors beside the backbone's."""
        return self.up or self.present or self.next_actions
