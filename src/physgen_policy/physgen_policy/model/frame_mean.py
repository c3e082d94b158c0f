# SPDX-License-Identifier: Apache-2.0
"""The mean of the frame that comes next, by one evaluation of the frame path."""

from __future__ import annotations

import torch
from torch import Tensor

from physgen_policy.model.embeddings import unpatchify
from physgen_policy.model.frame_inputs import FrameCondition
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import cosine_schedule


def mean_frame(model: PhysGen, condition: FrameCondition) -> Tensor:
    """Return the mean of all frames that may follow, fp32 latents [b, c, h, w], by one evaluation of the frame path.

    At the last timestep the input is noise alone, so that v = sqrt(a) noise - sqrt(1 - a) clean says what the clean
    frame is on average; the noise is put at its own mean, zero.

    Raises:
        ValueError: The head predicts noise, which has no such reading.
    """
    if model.config.frames.prediction != "v":
        raise ValueError(
            'this model\'s frame head predicts noise and has no mean; use the frame sampler "sample"'
        )
    nova, schedule = model.nova, cosine_schedule()
    config, (rows, _, _) = nova.config, condition.tokens.shape
    device, dtype = condition.tokens.device, condition.tokens.dtype
    blank = torch.zeros(rows, config.image_tokens, config.patch_dim, device=device, dtype=dtype)
    none = torch.zeros(rows, 0, dtype=torch.int64, device=device)
    z = nova.image_encoder(condition.tokens, nova.masked_tokens(blank, none, condition.added), none)
    last = schedule.num_steps - 1
    velocity = nova.image_decoder(blank.to(z.dtype), torch.full((rows, 1), last, device=device), z)
    clean = -((1 - float(schedule.alphas_cumprod[last])) ** 0.5) * velocity.float()
    return unpatchify(clean, config.image_grid, config.image_patch)
