# SPDX-License-Identifier: Apache-2.0
"""Reading the backbone's weights in the published folder layout, every key and shape checked."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from physgen_control.errors import UserError
from physgen_policy.model.config import NovaConfig
from physgen_policy.model.nova import Nova

SINGLE = "diffusion_pytorch_model.safetensors"
FLOATS = (torch.float16, torch.bfloat16, torch.float32)


class NovaFolderError(UserError):
    """A folder does not hold the backbone that the configuration describes; the message names what is wrong."""


def expected_shapes(config: NovaConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every key of the backbone's state, computed without allocating it."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in Nova(config).state_dict().items()}


def load_nova_folder(folder: Path, config: NovaConfig) -> dict[str, Tensor]:
    """Read the backbone's tensors, in the type in which they are stored (fp16, bf16 or fp32), on the CPU.

    Args:
        folder: The published folder (with model_index.json); the weights lie in its `transformer` folder.
        config: Sizes that every tensor must have.

    Raises:
        NovaFolderError: A file is absent or unreadable, or a key is missing, unexpected or of wrong shape or type.
    """
    if not (folder / "model_index.json").is_file():
        raise NovaFolderError(f"{folder} has no model_index.json; pass the folder that holds it")
    tensors = read_weights(folder / "transformer", SINGLE)
    validate_nova(tensors, config, folder)
    return tensors


def read_weights(folder: Path, single: str) -> dict[str, Tensor]:
    """Return all tensors of one network: the file `single`, or the shards that `single`.index.json names.

    Raises:
        NovaFolderError: A file is absent or unreadable, or a tensor is in two files.
    """
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder, single):
        try:
            part = load_file(path)
        except (OSError, SafetensorError) as error:
            raise NovaFolderError(f"{path} cannot be read ({error}); fetch it again") from error
        if twice := sorted(tensors.keys() & part.keys()):
            raise NovaFolderError(
                f"{path} repeats the tensor {twice[0]} of another file; fetch the folder again"
            )
        tensors.update(part)
    return tensors


def validate_nova(tensors: dict[str, Tensor], config: NovaConfig, source: Path) -> None:
    """Compare keys, shapes and types with the configuration.

    Raises:
        NovaFolderError: A key is missing, unexpected or of wrong shape or type; all of them are named.
    """
    check_tensors(tensors, expected_shapes(config), source)


def check_tensors(tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]], source: Path) -> None:
    """Compare keys, shapes and types of any network with what they should be.

    Raises:
        NovaFolderError: A key is missing, unexpected or of wrong shape or type; all of them are named.
    """
    problems = [f"missing {key}" for key in sorted(expected.keys() - tensors.keys())]
    problems += [f"unexpected {key}" for key in sorted(tensors.keys() - expected.keys())]
    for key in sorted(expected.keys() & tensors.keys()):
        if tuple(tensors[key].shape) != expected[key]:
            problems.append(f"{key} has shape {tuple(tensors[key].shape)}, expected {expected[key]}")
        elif tensors[key].dtype not in FLOATS:
            problems.append(f"{key} has type {tensors[key].dtype}, expected fp16, bf16 or fp32")
    if problems:
        raise NovaFolderError(f"{source} does not fit the configuration: " + "; ".join(problems))


def _weight_files(folder: Path, single: str) -> list[Path]:
    index = folder / f"{single}.index.json"
    if not index.is_file():
        return [folder / single]
    try:
        names = set(json.loads(index.read_text())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise NovaFolderError(f"{index} has no readable weight_map; fetch it again") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise NovaFolderError(f"{index} names {name!r}; weight files must lie beside the index")
    return [folder / name for name in sorted(names)]
