# SPDX-License-Identifier: Apache-2.0
"""What the codec's training promises to what follows: white latents, the same images, colours that are linear."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_checkpoint import tiny_embodiment, write_tiny_dataset

from physgen_control.errors import UserError
from physgen_policy.data.dataset import Dataset
from physgen_policy.model.config import load_preset
from physgen_policy.model.frame_codec import TrainableCodec, build_frame_codec
from physgen_policy.model.sizes import ConfigError
from physgen_policy.training.codec_stage import FramePool, cell_colours, train_codec, whiten
from physgen_policy.training.config import CodecStage, TrainConfigError, parse_config
from physgen_policy.training.held_out import episode_position


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> FramePool:
    folder = write_tiny_dataset(tmp_path_factory.mktemp("codec"), tiny_embodiment())
    return FramePool([Dataset(folder)], 1000, np.random.default_rng(0))


def test_a_codec_never_sees_what_is_held_out(tmp_path: Path) -> None:
    """It once learned from every episode, and its figures on held-out ones were those of pictures it knew."""
    dataset = Dataset(write_tiny_dataset(tmp_path, tiny_embodiment()))
    positions = [episode_position(dataset.actions(index)) for index in range(len(dataset))]
    share = sorted(positions)[len(positions) // 2]
    learned = [index for index, position in enumerate(positions) if position >= share]
    assert 0 < len(learned) < len(dataset)
    pool = FramePool([dataset], 1000, np.random.default_rng(0), share)
    expected = np.concatenate([dataset.images(index) for index in learned])
    np.testing.assert_array_equal(pool.frames, expected)
    with pytest.raises(UserError, match="all episodes are held out"):
        FramePool([dataset], 1000, np.random.default_rng(0), 1.0)


KINDS: dict[str, dict[str, Any]] = {
    "autoencoder_kl": {"block_out_channels": (8, 8, 8, 8), "layers_per_block": 1, "norm_groups": 4},
    "patch": {"block_out_channels": (8, 16), "layers_per_block": 1},
}


@pytest.fixture(params=KINDS)
def codec(request: pytest.FixtureRequest) -> TrainableCodec:
    torch.manual_seed(0)
    config = load_preset("tiny", {"vae": {"kind": request.param, **KINDS[request.param]}})
    built = build_frame_codec(config)
    assert isinstance(built, TrainableCodec)
    return built


@torch.no_grad()
def test_white_latents_show_the_same_images(codec: TrainableCodec, pool: FramePool) -> None:
    """Zero mean and unit covariance over frames; what is decoded stays."""
    pixels = pool.draw(16, np.random.default_rng(1))
    codec.eval()
    before = codec.decode_latents(codec.encode_pixels(pixels))
    whiten(codec, pool, np.random.default_rng(2))
    mean, logvar = codec.posterior(pixels)
    torch.testing.assert_close(codec.decode_latents(mean), before, atol=2e-3, rtol=1e-3)
    frames = torch.cat([codec.encode_pixels(pool.draw(32, np.random.default_rng(3))) for _ in range(4)])
    rows = frames.permute(0, 2, 3, 1).flatten(0, 2)
    torch.testing.assert_close(rows.mean(0), torch.zeros(4), atol=0.2, rtol=0.0)
    torch.testing.assert_close(torch.cov(rows.T), torch.eye(4), atol=0.3, rtol=0.0)
    variance = logvar.exp()
    assert torch.isfinite(variance).all() and variance.std((0, 2, 3)).max() < 1e-3 * variance.max()


def test_colours_of_a_cell_are_those_of_its_quarters() -> None:
    pixels = torch.zeros(1, 3, 16, 16)
    pixels[0, 0, :4, 4:8] = 1.0  # red in the upper right quarter of the first cell
    cells = cell_colours(pixels, 8)
    assert cells.shape == (1, 12, 2, 2)
    assert cells[0, :, 0, 0].tolist() == [0.0, 1.0, 0.0, 0.0] + [0.0] * 8
    assert cells[0, :, 1:, 1:].abs().sum() == 0.0


def test_the_readout_teaches_the_encoder_colours(codec: TrainableCodec, pool: FramePool) -> None:
    """Its error falls, and the autoencoder keeps its tensors: the map itself is thrown away."""
    names, seen = set(codec.state_dict()), []
    stage = CodecStage(
        steps=30, batch_size=4, crop=0, readout_weight=4.0, learning_rate=5e-3, whole_fraction=0.0
    )
    train_codec(
        codec,
        pool,
        stage,
        seed=0,
        device=torch.device("cpu"),
        autocast_dtype=None,
        progress=lambda _s, v: seen.append(v["readout"]),
    )
    assert np.mean(seen[-5:]) < 0.7 * np.mean(seen[:5])
    assert set(codec.state_dict()) == names


def test_a_codec_that_something_follows_keeps_its_basis() -> None:
    values: dict[str, object] = {"name": "n", "model": "checkpoint", "dataset": "d", "output": "o"}
    values |= {"policy": {"init_from": "pushcube-tiny"}, "codec": {"tune": True, "whiten": True}}
    with pytest.raises(TrainConfigError, match=r"codec\.whiten"):
        parse_config(values, "here")


def test_place_maps_ask_for_whole_frames(pool: FramePool) -> None:
    """A crop shows a place of the picture somewhere else; and pictures of another size have no such places."""
    vae = {"kind": "patch", "block_out_channels": (8, 16), "layers_per_block": 1, "place_maps": True}
    codec = build_frame_codec(load_preset("tiny", {"vae": vae}))
    assert isinstance(codec, TrainableCodec)
    stage = CodecStage(steps=1, batch_size=1)
    with pytest.raises(UserError, match=r"codec\.crop to 0"):
        train_codec(
            codec,
            pool,
            stage,
            seed=0,
            device=torch.device("cpu"),
            autocast_dtype=None,
            progress=lambda *_: None,
        )
    latents = codec.encode_pixels(torch.zeros(1, 3, 128, 256))
    assert latents.shape == (1, 4, 16, 32)
    assert codec.decode_latents(latents).shape == (1, 3, 128, 256)
    with pytest.raises(ValueError, match=r"place maps are of images of \[128, 256\] pixels, got \[64, 64\]"):
        codec.decode_latents(latents[:, :, :8, :8])


@pytest.mark.parametrize(
    ("vae", "sentence"),
    [
        ({"kind": "patch"}, "needs 2 levels"),
        ({"block_out_channels": (8, 16)}, "needs 4 levels"),
        ({"place_maps": True}, "place_maps belong to"),
    ],
)
def test_an_impossible_autoencoder_is_a_sentence(vae: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_preset("tiny", {"vae": vae})
