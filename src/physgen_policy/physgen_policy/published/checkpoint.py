# SPDX-License-Identifier: Apache-2.0
"""Published video models (NOVA folders with autoencoder and Phi) as checkpoints to fine-tune; the action parts are new.

Sizes are read from the folder's own config files, then every tensor is checked against them by name and shape.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from physgen_policy.checkpoint import Description, write_checkpoint
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.action_head import ActionDiT
from physgen_policy.model.action_tokenizer import ActionTokenizer
from physgen_policy.model.config import ModelConfig, NovaConfig, TextEncoderConfig
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.model.sizes import ConfigError
from physgen_policy.model.text_encoder import build_text_encoder
from physgen_policy.model.vae_config import VaeConfig
from physgen_policy.published.nova_folder import (
    SINGLE,
    NovaFolderError,
    check_tensors,
    load_nova_folder,
    read_weights,
)

PHI_SINGLE = "model.safetensors"
NO_ROBOT = "none"
"""Robot of a checkpoint that was never trained on actions: no graph accepts it."""

HEAD_WIDTH = 64
"""Width of one attention head in every published size."""


def import_published(
    folder: Path, out: Path, preset: ModelConfig, *, text_encoder: Path | None = None, origin: dict[str, Any]
) -> Path:
    """Write a checkpoint whose backbone, autoencoder and text encoder are the folder's, bit for bit.

    Args:
        folder: The published folder.
        out: The checkpoint folder to write.
        preset: Action head, window and adapters; its backbone is used only where the folder has no config.json.
        text_encoder: transformers' PhiModel or PhiForCausalLM folder, if it is not the folder's own; the tokenizer may
            lie in it or beside it.
        origin: Where the folder came from, kept in config.json.

    Raises:
        NovaFolderError: A file is absent, or a tensor is missing, unexpected or of wrong shape; it is named.
    """
    texts = text_encoder or folder / "text_encoder"
    config = replace(
        preset,
        nova=nova_config(folder, preset.nova),
        vae=_vae_config(folder / "vae"),
        text_encoder=_phi_config(texts, _tokenizer(folder, texts)),
    )
    tensors = {f"model.nova.{key}": value for key, value in load_nova_folder(folder, config.nova).items()}
    tensors |= _load_vae(folder / "vae", config)
    tensors |= _load_phi(texts, config)
    torch.manual_seed(0)
    action, width = config.action, config.nova.width
    new: dict[str, nn.Module] = {
        "action_tokenizer": ActionTokenizer(action.action_dim, action.horizon, action.num_chunks, width),
        "action_head": ActionDiT(action, width),
    }
    for prefix, part in new.items():
        tensors |= {f"model.{prefix}.{key}": value for key, value in part.state_dict().items()}
    height, width_both = config.nova.image_size
    never_fitted = NormStats(
        np.zeros(action.action_dim, np.float32), np.ones(action.action_dim, np.float32), 0
    )
    embodiment = Embodiment(
        robot=NO_ROBOT,
        image_height=height,
        image_width=width_both // 2,
        horizon=action.horizon,
        num_chunks=action.num_chunks,
    )
    described = Description(config, never_fitted, embodiment, {"imported": origin})
    return write_checkpoint(out, tensors, described, None)


def nova_config(folder: Path, preset: NovaConfig) -> NovaConfig:
    """Return the sizes of a published backbone.

    Raises:
        NovaFolderError: transformer/config.json describes something this project has no code for.
        ConfigError: Its sizes do not fit together.
    """  # noqa: DOC501  # only the documented ones pass
    path = folder / "transformer" / "config.json"
    if not path.is_file():
        return preset
    values = _read(path)
    if values.get("rotary_pos_embed"):
        raise NovaFolderError(f"{path} asks for rotary_pos_embed, whose weights this backbone does not have")
    try:
        video, image, head = (_arch(name) for name in values["arch"])
        size, stride = tuple(values["image_size"]), int(values["image_stride"])
        base, image_base = values["video_base_size"], values["image_base_size"]
        rows = size[0] // stride
        width = video[1]
        return replace(
            preset,
            width=width,
            heads=preset.heads if preset.width == width else width // HEAD_WIDTH,
            video_depth=video[0],
            image_depth=image[0],
            head_depth=head[0],
            head_width=head[1],
            latent_channels=int(values["image_dim"]),
            image_size=size,
            vae_stride=stride,
            video_patch=rows // int(base[1]),
            image_patch=rows // int(image_base[0]),
            text_dim=int(values["text_token_dim"]),
            text_len=int(values["text_token_len"]),
            base_time=int(base[0]),
            **_sizes_of_tensors(folder),
        )
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        if isinstance(error, NovaFolderError | ConfigError):
            raise
        raise NovaFolderError(f"{path} does not describe a NOVA backbone ({error})") from error


def _sizes_of_tensors(folder: Path) -> dict[str, int]:
    """Return what the published config may leave out: the mixer's rank and the rows of the text table."""
    tensors = read_weights(folder / "transformer", SINGLE)
    sizes = {"mixer_rank": 0}
    if (mixer := tensors.get("video_encoder.mixer.lora.weight")) is not None:
        sizes["mixer_rank"] = mixer.shape[0]
    if (table := tensors.get("text_embed.weight")) is not None:
        sizes["text_table_rows"] = table.shape[0]
    return sizes


def _arch(name: str) -> tuple[int, int]:
    """Return depth and width of e.g. "vit_d16w1024".

    Raises:
        ValueError: The name is none of that kind.
    """
    found = re.fullmatch(r"[a-z]+_d(\d+)w(\d+)", name)
    if not found:
        raise ValueError(f"unknown architecture {name!r}")
    return int(found[1]), int(found[2])


def _vae_config(folder: Path) -> VaeConfig:
    values = _read(folder / "config.json")
    try:
        return VaeConfig(
            kind="open_sora",
            block_out_channels=tuple(values["block_out_channels"]),
            layers_per_block=int(values["layers_per_block"]),
            latent_channels=int(values["latent_channels"]),
            norm_groups=int(values.get("norm_num_groups", 32)),
            scaling_factor=float(values["scaling_factor"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NovaFolderError(
            f"{folder / 'config.json'} does not describe the video autoencoder ({error})"
        ) from error


def _phi_config(folder: Path, tokenizer: Path) -> TextEncoderConfig:
    values = _read(folder / "config.json")
    rope = values.get("rope_parameters") or {}
    try:
        return TextEncoderConfig(
            hidden_size=int(values["hidden_size"]),
            intermediate_size=int(values["intermediate_size"]),
            num_layers=int(values["num_hidden_layers"]),
            num_heads=int(values["num_attention_heads"]),
            vocab_size=int(values["vocab_size"]),
            max_positions=int(values["max_position_embeddings"]),
            partial_rotary_factor=float(
                values.get("partial_rotary_factor", rope.get("partial_rotary_factor", 0.5))
            ),
            tokenizer=str(tokenizer),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise NovaFolderError(f"{folder / 'config.json'} does not describe a Phi model ({error})") from error


def _tokenizer(folder: Path, texts: Path) -> Path:
    for place in (texts, texts.parent / "tokenizer", folder / "tokenizer"):
        if (place / "tokenizer.json").is_file():
            return place
    raise NovaFolderError(f"there is no tokenizer.json in {texts} or in {folder / 'tokenizer'}; fetch it too")


def _load_vae(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        own = build_frame_codec(config).state_dict()
    given = {f"vae.{key}": value for key, value in read_weights(folder, SINGLE).items()}
    check_tensors(given, {key: tuple(value.shape) for key, value in own.items()}, folder)
    return {f"codec.{key}": value for key, value in given.items()}


def _load_phi(folder: Path, config: ModelConfig) -> dict[str, Tensor]:
    """Return Phi's own tensors; the language-model head is not used, and tables that are recomputed are not stored."""
    with torch.device("meta"):
        own = build_text_encoder(config).state_dict()
    given = {
        f"phi.{key.removeprefix('model.')}": value
        for key, value in read_weights(folder, PHI_SINGLE).items()
        if not key.startswith("lm_head.") and not key.endswith("rotary_emb.inv_freq")
    }
    check_tensors(given, {key: tuple(value.shape) for key, value in own.items()}, folder)
    return {f"text_encoder.{key}": value for key, value in given.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise NovaFolderError(f"{path} cannot be read ({error}); fetch the folder again") from error
    if not isinstance(values, dict):
        raise NovaFolderError(f"{path} must hold a JSON object")
    return values
