# SPDX-License-Identifier: Apache-2.0
"""Trains the small frame codec (a diffusers AutoencoderKL) on the dataset's spliced images, then measures its scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from physgen_policy.data.dataset import Dataset
from physgen_policy.training.config import CodecStage
from physgen_policy.training.optim import learning_rate_at

CodecProgress = Callable[[int, dict[str, float]], None]


class FramePool:
    """Random frames of several datasets, read episode by episode into one uint8 array that fits in memory."""

    def __init__(self, datasets: list[Dataset], limit: int, rng: np.random.Generator) -> None:
        total = sum(d.num_frames for d in datasets)
        keep = min(1.0, limit / total)
        frames: list[NDArray[np.uint8]] = []
        for dataset in datasets:
            for _, images in dataset.iter_images():
                frames.append(images if keep == 1.0 else images[rng.random(len(images)) < keep])
        self.frames = np.concatenate(frames)

    def draw(self, count: int, rng: np.random.Generator, crop: int = 0) -> Tensor:
        """float32 [count, 3, y, x] in [-1, 1]; whole frames, or random crops of crop x crop pixels."""
        chosen = rng.integers(0, len(self.frames), count)
        if not crop:
            return to_unit_range(torch.from_numpy(self.frames[chosen]))
        height, width = self.frames.shape[1:3]
        top, left = rng.integers(0, height - crop + 1, count), rng.integers(0, width - crop + 1, count)
        crops = [
            self.frames[i, y : y + crop, x : x + crop] for i, y, x in zip(chosen, top, left, strict=True)
        ]
        return to_unit_range(torch.from_numpy(np.stack(crops)))


def to_unit_range(images: Tensor) -> Tensor:
    """uint8 [b, y, x, 3] -> float32 [b, 3, y, x] in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def codec_loss(
    vae: AutoencoderKL, pixels: Tensor, stage: CodecStage, generator: torch.Generator
) -> dict[str, Tensor]:
    """L1 and squared error on pixels, L1 on image gradients (edges of small objects), KL to a unit Gaussian.

    Pixels that differ from the image's mean colour count more: the arm and the objects fill a small part of the view.
    """
    posterior = vae.encode(pixels).latent_dist
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    noise = torch.randn(mean.shape, generator=generator)
    decoded = vae.decode(mean + torch.exp(0.5 * logvar) * noise).sample.float()
    error = (decoded - pixels).abs()
    saliency = 1.0 + 4.0 * (pixels - pixels.mean((2, 3), keepdim=True)).abs().amax(1, keepdim=True).clamp(
        max=1.0
    )
    penalty = error + stage.squared_weight * error.square()
    reconstruction = (penalty * saliency).mean() / saliency.mean()
    difference = decoded - pixels
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    divergence = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
    total = reconstruction + stage.edge_weight * edges + stage.kl_weight * divergence
    return {"total": total, "reconstruction": reconstruction, "edges": edges, "kl": divergence}


def train_codec(
    vae: AutoencoderKL,
    pool: FramePool,
    stage: CodecStage,
    *,
    seed: int,
    autocast_dtype: torch.dtype | None,
    progress: CodecProgress,
) -> float:
    """Train in place; returns the scaling factor that gives the latents unit standard deviation."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    vae.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=stage.learning_rate, weight_decay=1e-4)
    for step in range(stage.steps):
        lr = learning_rate_at(
            step, steps=stage.steps, warmup_steps=50, peak=stage.learning_rate, floor=stage.learning_rate / 50
        )
        for group in optimizer.param_groups:
            group["lr"] = lr
        whole = step >= stage.steps * (1 - stage.whole_fraction)
        pixels = (
            pool.draw(max(1, stage.batch_size // 4), rng)
            if whole
            else pool.draw(stage.batch_size, rng, stage.crop)
        )
        pixels = pixels.to(memory_format=torch.channels_last)
        with torch.autocast(
            "cpu", dtype=autocast_dtype or torch.bfloat16, enabled=autocast_dtype is not None
        ):
            losses = codec_loss(vae, pixels, stage, generator)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        progress(step + 1, {key: float(value.detach()) for key, value in losses.items()} | {"lr": lr})
    return measure_scale(vae, pool, rng)


@torch.no_grad()
def measure_scale(vae: AutoencoderKL, pool: FramePool, rng: np.random.Generator) -> float:
    """1 / standard deviation of the posterior means over 256 random frames."""
    vae.eval()
    means = [vae.encode(pool.draw(32, rng)).latent_dist.mean for _ in range(8)]
    return float(1.0 / torch.cat(means).std())
