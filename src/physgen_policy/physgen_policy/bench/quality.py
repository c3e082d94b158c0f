# SPDX-License-Identifier: Apache-2.0
"""What fewer denoise steps and fewer samples cost, on frames of a dataset: against 100 steps and the demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen_policy.checkpoint import Checkpoint
from physgen_policy.data.dataset import Dataset, DatasetError
from physgen_policy.sampling.actions import ActionDenoiser
from physgen_policy.sampling.solver import SamplerConfig

REFERENCE = SamplerConfig(kind="ddim", steps=100)
"""Of the same noise: how far a coarser solver lands from where the fine one does."""
PUBLISHED = SamplerConfig(kind="ddpm", steps=100)
"""Of the distribution: what the sampler that the paper writes down predicts on average."""

SAMPLERS: tuple[SamplerConfig, ...] = (
    *(SamplerConfig(kind="ddim", steps=steps) for steps in (4, 5, 10, 25)),
    REFERENCE,
    *(SamplerConfig(kind="dpm", steps=steps) for steps in (4, 5, 10, 25, 100)),
    *(SamplerConfig(kind="ddpm", steps=steps) for steps in (10, 25)),
    PUBLISHED,
    *(SamplerConfig(kind="ddim", steps=10, samples=samples) for samples in (4, 8, 16)),
)
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerQuality:
    """One sampler over all frames; distances are those of the executed chunk's translations [m]."""

    sampler: str
    steps: int
    """Denoise steps."""
    samples: int
    """Drawn per prediction, which is their mean."""
    from_reference: float | None
    """Mean distance to what 100 DDIM steps make of the same noise; None where the noise is not the same."""
    mean_from_published: float
    """Mean distance between the average prediction per frame and that of 100 DDPM steps, with noise of its own. What an
    equally good sampler has left is the row of 100 DDPM steps, which were drawn twice for it."""
    from_demonstration: float
    """Mean distance of single predictions to the labelled actions."""
    median_from_demonstration: float
    """Median of the same distances."""


def measure(
    checkpoint: Checkpoint, dataset: Dataset, *, episodes: int = 24, draws: int = 8
) -> list[SamplerQuality]:
    """Compare all samplers on the first windows of some episodes.

    Args:
        checkpoint: A trained policy.
        dataset: Where the frames come from.
        episodes: How many, spread over the dataset.
        draws: Predictions per frame; fewer where each is already the mean of several samples.

    Raises:
        DatasetError: The dataset's images or actions do not fit the checkpoint.
    """
    with torch.inference_mode():
        windows = list(_windows(checkpoint, dataset, episodes))
        if not windows:
            raise DatasetError(f"{dataset.folder} has no episode that is long enough to compare samplers on")
        memory = torch.cat([memory for memory, _, _ in windows])
        target, mask = (np.concatenate([window[i] for window in windows]) for i in (1, 2))
        chunks = {
            sampler: _sample(checkpoint, memory, sampler, max(1, draws // sampler.samples), _SEED)
            for sampler in SAMPLERS
        }
        published = _sample(checkpoint, memory, PUBLISHED, draws, _SEED + 1).mean(axis=0)
    reference = chunks[REFERENCE]
    results = []
    for sampler, chunk in chunks.items():
        same_noise = sampler.kind != "ddpm" and sampler.samples == 1
        to_label = _distances(chunk, target)[:, mask]
        results.append(
            SamplerQuality(
                sampler=sampler.kind,
                steps=sampler.steps,
                samples=sampler.samples,
                from_reference=float(_distances(chunk, reference).mean()) if same_noise else None,
                mean_from_published=float(_distances(chunk.mean(axis=0), published).mean()),
                from_demonstration=float(to_label.mean()),
                median_from_demonstration=float(np.median(to_label)),
            )
        )
    return results


def _sample(
    checkpoint: Checkpoint, memory: Tensor, sampler: SamplerConfig, draws: int, seed: int
) -> np.ndarray:
    """Return the executed chunks in SI units, [draws, rows, 8, a]."""
    denoiser = ActionDenoiser(checkpoint.model.action_head, sampler)
    generator = torch.Generator(memory.device).manual_seed(seed)
    sampled = denoiser.sample(memory.repeat(draws, 1, 1), generator)[:, 0].float().cpu().numpy()
    actions: np.ndarray = checkpoint.norm.denormalize(sampled)
    return actions.reshape(draws, len(memory), *actions.shape[1:])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the distance of translations per action [m], [..., rows, 8]."""
    distances: np.ndarray = np.linalg.norm(a[..., :3] - b[..., :3], axis=-1)
    return distances


def _windows(
    checkpoint: Checkpoint, dataset: Dataset, episodes: int
) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
    """Yield memory rows [p, m, d], the actions that followed [p, 8, a] and which of them are labels [p, 8].

    Raises:
        DatasetError: The dataset's images or pictures do not fit the checkpoint.
    """
    model, action = checkpoint.model, checkpoint.model.config.action
    device, horizon = next(model.parameters()).device, action.horizon
    if dataset.num_frames and dataset.images(0).shape[1:3] != model.config.nova.image_size:
        raise DatasetError(
            f"{dataset.folder} has images of {dataset.images(0).shape[1:3]} pixels, the checkpoint wants "
            f"{model.config.nova.image_size}"
        )
    for index in np.linspace(0, len(dataset) - 1, min(episodes, len(dataset))).astype(int):
        actions, labels = dataset.actions(index), dataset.labels(index)
        packs = min(len(actions) // horizon, model.config.context_packs)
        if not packs:
            continue
        if horizon % dataset.picture_every(index):
            raise DatasetError(
                f"{dataset.folder} has no pictures at the borders of chunks of {horizon} actions"
            )
        stride = horizon // dataset.picture_every(index)
        frames = torch.from_numpy(dataset.images(index)[: packs * stride : stride]).to(device)
        latents = checkpoint.codec.encode(frames).float()[None]
        chunks = actions[: packs * horizon].reshape(packs, horizon, -1)
        past = np.concatenate([np.zeros_like(chunks[:1]), checkpoint.norm.normalize(chunks[:-1])])
        begins = torch.zeros(1, packs, dtype=torch.bool, device=device)
        begins[:, 0] = True
        states, lengths = checkpoint.text_encoder.encode([dataset.entries[index]["instruction"]])
        output = model.full(
            model.text_tokens(states, lengths),
            latents,
            torch.from_numpy(past)[None].to(device).float(),
            begins,
        )
        memory, _ = model.action_memory(output.action_hidden[0], output.frame_hidden[0], None, None)
        yield memory, chunks, labels[: packs * horizon].reshape(packs, horizon)
