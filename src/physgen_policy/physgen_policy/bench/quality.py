# SPDX-License-Identifier: Apache-2.0
"""What fewer denoise steps cost, on frames of a dataset: against 100 steps and against the demonstrations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from physgen_policy.checkpoint import Checkpoint
from physgen_policy.data.dataset import Dataset, DatasetError
from physgen_policy.sampling.actions import ActionDenoiser
from physgen_policy.sampling.solver import SamplerConfig, SolverKind

SAMPLERS: tuple[tuple[SolverKind, int], ...] = (
    *(("ddim", steps) for steps in (4, 5, 10, 25, 100)),
    *(("dpm", steps) for steps in (4, 5, 10, 25, 100)),
    *(("ddpm", steps) for steps in (10, 25, 100)),
)
REFERENCE: tuple[SolverKind, int] = ("ddim", 100)
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerQuality:
    """One sampler over all frames; translations of the executed chunk, metres.

    from_reference: mean distance to what 100 DDIM steps make of the same noise. from_demonstration: mean distance to
    the labelled actions; median_from_demonstration likewise.
    """

    sampler: str
    steps: int
    from_reference: float
    from_demonstration: float
    median_from_demonstration: float


def measure(
    checkpoint: Checkpoint, dataset: Dataset, *, episodes: int = 24, draws: int = 4
) -> list[SamplerQuality]:
    """Compare all samplers on the first windows of `episodes` episodes, spread over the dataset.

    Args:
        draws: noise draws per frame, the same for every deterministic sampler.

    Raises:
        DatasetError: the dataset's images or actions do not fit the checkpoint.
    """
    memories, targets, masks = [], [], []
    with torch.inference_mode():
        for memory, target, mask in _windows(checkpoint, dataset, episodes):
            memories.append(memory.repeat(draws, 1, 1))
            targets.append(np.tile(target, (draws, 1, 1)))
            masks.append(np.tile(mask, (draws, 1)))
        if not memories:
            raise DatasetError(f"{dataset.folder} has no episode that is long enough to compare samplers on")
        memory = torch.cat(memories)
        target, mask = np.concatenate(targets), np.concatenate(masks)
        chunks = {(kind, steps): _sample(checkpoint, memory, kind, steps) for kind, steps in SAMPLERS}
    reference = chunks[REFERENCE]
    results = []
    for (kind, steps), chunk in chunks.items():
        to_label = _distances(chunk, target)[mask]
        results.append(
            SamplerQuality(
                sampler=kind,
                steps=steps,
                from_reference=float(_distances(chunk, reference).mean()),
                from_demonstration=float(to_label.mean()),
                median_from_demonstration=float(np.median(to_label)),
            )
        )
    return results


def _sample(checkpoint: Checkpoint, memory: Tensor, kind: SolverKind, steps: int) -> np.ndarray:
    """The executed chunk in SI units, [rows, 8, a]."""
    denoiser = ActionDenoiser(checkpoint.model.action_head, SamplerConfig(kind=kind, steps=steps))
    generator = torch.Generator(memory.device).manual_seed(_SEED)
    sampled = denoiser.sample(memory, generator)[:, 0].float().cpu().numpy()
    actions: np.ndarray = checkpoint.norm.denormalize(sampled)
    return actions


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distance of translations per action, [rows, 8]."""
    distances: np.ndarray = np.linalg.norm(a[..., :3] - b[..., :3], axis=-1)
    return distances


def _windows(
    checkpoint: Checkpoint, dataset: Dataset, episodes: int
) -> Iterator[tuple[Tensor, np.ndarray, np.ndarray]]:
    """Memory rows [p, m, d], the actions that followed [p, 8, a] and which of them are labels [p, 8]."""
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
        frames = torch.from_numpy(dataset.images(index)[: packs * horizon : horizon]).to(device)
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
