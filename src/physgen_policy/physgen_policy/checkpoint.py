# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: write, find, verify, load. Safetensors only; nothing is ever unpickled.

Layout (format 1): config.json (whole architecture), model.safetensors (keys prefixed `model.`, `codec.`,
`text_encoder.`), norm_stats.json, embodiment.json, format_version, README.md (model card, optional).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from physgen_control.errors import UserError
from physgen_policy.data.normalize import NormStats
from physgen_policy.embodiment import Embodiment
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec, build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder, build_text_encoder

FORMAT_VERSION = "1"
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
REQUIRED_FILES = ("format_version", "config.json", "model.safetensors", "norm_stats.json", "embodiment.json")


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything needed to act: networks, action statistics and the contract with the robot."""

    model: PhysGen
    codec: FrameCodec
    text_encoder: TextEncoder
    norm: NormStats
    embodiment: Embodiment
    name: str
    sha256: str
    path: Path


def checkpoint_roots() -> list[Path]:
    """Folders with named checkpoints, in search order: $PHYSGEN_CHECKPOINT_PATH, source tree, installed shares."""
    roots = [Path(p) for p in os.environ.get("PHYSGEN_CHECKPOINT_PATH", "").split(os.pathsep) if p]
    roots.append(Path(__file__).resolve().parents[1] / "checkpoints")
    roots += [
        Path(p) / "share" / "physgen_policy" / "checkpoints"
        for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
        if p
    ]
    return [root for root in roots if root.is_dir()]


def shipped_checkpoints() -> dict[str, Path]:
    """Name -> folder of every named checkpoint that can be found."""
    found: dict[str, Path] = {}
    for root in checkpoint_roots():
        for folder in sorted(root.iterdir()):
            if (folder / "config.json").is_file():
                found.setdefault(folder.name, folder)
    return found


def resolve_checkpoint(name_or_folder: str, task: str) -> Path:
    """Find a checkpoint folder by path or name; an empty string means the one shipped for `task`.

    Raises:
        CheckpointError: nothing fits, the folder is incomplete, or a pickle was given.
    """
    shipped = shipped_checkpoints()
    if not name_or_folder:
        for folder in shipped.values():
            if task in _read_json(folder / "embodiment.json").get("tasks", []):
                return folder
        raise CheckpointError(
            f"no checkpoint is shipped for task {task!r} (shipped: {', '.join(shipped) or 'none'}); "
            "train one with `physgen train` and pass its folder with checkpoint:=FOLDER"
        )
    path = Path(name_or_folder).expanduser()
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{name_or_folder} is a pickle checkpoint ({path.suffix}), which can run code when loaded and is refused; "
            "pass a checkpoint folder with model.safetensors"
        )
    if path.is_dir():
        _require_complete(path)
        return path
    if path.is_file():
        raise CheckpointError(f"{name_or_folder} is a file; pass the checkpoint folder that contains it")
    if name_or_folder in shipped:
        return shipped[name_or_folder]
    raise CheckpointError(
        f"there is no checkpoint folder or shipped checkpoint called {name_or_folder!r} "
        f"(shipped: {', '.join(shipped) or 'none'})"
    )


def save_checkpoint(
    folder: Path,
    *,
    model: PhysGen,
    codec: FrameCodec,
    text_encoder: TextEncoder,
    config: ModelConfig,
    norm: NormStats,
    embodiment: Embodiment,
    dtype: torch.dtype = torch.float32,
    training: dict[str, Any] | None = None,
) -> Path:
    """Write a complete checkpoint folder atomically (into a sibling, then renamed); floats are stored as `dtype`."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tensors: dict[str, torch.Tensor] = {}
    for prefix, module in _modules(model, codec, text_encoder).items():
        for key, value in module.state_dict().items():
            stored = value.detach().to(dtype) if value.is_floating_point() else value.detach()
            tensors[f"{prefix}.{key}"] = stored.contiguous().clone()
    save_file(tensors, partial / "model.safetensors")
    _write_json(partial / "config.json", {"model": config.to_dict(), "training": training or {}})
    _write_json(partial / "norm_stats.json", norm.to_json())
    _write_json(partial / "embodiment.json", embodiment.to_json())
    (partial / "format_version").write_text(FORMAT_VERSION + "\n")
    if folder.exists():
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old)
    else:
        partial.rename(folder)
    return folder


def load_checkpoint(
    path: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Checkpoint:
    """Load a checkpoint folder in evaluation mode.

    Args:
        dtype: of the model and the frame codec; the text encoder, which runs once per instruction, stays float32.

    Raises:
        CheckpointError: missing files, unknown format, or tensors that do not fit the configuration (names the key).
    """
    path = Path(path)
    _require_complete(path)
    version = (path / "format_version").read_text().strip()
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version!r}, this version reads {FORMAT_VERSION!r}; update or retrain it"
        )
    try:
        config = ModelConfig.from_dict(_read_json(path / "config.json")["model"])
        norm = NormStats.from_json(_read_json(path / "norm_stats.json"))
        embodiment = Embodiment.from_json(_read_json(path / "embodiment.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error
    try:
        tensors = load_file(path / "model.safetensors")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path / 'model.safetensors'} is not a readable safetensors file: {error}"
        ) from error
    model, codec, text_encoder = PhysGen(config), build_frame_codec(config), build_text_encoder(config)
    for prefix, module in _modules(model, codec, text_encoder).items():
        _load_exactly(module, prefix, tensors, path)
        kept = torch.float32 if prefix == "text_encoder" else dtype
        module.requires_grad_(False).eval().to(device, kept)
    return Checkpoint(
        model=model,
        codec=codec,
        text_encoder=text_encoder,
        norm=norm,
        embodiment=embodiment,
        name=path.name,
        sha256=file_sha256(path / "model.safetensors"),
        path=path,
    )


def load_text_encoder(path: Path, config: ModelConfig, device: torch.device | str = "cpu") -> TextEncoder:
    """The text encoder of a checkpoint folder alone, float32, evaluation mode.

    Raises:
        CheckpointError: see load_checkpoint.
    """
    try:
        with safe_open(path / "model.safetensors", framework="pt") as stored:
            keys = stored.keys()
            names = [name for name in keys if name.startswith("text_encoder.")]
            tensors = {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"the text encoder cannot be read again from {path / 'model.safetensors'}: {error}"
        ) from error
    encoder = build_text_encoder(config)
    _load_exactly(encoder, "text_encoder", tensors, path)
    return encoder.requires_grad_(False).eval().to(device)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _modules(model: PhysGen, codec: FrameCodec, text_encoder: TextEncoder) -> dict[str, nn.Module]:
    return {"model": model, "codec": codec, "text_encoder": text_encoder}


def _load_exactly(module: nn.Module, prefix: str, tensors: dict[str, torch.Tensor], path: Path) -> None:
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
    module.load_state_dict({key: value.to(own[key].dtype) for key, value in given.items()})


def _require_complete(path: Path) -> None:
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {path}")
    missing = [name for name in REQUIRED_FILES if not (path / name).is_file()]
    if missing:
        pickles = [p.name for p in path.iterdir() if p.suffix in PICKLE_SUFFIXES]
        hint = f"; it holds pickle files ({pickles[0]}), which are refused" if pickles else ""
        raise CheckpointError(f"{path} is not a checkpoint folder: {', '.join(missing)} missing{hint}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} must hold a JSON object")
    return values


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n")
