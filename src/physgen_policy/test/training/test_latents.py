# SPDX-License-Identifier: Apache-2.0
"""Latents are computed once per codec, dataset and type; the published autoencoder may work in bfloat16."""

from pathlib import Path

import pytest
import torch
from tiny_checkpoint import VIDEO_VAE, tiny_config, tiny_embodiment, write_tiny_dataset

from physgen_policy.data.dataset import Dataset
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.training.latents import dataset_latents, latent_dtype


def test_bfloat16_latents_are_those_of_float32_up_to_rounding(tmp_path: Path) -> None:
    """They are kept apart in the cache, and neither is computed twice."""
    torch.manual_seed(0)
    codec = build_frame_codec(tiny_config({"vae": VIDEO_VAE})).eval()
    dataset = Dataset(write_tiny_dataset(tmp_path / "data", tiny_embodiment()))
    computed: list[int] = []

    def latents(dtype: torch.dtype) -> torch.Tensor:
        found = dataset_latents(
            dataset, codec, tmp_path / "cache", lambda done, _n: computed.append(done), dtype
        )
        return torch.cat(found).float()

    exact, rounded = latents(torch.float32), latents(torch.bfloat16)
    assert exact.shape == rounded.shape == (26, 4, 4, 8)
    error = (rounded - exact).norm() / exact.norm()
    assert 0 < error < 0.02
    torch.testing.assert_close(latents(torch.bfloat16), rounded, atol=0, rtol=0)
    assert computed == [1, 2, 1, 2]
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize(
    ("vae", "autocast", "expected"),
    [
        ({"vae": VIDEO_VAE}, torch.bfloat16, torch.bfloat16),
        ({"vae": VIDEO_VAE}, None, torch.float32),
        (None, torch.bfloat16, torch.float32),
    ],
)
def test_only_the_published_autoencoder_follows_the_run(vae, autocast, expected) -> None:
    assert latent_dtype(build_frame_codec(tiny_config(vae)), autocast) == expected
