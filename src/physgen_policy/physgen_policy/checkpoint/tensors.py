# SPDX-License-Identifier: Apache-2.0
"""The weights of a checkpoint as named tensors, adapters folded into their base, and the hash that identifies them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from physgen_policy.checkpoint import adapters
from physgen_policy.checkpoint.find import resolve_checkpoint
from physgen_policy.checkpoint.folder import (
    BASE_FILE,
    TRAINED_FILE,
    WEIGHT_FILE,
    CheckpointError,
    read_json,
    require_complete,
)


def checkpoint_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of a checkpoint under their prefixed keys, as stored; files are mapped, not read.

    Of an adapter checkpoint: the base's, with the trained parts in place and the adapters folded in (fp32).

    Raises:
        CheckpointError: A file is unreadable, or the base is absent or not the one the adapter was trained on.
    """
    require_complete(path)
    if (path / WEIGHT_FILE).is_file():
        return _read_tensors(path / WEIGHT_FILE)
    base = _base_of(path)
    tensors = checkpoint_tensors(base)
    trained = _read_tensors(path / TRAINED_FILE)
    if unknown := sorted(trained.keys() - tensors.keys()):
        raise CheckpointError(
            f"{path / TRAINED_FILE} holds {unknown[0]}, which its base {base} does not have"
        )
    tensors |= trained
    adapters.read_adapter(path).fold_into(tensors, "model.nova")
    return tensors


def is_checkpoint(path: Path) -> bool:
    """Return whether a folder holds weights of this project: a model's, or an adapter's."""
    return (path / WEIGHT_FILE).is_file() or (path / BASE_FILE).is_file()


def checkpoint_sha256(path: Path) -> str:
    """Return the SHA-256 of the weights: of model.safetensors, or of the base's and all files of an adapter."""
    if (path / WEIGHT_FILE).is_file():
        return file_sha256(path / WEIGHT_FILE)
    digest = hashlib.sha256(str(read_json(path / BASE_FILE).get("sha256")).encode())
    for name in (TRAINED_FILE, adapters.CONFIG_FILE, adapters.WEIGHT_FILE):
        digest.update(file_sha256(path / name).encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _base_of(path: Path) -> Path:
    """Return the base of an adapter checkpoint, found and verified.

    Raises:
        CheckpointError: It is absent, or another version than the adapter was trained on.
    """
    values = read_json(path / BASE_FILE)
    name, sha256 = str(values.get("checkpoint")), values.get("sha256")
    remedy = "bring it back, or use the self-contained `checkpoint` folder of the fine-tune"
    try:
        base = resolve_checkpoint(name, "")
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} is an adapter of the checkpoint {name}, which is not here; {remedy}"
        ) from error
    if checkpoint_sha256(base) != sha256:
        raise CheckpointError(f"{path} is an adapter of another version of the checkpoint {base}; {remedy}")
    return base


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a readable safetensors file: {error}") from error
