# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: find, verify, load, write. Safetensors only; nothing is ever unpickled.

Layout (format 1): config.json (whole architecture), model.safetensors (keys prefixed `model.`, `codec.`,
`text_encoder.`, and `imagined_codec.` where frames are imagined in latents of their own), norm_stats.json,
embodiment.json, format_version, tokenizer/ (unless text is taken as bytes), README.md (model card, optional).
An adapter checkpoint has, in place of model.safetensors, what a fine-tune changed: base.json (another checkpoint and
its SHA-256), trained.safetensors (parts that were trained whole), adapter_config.json and adapter_model.safetensors
(PEFT's format).
"""

from physgen_policy.checkpoint.description import Description, located_config, read_description
from physgen_policy.checkpoint.find import checkpoint_roots, resolve_checkpoint, shipped_checkpoints
from physgen_policy.checkpoint.folder import CheckpointError
from physgen_policy.checkpoint.load import (
    Checkpoint,
    load_checkpoint,
    load_codec,
    load_imagined_codec,
    load_model,
    load_text_encoder,
)
from physgen_policy.checkpoint.tensors import (
    checkpoint_sha256,
    checkpoint_tensors,
    file_sha256,
    is_checkpoint,
)
from physgen_policy.checkpoint.write import (
    merge_checkpoint,
    save_adapter_checkpoint,
    save_checkpoint,
    write_checkpoint,
)

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Description",
    "checkpoint_roots",
    "checkpoint_sha256",
    "checkpoint_tensors",
    "file_sha256",
    "is_checkpoint",
    "load_checkpoint",
    "load_codec",
    "load_imagined_codec",
    "load_model",
    "load_text_encoder",
    "located_config",
    "merge_checkpoint",
    "read_description",
    "resolve_checkpoint",
    "save_adapter_checkpoint",
    "save_checkpoint",
    "shipped_checkpoints",
    "write_checkpoint",
]
