# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders are written beside their place and renamed, so that one is complete or not there."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from physgen_policy.checkpoint import adapters
from physgen_policy.checkpoint.card import keep_or_write_card
from physgen_policy.checkpoint.description import Description, read_description
from physgen_policy.checkpoint.find import shipped_checkpoints
from physgen_policy.checkpoint.folder import (
    BASE_FILE,
    FORMAT_VERSION,
    TOKENIZER,
    TRAINED_FILE,
    WEIGHT_FILE,
    write_json,
)
from physgen_policy.checkpoint.load import IMAGINED_CODEC
from physgen_policy.checkpoint.tensors import checkpoint_tensors
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.contract.tensor_file import save_file
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder


def save_checkpoint(
    folder: Path,
    *,
    model: PhysGen,
    codec: FrameCodec,
    imagined_codec: FrameCodec | None = None,
    text_encoder: TextEncoder,
    config: ModelConfig,
    norm: NormStats,
    embodiment: Embodiment,
    dtype: torch.dtype = torch.float32,
    training: dict[str, Any] | None = None,
) -> Path:
    """Write a complete checkpoint folder atomically (into a sibling, then renamed); floats are stored as `dtype`.

    `imagined_codec` is written where frames are imagined in latents of their own.
    """
    modules: dict[str, nn.Module] = {"model": model, "codec": codec, "text_encoder": text_encoder}
    if config.frames.codec is not None and imagined_codec is not None:
        modules[IMAGINED_CODEC] = imagined_codec
    tensors = {
        f"{prefix}.{key}": value
        for prefix, module in modules.items()
        for key, value in module.state_dict().items()
    }
    return write_checkpoint(folder, tensors, Description(config, norm, embodiment, training or {}), dtype)


def write_checkpoint(
    folder: Path, tensors: dict[str, torch.Tensor], description: Description, dtype: torch.dtype | None
) -> Path:
    """Write prefixed tensors and their description as save_checkpoint does; dtype None keeps every tensor's type."""
    partial = _begin(folder)
    save_file({key: _stored(value, dtype) for key, value in tensors.items()}, partial / WEIGHT_FILE)
    return _finish(partial, folder, description)


def save_adapter_checkpoint(
    folder: Path,
    *,
    base: Path,
    base_sha256: str,
    trained: dict[str, torch.Tensor],
    adapter: adapters.Adapter,
    description: Description,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write what a fine-tune changed beside a reference to the checkpoint it began with.

    Args:
        folder: The folder to write, as save_checkpoint does.
        base: The checkpoint it began with.
        base_sha256: Hash of that one's weights.
        trained: Whole tensors that replace the base's, keys prefixed as in model.safetensors.
        adapter: The low-rank factors of all other changes.
        description: Its config.lora says how the adapter was made.
        dtype: What floats are stored as.
    """
    partial = _begin(folder)
    shipped = shipped_checkpoints().get(base.name)
    same = shipped is not None and shipped.resolve() == base.resolve()
    name = base.name if same else str(base.resolve())
    write_json(partial / BASE_FILE, {"checkpoint": name, "sha256": base_sha256})
    save_file({key: _stored(value, dtype) for key, value in trained.items()}, partial / TRAINED_FILE)
    adapters.write_adapter(partial, adapter, description.config.lora, name)
    return _finish(partial, folder, description)


def merge_checkpoint(source: Path, folder: Path, dtype: torch.dtype) -> Path:
    """Write any checkpoint as a self-contained one, adapters folded into the weights they change."""
    return write_checkpoint(folder, checkpoint_tensors(source), read_description(source), dtype)


def _stored(value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    stored = value.detach()
    if dtype is not None and stored.is_floating_point():
        stored = stored.to(dtype)
    return stored.cpu().contiguous()


def _begin(folder: Path) -> Path:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def _finish(partial: Path, folder: Path, description: Description) -> Path:
    """Write the description and put the new folder in place of the old one."""
    config = description.config
    tokenizer = config.text_encoder.tokenizer
    if tokenizer != "bytes":
        (partial / TOKENIZER).mkdir()
        shutil.copyfile(Path(tokenizer) / "tokenizer.json", partial / TOKENIZER / "tokenizer.json")
        config = replace(config, text_encoder=replace(config.text_encoder, tokenizer=TOKENIZER))
    write_json(partial / "config.json", {"model": config.to_dict(), "training": description.training})
    write_json(partial / "norm_stats.json", description.norm.to_json())
    write_json(partial / "embodiment.json", description.embodiment.to_json())
    (partial / "format_version").write_text(FORMAT_VERSION + "\n")
    keep_or_write_card(partial, folder, description)
    if folder.exists():
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old)
    else:
        partial.rename(folder)
    return folder
