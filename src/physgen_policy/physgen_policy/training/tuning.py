# SPDX-License-Identifier: Apache-2.0
"""Which parameters of the policy network a run changes: all of them, or adapters and the parts that are new."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from physgen_policy.checkpoint.adapters import add_adapters
from physgen_policy.model.config import LoraConfig
from physgen_policy.model.physgen import PhysGen
from physgen_policy.training.config import PolicyStage

TRAINED_WHOLE = ("action_tokenizer.", "action_head.", "nova.video_encoder.mixer.", "nova.video_pos_embed.")
"""Parts that a low-rank fine-tune trains whole: those a video model lacks, and two small ones that have to follow."""

DEFAULT_RANK, DEFAULT_ALPHA_PER_RANK = 16, 2


def adapter_settings(own: LoraConfig, stage: PolicyStage) -> LoraConfig:
    """Return the adapters of a run: the stage's values where given, else the model's, else rank 16."""
    rank = stage.lora_rank or own.rank or DEFAULT_RANK
    same = rank == own.rank
    alpha = stage.lora_alpha or (own.alpha if same else DEFAULT_ALPHA_PER_RANK * rank)
    return replace(own, rank=rank, alpha=alpha, targets=stage.lora_targets or own.targets)


def freeze_all_but_adapters(
    model: PhysGen, lora: LoraConfig, base_dtype: torch.dtype = torch.float32
) -> None:
    """Add adapters to the backbone and leave only them and TRAINED_WHOLE to the optimiser, in place.

    Args:
        model: The policy network.
        lora: The adapters.
        base_dtype: Type in which frozen linear layers are kept; with autocast it saves the cast in every call. What is
            saved later does not come from them.

    Raises:
        AdapterError: No layer can get adapters.
    """
    model.requires_grad_(False)
    add_adapters(model.nova, lora)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name or name.startswith(TRAINED_WHOLE))
    for part in model.modules():
        if type(part) is nn.Linear and not part.weight.requires_grad:
            part.to(base_dtype)


def trained_tensors(model: PhysGen) -> dict[str, Tensor]:
    """Return the parts that were trained whole, under a checkpoint's keys."""
    return {
        f"model.{name}": p.detach() for name, p in model.named_parameters() if name.startswith(TRAINED_WHOLE)
    }
