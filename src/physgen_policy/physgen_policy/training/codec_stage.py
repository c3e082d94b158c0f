# SPDX-License-Identifier: Apache-2.0
"""Trains a small frame codec on the dataset's spliced images, then measures its scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_unshuffle

from physgen_control.errors import UserError
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.frame_codec import TrainableCodec
from physgen_policy.training.config import CodecStage
from physgen_policy.training.held_out import position_in
from physgen_policy.training.optim import learning_rate_at

READOUT_CELLS = 2
"""Quarters of a latent's cell along each axis whose colour is read out."""

SMALLEST_VARIANCE = 1e-6
"""Directions of less variance than this share of the largest are not blown up by whitening."""

CodecProgress = Callable[[int, dict[str, float]], None]


class FramePool:
    """Random frames of several datasets, read episode by episode into one uint8 array that fits in memory.

    Args:
        datasets: Where the frames come from.
        limit: Frames at most.
        rng: Chooses them.
        held_out: Share of the episodes that nothing is trained on, see held_out.py.

    Raises:
        UserError: All episodes are held out.
    """

    def __init__(
        self, datasets: list[Dataset], limit: int, rng: np.random.Generator, held_out: float = 0.0
    ) -> None:
        learned = [
            (dataset, index)
            for dataset in datasets
            for index in range(len(dataset))
            if position_in(dataset, index) >= held_out
        ]
        if not learned:
            raise UserError(
                "all episodes are held out for validation; record more, or set `validation_episodes: 0`"
            )
        counts = [
            len(dataset.actions(index)) // dataset.picture_every(index) + 1 for dataset, index in learned
        ]
        keep = min(1.0, limit / sum(counts))
        frames: list[NDArray[np.uint8]] = []
        for dataset, index in learned:
            images = dataset.images(index)
            frames.append(images if keep == 1.0 else images[rng.random(len(images)) < keep])
        self.frames = np.concatenate(frames)

    def draw(self, count: int, rng: np.random.Generator, crop: int = 0) -> Tensor:
        """Return float32 [count, 3, y, x] in [-1, 1]; whole frames, or random crops of crop x crop pixels."""
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
    """Return uint8 [b, y, x, 3] as float32 [b, 3, y, x] in [-1, 1]."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def colour_readout(codec: TrainableCodec) -> nn.Conv2d:
    """Return a linear map from a latent to the mean colours of its cell's quarters, [b, c, y, x] -> [b, 12, y, x]."""
    return nn.Conv2d(codec.config.latent_channels, 3 * READOUT_CELLS**2, 1)


def cell_colours(pixels: Tensor, stride: int) -> Tensor:
    """Return the mean colours of every cell's quarters, [b, 12, y / stride, x / stride], of pixels [b, 3, y, x]."""
    return pixel_unshuffle(avg_pool2d(pixels, stride // READOUT_CELLS), READOUT_CELLS)


def codec_loss(
    codec: TrainableCodec,
    pixels: Tensor,
    stage: CodecStage,
    generator: torch.Generator,
    readout: nn.Conv2d | None = None,
) -> dict[str, Tensor]:
    """Return the parts of the loss: L1 and squared error on pixels, L1 on gradients, KL to a unit Gaussian, readout.

    Pixels that differ from the frame's mean colour count more: the arm and the objects fill a small part of the view.
    """
    mean, logvar = (part.float() for part in codec.posterior(pixels))
    noise = torch.randn(mean.shape, generator=generator).to(mean.device)
    decoded = codec.decode_latents(mean + torch.exp(0.5 * logvar) * noise).float()
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
    losses = {"reconstruction": reconstruction, "edges": edges, "kl": divergence}
    if readout is not None:
        stride = pixels.shape[-1] // mean.shape[-1]
        missed = (readout(mean).float() - cell_colours(pixels, stride)).square()
        weight = avg_pool2d(saliency, stride)
        losses["readout"] = (missed * weight).mean() / weight.mean()
        total = total + stage.readout_weight * losses["readout"]
    return {"total": total, **losses}


def train_codec(
    codec: TrainableCodec,
    pool: FramePool,
    stage: CodecStage,
    *,
    seed: int,
    device: torch.device,
    autocast_dtype: torch.dtype | None,
    progress: CodecProgress,
) -> float:
    """Train in place on a device; return the scaling factor that gives the latents unit standard deviation.

    Raises:
        UserError: The loss is not finite, or crops are asked for where the codec has place maps.
    """
    if codec.config.place_maps and stage.crop and stage.whole_fraction < 1.0:
        raise UserError("a codec with place maps learns from whole frames: set codec.crop to 0")
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    codec.train().to(device)
    codec.vae.to(memory_format=torch.channels_last)
    readout = colour_readout(codec).to(device) if stage.readout_weight > 0.0 else None
    trained = [*codec.parameters(), *(readout.parameters() if readout is not None else ())]
    optimizer = torch.optim.AdamW(trained, lr=stage.learning_rate, weight_decay=1e-4)
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
        pixels = pixels.to(device=device, memory_format=torch.channels_last)
        with torch.autocast(
            device.type, dtype=autocast_dtype or torch.bfloat16, enabled=autocast_dtype is not None
        ):
            losses = codec_loss(codec, pixels, stage, generator, readout)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
        if not torch.isfinite(norm):
            raise UserError(
                f"the codec's gradient is not finite at step {step + 1}; lower codec.learning_rate"
            )
        optimizer.step()
        progress(step + 1, {key: float(value.detach()) for key, value in losses.items()} | {"lr": lr})
    if stage.whiten:
        whiten(codec, pool, rng)
    return measure_scale(codec, pool, rng)


@torch.no_grad()
def whiten(codec: TrainableCodec, pool: FramePool, rng: np.random.Generator) -> None:
    """Change the basis of the latents so that their mean is 0 and their covariance the identity; images stay the same.

    The 1x1 convolutions after the encoder and before the decoder take the change up. The posterior's variance, which is
    diagonal in the old basis only, becomes its mean over frames. An autoencoder puts what it learned first into a few
    directions: without this their spread may be a hundred times that of others, and what follows is slow to see those.
    """
    codec.eval()
    device = next(codec.parameters()).device
    posteriors = [codec.posterior(pool.draw(32, rng).to(device)) for _ in range(8)]
    means = torch.cat([mean.flatten(2).transpose(1, 2).flatten(0, 1) for mean, _ in posteriors]).double()
    centre, covariance = means.mean(0), torch.cov(means.T)
    values, vectors = torch.linalg.eigh(covariance)
    values = values.clamp(min=float(values.max()) * SMALLEST_VARIANCE)
    forward = vectors @ torch.diag(values.rsqrt()) @ vectors.T  # the whitening nearest to the old basis
    backward = vectors @ torch.diag(values.sqrt()) @ vectors.T
    spread = torch.stack([logvar.exp().mean((0, 2, 3)) for _, logvar in posteriors]).mean(0).double()
    count = len(centre)
    encoder, decoder = codec.vae.quant_conv, codec.vae.post_quant_conv
    weight, bias = encoder.weight.double(), encoder.bias.double()
    weight[:count] = torch.einsum("ij,jkyx->ikyx", forward, weight[:count])
    bias[:count] = forward @ (bias[:count] - centre)
    weight[count:], bias[count:] = 0.0, (forward.square() @ spread).log()
    encoder.weight.copy_(weight)
    encoder.bias.copy_(bias)
    decoder.bias.add_(torch.einsum("ijyx,j->i", decoder.weight.double(), centre).to(decoder.bias.dtype))
    decoder.weight.copy_(torch.einsum("ijyx,jk->ikyx", decoder.weight.double(), backward))


@torch.no_grad()
def measure_scale(codec: TrainableCodec, pool: FramePool, rng: np.random.Generator) -> float:
    """Return 1 / standard deviation of the posterior means over 256 random frames."""
    codec.eval()
    device = next(codec.parameters()).device
    means = [codec.encode_pixels(pool.draw(32, rng).to(device)) for _ in range(8)]
    return float(1.0 / torch.cat(means).std())
