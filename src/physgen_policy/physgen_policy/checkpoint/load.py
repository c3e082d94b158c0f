# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as networks that are ready to act or to be trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from physgen_policy.checkpoint.description import read_description
from physgen_policy.checkpoint.folder import CheckpointError
from physgen_policy.checkpoint.tensors import checkpoint_sha256, checkpoint_tensors
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec, build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder, build_text_encoder

UNBUILDABLE = (ValueError, RuntimeError, ArithmeticError, AssertionError)
"""What layers raise whose sizes do not fit together; RuntimeError and ArithmeticError also for sizes beyond 64 bits."""

IMAGINED_CODEC = "imagined_codec"
"""Prefix of the tensors of the codec in which frames are imagined, where there are two."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything needed to act, in evaluation mode."""

    model: PhysGen
    codec: FrameCodec
    """What the policy sees through."""
    text_encoder: TextEncoder
    norm: NormStats
    """Its action statistics."""
    embodiment: Embodiment
    """The contract with the robot."""
    name: str
    sha256: str
    """Of the weights."""
    path: Path
    """Its folder."""
    own_imagined_codec: FrameCodec | None = None
    """The codec in whose latents frames are imagined, where it is not `codec`."""

    @property
    def imagined_codec(self) -> FrameCodec:
        """The codec in whose latents frames are imagined."""
        return self.codec if self.own_imagined_codec is None else self.own_imagined_codec

    @property
    def policy_id(self) -> str:
        """Name and the beginning of the hash, as chunks carry it."""
        return f"{self.name}@{self.sha256[:12]}"


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Load a checkpoint folder in evaluation mode.

    Args:
        path: The folder.
        device: Where the networks go.
        dtype: Of the model and the frame codec; the text encoder, which runs once per instruction, stays float32.

    Raises:
        CheckpointError: Missing files, unknown format, or tensors that do not fit the configuration (names the key).
    """
    path = Path(path)
    described, tensors = read_description(path), checkpoint_tensors(path)
    return Checkpoint(
        model=load_model(path, described.config, tensors, device, dtype),
        codec=load_codec(path, described.config, tensors, device, dtype),
        text_encoder=load_text_encoder(path, described.config, tensors, device),
        norm=described.norm,
        embodiment=described.embodiment,
        name=path.name,
        sha256=checkpoint_sha256(path),
        path=path,
        own_imagined_codec=load_imagined_codec(path, described.config, tensors, device, dtype),
    )


def load_model(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PhysGen:
    """Return the policy network of a checkpoint in `dtype`, frozen, in evaluation mode.

    Raises:
        CheckpointError: The tensors do not fit the configuration.
    """
    return _filled(_without_values(PhysGen, config), "model", tensors, path, dtype).to(device)


def load_codec(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> FrameCodec:
    """Return the frame codec of a checkpoint in `dtype`, frozen, in evaluation mode.

    Raises:
        CheckpointError: The tensors do not fit the configuration.
    """
    return _filled(_without_values(build_frame_codec, config), "codec", tensors, path, dtype).to(device)


def load_imagined_codec(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> FrameCodec | None:
    """Return the codec in which frames are imagined, as load_codec does; None where it is the policy's.

    Raises:
        CheckpointError: The tensors do not fit the configuration.
    """
    if config.frames.codec is None:
        return None
    own = _without_values(build_frame_codec, config.of_frames())
    return _filled(own, IMAGINED_CODEC, tensors, path, dtype).to(device)


def load_text_encoder(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TextEncoder:
    """Return the text encoder of a checkpoint in `dtype`, frozen, in evaluation mode.

    Raises:
        CheckpointError: The tensors do not fit the configuration.
    """
    encoder = _filled(_without_values(build_text_encoder, config), "text_encoder", tensors, path, dtype)
    encoder.restore_tables()
    return encoder.eval().to(device)


def _without_values(build: Callable[[ModelConfig], Network], config: ModelConfig) -> Network:
    """Return a network on the meta device: random initial values of a large one take longer than reading it.

    Raises:
        CheckpointError: The sizes of the configuration do not fit together.
    """
    try:
        with torch.device("meta"):
            return build(config)
    except UNBUILDABLE as error:
        raise CheckpointError(f"no network can be built from such a config.json: {error}") from error


def _filled(
    module: Network, prefix: str, tensors: dict[str, torch.Tensor], path: Path, dtype: torch.dtype
) -> Network:
    """Return the module with the tensors under a prefix, in `dtype`, frozen, in evaluation mode.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape.
    """
    own = module.state_dict()
    given = {
        key.removeprefix(prefix + "."): value
        for key, value in tensors.items()
        if key.startswith(prefix + ".")
    }
    missing, unexpected = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    if missing or unexpected:
        raise CheckpointError(
            f"{path} does not fit its config.json: {len(missing)} tensors missing (first {missing[:1]}), "
            f"{len(unexpected)} unexpected (first {unexpected[:1]}) under {prefix!r}"
        )
    for key, value in given.items():
        if value.shape != own[key].shape:
            raise CheckpointError(
                f"{path}: tensor {prefix}.{key} has shape {tuple(value.shape)}, expected {tuple(own[key].shape)}"
            )
    # The copy keeps the module from living on the mapped file, which a later save may replace.
    loaded = {
        key: value.to(dtype if own[key].is_floating_point() else own[key].dtype, copy=True)
        for key, value in given.items()
    }
    module.load_state_dict(loaded, assign=True)
    return module.requires_grad_(False).eval()
