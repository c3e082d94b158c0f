# SPDX-License-Identifier: Apache-2.0
"""Frame codecs, the video autoencoder's single-frame shortcut, the text encoder."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from physgen_policy.model.frame_codec import OpenSoraCodec, build_frame_codec
from physgen_policy.model.open_sora_vae import CausalConv3d, OpenSoraVae
from physgen_policy.model.text_encoder import build_text_encoder
from physgen_policy.model.vae_config import VaeConfig

VIDEO = VaeConfig(kind="open_sora", block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_groups=4)


def images(batch: int = 2) -> torch.Tensor:
    return torch.randint(
        0, 256, (batch, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["autoencoder_kl", "open_sora"])
def test_codecs_keep_the_contract(config, kind):
    """uint8 images in and out, latents eight times smaller, each image on its own."""
    codec = OpenSoraCodec(VIDEO).eval() if kind == "open_sora" else build_frame_codec(config).eval()
    latents = codec.encode(images())
    assert latents.shape == (2, 4, 8, 8) and latents.dtype == torch.float32
    assert codec.decode(latents).shape == (2, 64, 64, 3) and codec.decode(latents).dtype == torch.uint8
    torch.testing.assert_close(codec.encode(images()[:1]), latents[:1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_scaling_factor_is_applied_once(config):
    """Latents are scaling_factor x posterior mean of pixels in [-1, 1]."""
    codec = build_frame_codec(config).eval()
    pixels = images().permute(0, 3, 1, 2).float() / 127.5 - 1
    torch.testing.assert_close(
        codec.encode(images()), 0.18215 * codec.encode_pixels(pixels), atol=1e-5, rtol=1e-4
    )


def test_codecs_refuse_other_images(config):
    """Float images, channel-first images and odd sizes get a sentence."""
    codec = build_frame_codec(config)
    with pytest.raises(ValueError, match="must be uint8"):
        codec.encode(images().float())
    with pytest.raises(ValueError, match="multiples of 8"):
        codec.encode(images()[:, :60])


def test_one_frame_collapses_exactly():
    """In double precision the 2-D kernel equals the padded 3-D one."""
    conv = CausalConv3d(3, 5, (3, 3, 3)).double()
    x = torch.randn(1, 3, 1, 6, 6, dtype=torch.float64)
    plain = F.conv3d(x.expand(-1, -1, 3, -1, -1), conv.weight, conv.bias, padding=(0, 1, 1))
    torch.testing.assert_close(conv(x[:, :, 0])[:, :, None], plain, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(conv(x), plain, atol=1e-12, rtol=1e-12)


@torch.no_grad()
def test_an_image_is_a_clip_of_one_frame():
    """The whole autoencoder, both directions, in double precision: the 2-D way equals the 3-D way to 1e-12."""
    torch.manual_seed(0)
    vae = OpenSoraVae(VIDEO).double().eval()
    pixels = torch.rand(2, 3, 32, 48, dtype=torch.float64) * 2 - 1
    (mean, logvar), (clip_mean, clip_logvar) = vae.encode(pixels), vae.encode(pixels[:, :, None])
    torch.testing.assert_close(mean, clip_mean[:, :, 0], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(logvar, clip_logvar[:, :, 0], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(
        vae.decode(mean), vae.decode(mean[:, :, None])[:, :, 0], atol=1e-12, rtol=1e-12
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", ["autoencoder_kl", "open_sora"])
def test_the_encoder_copy_equals_the_codec(config, kind):
    """With and without 3-D convolutions, and in another memory layout; the collapsed copy holds no 5-D weight."""
    torch.manual_seed(0)
    codec = OpenSoraCodec(VIDEO).eval() if kind == "open_sora" else build_frame_codec(config).eval()
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    expected = codec.encode_pixels(pixels)
    plain, flat = codec.image_encoder(collapse=False), codec.image_encoder()
    torch.testing.assert_close(plain(pixels), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(flat(pixels), expected, atol=1e-5, rtol=1e-5)
    assert all(parameter.ndim < 5 for parameter in flat.parameters())
    to: Any = flat.to  # torch's stub leaves memory_format out
    last = to(memory_format=torch.channels_last)
    there = last(pixels.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(there, expected, atol=1e-5, rtol=1e-5)
    shared = {p.data_ptr() for p in codec.parameters()} & {p.data_ptr() for p in flat.parameters()}
    assert not shared


@torch.no_grad()
def test_a_long_clip_is_coded_in_overlapping_tiles():
    """33 frames: the first 5 latents are those of the first 17 frames, the other 4 those of frames 16..32 less one."""
    torch.manual_seed(0)
    vae = OpenSoraVae(VIDEO).eval()
    pixels = torch.rand(1, 3, 33, 16, 16) * 2 - 1
    mean, _ = vae.encode(pixels)
    first, second = vae.encode(pixels[:, :, :17])[0], vae.encode(pixels[:, :, 16:])[0]
    torch.testing.assert_close(mean, torch.cat([first, second[:, :, 1:]], dim=2), atol=1e-5, rtol=1e-5)
    there = vae.decode(mean)
    early, late = vae.decode(mean[:, :, :5]), vae.decode(mean[:, :, 4:])
    torch.testing.assert_close(there, torch.cat([early, late[:, :, 1:]], dim=2), atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (17, 5), (33, 9)])
def test_video_lengths(frames, latents):
    """1 + 4k frames give 1 + k latents and come back."""
    vae = OpenSoraVae(VIDEO).eval()
    mean, logvar = vae.encode(torch.zeros(1, 3, frames, 16, 16))
    assert mean.shape == logvar.shape == (1, 4, latents, 2, 2)
    assert vae.decode(mean).shape == (1, 3, frames, 16, 16)


@pytest.mark.parametrize("frames", [2, 20, 21, 34])
def test_clips_that_would_lose_frames_are_refused(frames):
    """An incomplete tile is an error, not a shorter result."""
    with pytest.raises(ValueError, match=f"cannot code {frames} frames"):
        OpenSoraVae(VIDEO).encode(torch.zeros(1, 3, frames, 16, 16))
    if frames == 20:
        with pytest.raises(ValueError, match="cannot code 7 latents"):
            OpenSoraVae(VIDEO).decode(torch.zeros(1, 4, 7, 2, 2))


@torch.no_grad()
def test_text_states_do_not_depend_on_the_padding(config):
    """Right padding cannot reach a prompt, lengths count tokens, long prompts are cut."""
    encoder = build_text_encoder(config).eval()
    states, lengths = encoder.encode(["ab", "", "abcdefgh"])
    assert lengths.tolist() == [2, 0, 6] and states.shape == (3, 6, 16)
    torch.testing.assert_close(states[0, :2], states[2, :2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_beyond_a_prompt_come_from_the_table(model, windows):
    """Whatever the encoder says there is replaced, and the table matters."""
    lengths = torch.tensor([3, 0])
    tokens = model.text_tokens(windows.text_states, lengths)
    states = windows.text_states.clone()
    states[0, 3:] = states[1] = torch.nan
    assert torch.equal(model.text_tokens(states, lengths), tokens)
    torch.testing.assert_close(tokens[0, 3:], tokens[1, 3:])
