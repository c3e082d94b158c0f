# SPDX-License-Identifier: Apache-2.0
"""What is measured: a checkpoint in float32, and copies of it in another type."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from physgen_policy.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint


def from_checkpoint(name_or_folder: str, device: torch.device) -> Checkpoint:
    """Return a checkpoint in float32.

    Raises:
        CheckpointError: There is no such checkpoint, or it cannot be loaded.
    """
    return load_checkpoint(resolve_checkpoint(name_or_folder, ""), device)


def stored_in(checkpoint: Checkpoint, dtype: torch.dtype) -> Checkpoint:
    """Return the same checkpoint with copies of model and codecs in another type."""
    if dtype == torch.float32:
        return checkpoint
    own = checkpoint.own_imagined_codec
    return replace(
        checkpoint,
        model=copy.deepcopy(checkpoint.model).to(dtype),
        codec=copy.deepcopy(checkpoint.codec).to(dtype),
        own_imagined_codec=None if own is None else copy.deepcopy(own).to(dtype),
    )
