# SPDX-License-Identifier: Apache-2.0
"""How many parameters each part of a model has; networks are built on the meta device, so no weights are read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from physgen_control.errors import UserError
from physgen_control.program.plain_values import read_json_object
from physgen_policy.model.config import ModelConfig, load_preset, preset_names
from physgen_policy.model.frame_codec import build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import build_text_encoder

EMBEDDINGS = ("mask_embed", "text_embed", "video_pos_embed", "motion_embed")


def model_info(config: ModelConfig) -> dict[str, Any]:
    """Parameter counts of a configuration.

    Returns:
        total_parameters (the sum of parts), backbone_parameters and backbone_keys (the published checkpoint's tensors,
        the text table included as a key but not as parameters), parts, and outside: networks that are not counted in
        the total because they are not part of the policy network.

    Raises:
        UserError: No network can be built from the configuration.
    """
    try:
        with torch.device("meta"):
            model = PhysGen(config)
            outside = {"frame_codec": build_frame_codec(config), "text_encoder": build_text_encoder(config)}
            if config.frames.codec is not None:
                outside["imagined_codec"] = build_frame_codec(config.of_frames())
    # RuntimeError and ArithmeticError: sizes beyond 64 bits.
    except (ValueError, RuntimeError, ArithmeticError, AssertionError) as error:
        raise UserError(f"no network can be built from this configuration: {error}") from error
    nova = model.nova
    parts = {
        "video_encoder": count_parameters(nova.video_encoder),
        "image_encoder": count_parameters(nova.image_encoder),
        "image_decoder": count_parameters(nova.image_decoder),
        "embeddings": sum(count_parameters(getattr(nova, name)) for name in EMBEDDINGS),
        "action_tokenizer": count_parameters(model.action_tokenizer),
        "action_head": count_parameters(model.action_head),
    }
    if model.frame_inputs is not None:
        parts["frame_inputs"] = count_parameters(model.frame_inputs)
    if config.lora.rank:
        parts["lora"] = lora_parameters(nova, config)
    return {
        "total_parameters": sum(parts.values()),
        "backbone_parameters": count_parameters(nova),
        "backbone_keys": len(nova.state_dict()),
        "parts": parts,
        "outside": {name: count_parameters(module) for name, module in outside.items()},
        "window_tokens": config.window_tokens,
        "frame_tokens": config.nova.frame_tokens,
    }


def count_parameters(module: nn.Module) -> int:
    """Numbers in all parameters (buffers are not counted)."""
    return sum(parameter.numel() for parameter in module.parameters())


def lora_parameters(nova: nn.Module, config: ModelConfig) -> int:
    """Parameters of the low-rank adapters that the configuration asks for.

    Raises:
        UserError: `lora.targets` is no regular expression.
    """
    try:
        targets = re.compile(config.lora.targets)
    except re.error as error:
        raise UserError(f"lora.targets {config.lora.targets!r} is no regular expression: {error}") from error
    return sum(
        config.lora.rank * (module.in_features + module.out_features)
        for name, module in nova.named_modules()
        if isinstance(module, nn.Linear) and targets.search(name)
    )


def read_config(preset_or_checkpoint: str) -> ModelConfig:
    """Configuration of a preset name or of a checkpoint folder.

    Raises:
        UserError: neither exists, or the folder's config.json is not usable.
    """
    if preset_or_checkpoint in preset_names():
        return load_preset(preset_or_checkpoint)
    folder = Path(preset_or_checkpoint).expanduser()
    if not folder.is_dir():
        # Imported here: this pulls in everything a checkpoint can hold, which a preset does not need.
        from physgen_policy.checkpoint import shipped_checkpoints

        shipped = shipped_checkpoints()
        if preset_or_checkpoint not in shipped:
            raise UserError(
                f"{preset_or_checkpoint!r} is neither a preset ({', '.join(preset_names())}), a shipped checkpoint "
                f"({', '.join(shipped) or 'none'}) nor a checkpoint folder"
            )
        folder = shipped[preset_or_checkpoint]
    path = folder / "config.json"
    values = read_json_object(path)
    if "model" not in values:
        raise UserError(f'{path} has no "model" entry; give a PhysGen checkpoint folder')
    from physgen_policy.checkpoint import located_config

    return located_config(folder, values["model"])
