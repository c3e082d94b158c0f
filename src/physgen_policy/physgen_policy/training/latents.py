# SPDX-License-Identifier: Apache-2.0
"""Encodes every frame of a dataset once with the frozen codec and keeps the result on disk by content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from physgen_policy.contract.tensor_file import save_file
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.frame_codec import FrameCodec, OpenSoraCodec
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.runtime.frame_encoder import FrameEncoder

PIXELS_PER_CALL = 32 * 128 * 256
"""Pixels encoded at once: 32 small images, or two of 480 x 768; the first layers need about 2 kB for each."""


def latent_dtype(codec: FrameCodec, autocast_dtype: torch.dtype | None) -> torch.dtype:
    """Return the type in which a run encodes its frames.

    The published autoencoder is most of the work, and a policy that acts in bfloat16 runs it in that type: so does a
    run in bfloat16. A small autoencoder costs little and stays in float32.
    """
    return autocast_dtype if autocast_dtype and isinstance(codec, OpenSoraCodec) else torch.float32


def codec_fingerprint(codec: FrameCodec) -> str:
    """Return a hash of the codec's weights: latents of one codec are never used with another."""
    digest = hashlib.sha256()
    for key, value in sorted(codec.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def dataset_fingerprint(dataset: Dataset) -> str:
    """Return a hash of every episode: latents of one picture are never used for another."""
    digest = hashlib.sha256()
    for episode in range(len(dataset)):
        digest.update(f"{dataset.episode_sha256(episode)} {dataset.picture_every(episode)};".encode())
    return digest.hexdigest()


@torch.no_grad()
def dataset_latents(
    dataset: Dataset,
    codec: FrameCodec,
    cache: Path,
    progress: Callable[[int, int], None],
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """Return the scaled latents of every episode, float16 [T // N + 1, c, y, x], from the cache where it is complete.

    N is the episode's picture_every: latent k is of control step k * N.

    Args:
        dataset: Whose pictures are encoded.
        codec: What encodes them.
        cache: Folder that keeps the latents.
        progress: Called with pictures done and all pictures.
        dtype: Of the arithmetic; in another type than float32 the encoder runs as it does when the policy acts.
    """
    content = codec_fingerprint(codec) + dataset_fingerprint(dataset)
    encode: Callable[[Tensor], Tensor] = codec.encode
    if dtype != torch.float32:
        content += f" {dtype}"
        encode = FrameEncoder(codec, EngineOptions(), dtype)
    key = hashlib.sha256(content.encode()).hexdigest()[:16]
    path = cache / f"latents-{key}.safetensors"
    if path.is_file():
        stored = load_file(path)
        return [stored[f"{index:06d}"] for index in range(len(dataset))]
    pixels = dataset.embodiment.image_height * dataset.embodiment.image_width
    batch = max(1, PIXELS_PER_CALL // (2 * pixels))
    device = next(codec.parameters()).device
    latents: list[Tensor] = []
    for index, images in dataset.iter_images():
        parts = [encode(torch.from_numpy(chunk).to(device)).cpu() for chunk in _chunks(images, batch)]
        latents.append(torch.cat(parts).to(torch.float16))
        progress(index + 1, len(dataset))
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({f"{i:06d}": value.contiguous() for i, value in enumerate(latents)}, partial)
    partial.replace(path)
    return latents


def _chunks(images: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]
