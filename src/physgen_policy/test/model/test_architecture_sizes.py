# SPDX-License-Identifier: Apache-2.0
"""Published keys and counts, presets, strict configuration, model-info."""

import json

import pytest
import torch

from physgen_control.errors import UserError
from physgen_policy.commands import model_info
from physgen_policy.cost import parameters
from physgen_policy.model.config import ModelConfig, load_preset, preset_names
from physgen_policy.model.nova import Nova
from physgen_policy.model.open_sora_vae import OpenSoraVae
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.sizes import ConfigError
from physgen_policy.model.vae_config import VaeConfig


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Key -> shape of the published checkpoint, written out independently of the modules."""
    d, w = 1024, 1280
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def patch(name: str, width: int, size: int) -> None:
        shapes[f"{name}.patch_embed.proj.weight"] = (width, 4, size, size)
        shapes[f"{name}.patch_embed.proj.bias"] = (width,)

    for encoder, depth, size in (("video_encoder", 16, 4), ("image_encoder", 32, 2)):
        patch(encoder, d, size)
        norm(f"{encoder}.norm", d)
        for i in range(depth):
            block = f"{encoder}.blocks.{i}"
            norm(f"{block}.norm1", d)
            norm(f"{block}.norm2", d)
            linear(f"{block}.attn.qkv", 3 * d, d)
            linear(f"{block}.attn.proj", d, d)
            linear(f"{block}.mlp.fc1", 4 * d, d)
            linear(f"{block}.mlp.fc2", d, 4 * d)
    linear("video_encoder.mixer.lora", 24, d, bias=False)
    linear("video_encoder.mixer.proj", 2 * d, 24)
    patch("image_decoder", w, 2)
    for name, inputs in (("timestep_proj", 256), ("condition_proj", d)):
        linear(f"image_decoder.time_cond_embed.{name}.fc1", w, inputs)
        linear(f"image_decoder.time_cond_embed.{name}.fc2", w, w)
    for j in range(3):
        linear(f"image_decoder.blocks.{j}.norm1.proj", 3 * w, w)
        linear(f"image_decoder.blocks.{j}.proj.fc1", w, w)
        linear(f"image_decoder.blocks.{j}.proj.fc2", w, w)
        norm(f"image_decoder.blocks.{j}.norm2", w)
    linear("image_decoder.norm.proj", 2 * w, w)
    linear("image_decoder.head", 16, w)
    shapes["mask_embed.bos_token"] = shapes["mask_embed.mask_token"] = (1, d)
    shapes["text_embed.weight"] = (512, 2560)
    linear("text_embed.proj", d, 2560)
    norm("text_embed.norm", d)
    for name in ("video_pos_embed.time_proj", "motion_embed.flow_proj", "motion_embed.fps_proj"):
        linear(f"{name}.0", d, 256)
        linear(f"{name}.2", d, d)
    norm("video_pos_embed.norm", d)
    return shapes


def test_the_backbone_has_the_published_keys_and_shapes():
    """646 tensors, 644,194,320 parameters, the text table a buffer."""
    with torch.device("meta"):
        nova = Nova(load_preset("physgen-732m").nova)
    ours = {name: tuple(value.shape) for name, value in nova.state_dict().items()}
    assert ours == published_shapes() and len(ours) == 646
    assert sum(parameter.numel() for parameter in nova.parameters()) == 644_194_320
    assert "text_embed.weight" in dict(nova.named_buffers())


def test_the_video_autoencoder_has_the_published_size():
    """94.40 M in the encoder and 144.79 M in the decoder; key kinds of the two dimensionalities."""
    with torch.device("meta"):
        vae = OpenSoraVae(VaeConfig())
    assert sum(p.numel() for p in vae.encoder.parameters()) == pytest.approx(94.40e6, rel=1e-4)
    assert sum(p.numel() for p in vae.decoder.parameters()) == pytest.approx(144.79e6, rel=1e-4)
    shapes = {name: tuple(value.shape) for name, value in vae.state_dict().items()}
    assert shapes["encoder.down_blocks.0.downsamplers.0.conv.weight"] == (128, 128, 3, 3)
    assert shapes["encoder.down_blocks.1.downsamplers.0.conv.weight"] == (256, 256, 3, 3, 3)
    assert shapes["decoder.up_blocks.2.upsamplers.0.conv.weight"] == (256, 256, 1, 3, 3)


def test_model_info_adds_up_to_732_million(capsys):
    """The table of the full-size preset, each part within one per cent."""
    assert model_info.main(["physgen-732m", "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["total_parameters"] == sum(info["parts"].values())
    assert info["total_parameters"] == pytest.approx(732e6, rel=0.01)
    assert info["backbone_parameters"] == 644_194_320 and info["backbone_keys"] == 646
    expected = {
        "video_encoder": 201.68e6, "image_encoder": 403.10e6, "image_decoder": 32.84e6, "embeddings": 6.57e6,
        "action_tokenizer": 1.07e6, "action_head": 82.31e6, "lora": 4.19e6,
    }  # fmt: skip
    assert info["parts"] == {name: pytest.approx(value, rel=0.01) for name, value in expected.items()}
    assert info["window_tokens"] == 2096


def test_the_smallest_preset_stays_small():
    """Everything that is trained on a laptop, autoencoder and text encoder included."""
    info = parameters.model_info(load_preset("tiny"))
    assert info["total_parameters"] + sum(info["outside"].values()) < 8.2e6


@pytest.mark.parametrize("name", preset_names())
def test_every_table_adds_up(name, capsys):
    """The printed parts sum to the printed total, which counts every parameter of the network and its adapters once."""
    config = load_preset(name)
    info = parameters.model_info(config)
    with torch.device("meta"):
        network = sum(parameter.numel() for parameter in PhysGen(config).parameters())
    assert info["total_parameters"] == network + info["parts"].get("lora", 0) == sum(info["parts"].values())
    assert model_info.main([name]) == 0
    lines = capsys.readouterr().out.splitlines()
    end = next(index for index, line in enumerate(lines) if line.startswith("total"))
    numbers = [int(line.split()[-1].replace(",", "")) for line in lines[: end + 1]]
    assert sum(numbers[:-1]) == numbers[-1] == info["total_parameters"]


def test_the_small_preset_has_tens_of_millions():
    """Between the one for a laptop and the published size."""
    assert 2e7 < parameters.model_info(load_preset("small"))["total_parameters"] < 1e8


def test_unknown_models_are_named_in_a_sentence():
    """With the list of presets."""
    with pytest.raises(UserError, match="neither a preset"):
        model_info.main(["nothing-like-this"])


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_a_round_trip(name):
    """to_dict and from_dict are inverse, also through JSON."""
    config = load_preset(name)
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"depth": 3}, r"model has unknown keys \['depth'\]"),
        ({"nova": {"widht": 3}}, r"model.nova has unknown keys \['widht'\]"),
        ({"nova": {"width": "big"}}, "model.nova.width must be int, got 'big'"),
        ({"nova": {"image_size": [480]}}, "model.nova.image_size must be a list of 2"),
        ({"nova": {"image_size": [480, 770]}}, "multiples of vae_stride"),
        ({"action": {"attention": "causal"}}, "model.action.attention must be one of"),
        ({"text_encoder": {"partial_rotary_factor": 0.42}}, "must be a positive even number"),
        ({"bov": "prefix"}, 'use "anchor_only"'),
        ({"nova": [1]}, "model.nova must be a mapping"),
    ],
)
def test_bad_configurations_end_in_a_sentence(values, sentence):
    """Every mistake names the key."""
    with pytest.raises(ConfigError, match=sentence):
        ModelConfig.from_dict(values)
