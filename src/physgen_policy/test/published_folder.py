# SPDX-License-Identifier: Apache-2.0
"""A folder with the layout of the published model and random weights, at tiny or full size; for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from physgen_policy.model.config import ModelConfig, NovaConfig
from physgen_policy.model.nova import Nova
from physgen_policy.model.open_sora_vae import OpenSoraVae
from physgen_policy.published.nova_folder import SINGLE, validate_nova


def published_config() -> ModelConfig:
    """Tiny, with the head width of 64 and the 32 norm groups that every published size has."""
    return ModelConfig.from_dict(
        {
            "nova": {
                "width": 64,
                "heads": 1,
                "video_depth": 2,
                "image_depth": 2,
                "head_width": 32,
                "head_depth": 1,
                "image_size": [32, 64],
                "text_dim": 32,
                "text_len": 8,
                "text_table_rows": 16,
                "mixer_rank": 4,
            },
            "action": {"dit_width": 32, "dit_depth": 2, "dit_heads": 2},
            "text_encoder": {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_layers": 2,
                "num_heads": 2,
                "partial_rotary_factor": 0.5,
                "vocab_size": 300,
                "max_positions": 64,
            },
            "vae": {"kind": "open_sora", "block_out_channels": [32, 32, 32, 32], "layers_per_block": 1},
            "lora": {"rank": 2, "alpha": 4},
        }
    )


def save_nova_folder(folder: Path, tensors: dict[str, Tensor], config: NovaConfig) -> None:
    """Write the tensors unchanged as a folder of the published layout, in one weight file.

    Raises:
        NovaFolderError: the tensors do not fit the configuration.
    """
    validate_nova(tensors, config, folder)
    (folder / "transformer").mkdir(parents=True, exist_ok=True)
    index = {"_class_name": "NOVAPipeline", "transformer": ["diffnext", "NOVATransformer3DModel"]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "transformer" / SINGLE)


def write_published_folder(folder: Path, config: ModelConfig, *, shards: bool = False) -> Path:
    """fp16 weights; Phi in the PhiForCausalLM layout, optionally in two shards with an index."""
    from transformers import PhiConfig, PhiForCausalLM

    nova, text, vae = config.nova, config.text_encoder, config.vae
    torch.manual_seed(0)
    save_nova_folder(folder, _half(Nova(nova)), nova)
    height, width = nova.latent_size
    _json(
        folder / "transformer" / "config.json",
        {
            "image_dim": nova.latent_channels,
            "image_size": list(nova.image_size),
            "image_stride": nova.vae_stride,
            "text_token_dim": nova.text_dim,
            "text_token_len": nova.text_len,
            "video_base_size": [nova.base_time, height // nova.video_patch, width // nova.video_patch],
            "image_base_size": [height // nova.image_patch, width // nova.image_patch],
            "arch": [
                f"vit_d{nova.video_depth}w{nova.width}",
                f"vit_d{nova.image_depth}w{nova.width}",
                f"mlp_d{nova.head_depth}w{nova.head_width}",
            ],
        },
    )
    (folder / "vae").mkdir()
    save_file(_half(OpenSoraVae(vae)), folder / "vae" / "diffusion_pytorch_model.safetensors")
    _json(
        folder / "vae" / "config.json",
        {
            "block_out_channels": list(vae.block_out_channels),
            "layers_per_block": vae.layers_per_block,
            "latent_channels": vae.latent_channels,
            "norm_num_groups": vae.norm_groups,
            "scaling_factor": vae.scaling_factor,
        },
    )
    described = {
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_hidden_layers": text.num_layers,
        "num_attention_heads": text.num_heads,
        "vocab_size": text.vocab_size,
        "max_position_embeddings": text.max_positions,
        "partial_rotary_factor": text.partial_rotary_factor,
    }
    (folder / "text_encoder").mkdir()
    _json(folder / "text_encoder" / "config.json", described)
    tensors = _half(PhiForCausalLM(PhiConfig(**described, bos_token_id=0, eos_token_id=0, pad_token_id=0)))
    if shards:
        keys, names = sorted(tensors), ("a.safetensors", "b.safetensors")
        for name, part in zip(names, (keys[::2], keys[1::2]), strict=True):
            save_file({key: tensors[key] for key in part}, folder / "text_encoder" / name)
        where = {key: names[i % 2] for i, key in enumerate(keys)}
        index = {"metadata": {}, "weight_map": where}
        _json(folder / "text_encoder" / "model.safetensors.index.json", index)
    else:
        save_file(tensors, folder / "text_encoder" / "model.safetensors")
    (folder / "tokenizer").mkdir()
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "push": 1, "the": 2, "cube": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    return folder


def _half(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.half().contiguous() for key, value in module.state_dict().items()}


def _json(path: Path, values: Mapping[str, object]) -> None:
    path.write_text(json.dumps(values))
