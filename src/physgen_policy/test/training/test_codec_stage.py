# SPDX-License-Identifier: Apache-2.0
"""What the codec's training promises to what follows: white latents, the same images, colours that are linear."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from tiny_checkpoint import tiny_embodiment, write_tiny_dataset

from physgen_policy.data.dataset import Dataset
from physgen_policy.training.codec_stage import FramePool, cell_colours, train_codec, whiten
from physgen_policy.training.config import CodecStage, TrainConfigError, parse_config


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> FramePool:
    folder = write_tiny_dataset(tmp_path_factory.mktemp("codec"), tiny_embodiment())
    return FramePool([Dataset(folder)], 1000, np.random.default_rng(0))


@pytest.fixture
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


@torch.no_grad()
def test_white_latents_show_the_same_images(vae: AutoencoderKL, pool: FramePool) -> None:
    """Zero mean and unit covariance over frames; what is decoded stays."""
    pixels = pool.draw(16, np.random.default_rng(1))
    vae.eval()
    before = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    whiten(vae, pool, np.random.default_rng(2))
    posterior = vae.encode(pixels).latent_dist
    torch.testing.assert_close(vae.decode(posterior.mean).sample, before, atol=2e-3, rtol=1e-3)
    frames = torch.cat(
        [vae.encode(pool.draw(32, np.random.default_rng(3))).latent_dist.mean for _ in range(4)]
    )
    rows = frames.permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(rows.mean(0), torch.zeros(4), atol=0.2, rtol=0.0)
    torch.testing.assert_close(torch.cov(rows.T), torch.eye(4), atol=0.3, rtol=0.0)
    assert (
        torch.isfinite(posterior.var).all()
        and posterior.var.std((0, 2, 3)).max() < 1e-3 * posterior.var.max()
    )


def test_colours_of_a_cell_are_those_of_its_quarters() -> None:
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[0, 0, :4, 4:8] = 1.0  # red in the upper right quarter of the first cell
    cells = cell_colours(pixels, 8)
    assert cells.shape == (1, 12, 2, 2)
    assert cells[0, :, 0, 0].tolist() == [0.0, 1.0, 0.0, 0.0] + [0.0] * 8
    assert cells[0, :, 1:, 1:].abs().sum() == 0.0


def test_the_readout_teaches_the_encoder_colours(vae: AutoencoderKL, pool: FramePool) -> None:
    """Its error falls, and the autoencoder keeps its tensors: the map itself is thrown away."""
    names, seen = set(vae.state_dict()), []
    stage = CodecStage(
        steps=30, batch_size=4, crop=0, readout_weight=4.0, learning_rate=5e-3, whole_fraction=0.0
    )
    train_codec(
        vae,
        pool,
        stage,
        seed=0,
        device=torch.device("cpu"),
        autocast_dtype=None,
        progress=lambda _s, v: seen.append(v["readout"]),
    )
    assert np.mean(seen[-5:]) < 0.7 * np.mean(seen[:5])
    assert set(vae.state_dict()) == names


def test_a_codec_that_something_follows_keeps_its_basis() -> None:
    values: dict[str, object] = {"name": "n", "model": "checkpoint", "dataset": "d", "output": "o"}
    values |= {"policy": {"init_from": "pushcube-tiny"}, "codec": {"tune": True, "whiten": True}}
    with pytest.raises(TrainConfigError, match=r"codec\.whiten"):
        parse_config(values, "here")
