# SPDX-License-Identifier: Apache-2.0
"""Checkpoint folders: write, find, verify, load. Safetensors only; nothing is ever unpickled.

Layout (format 1): config.json (whole architecture), model.safetensors (keys prefixed `model.`, `codec.`,
`text_encoder.`), norm_stats.json, embodiment.json, format_version, tokenizer/ (unless text is taken as bytes),
README.md (model card, optional).
An adapter checkpoint has, in place of model.safetensors, what a fine-tune changed: base.json (another checkpoint and
its SHA-256), trained.safetensors (parts that were trained whole), adapter_config.json and adapter_model.safetensors
(PEFT's format).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from physgen_control.errors import UserError
from physgen_policy import adapters
from physgen_policy.data.normalize import NormStats
from physgen_policy.embodiment import Embodiment
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec, build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder, build_text_encoder

FORMAT_VERSION = "1"
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
DESCRIPTION_FILES = ("format_version", "config.json", "norm_stats.json", "embodiment.json")
WEIGHT_FILE, BASE_FILE, TRAINED_FILE = "model.safetensors", "base.json", "trained.safetensors"
TOKENIZER = "tokenizer"
ADAPTER_FILES = (BASE_FILE, TRAINED_FILE, adapters.CONFIG_FILE, adapters.WEIGHT_FILE)

Part = Literal["model", "codec", "text_encoder"]


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a checkpoint says about itself: architecture, action statistics, the contract with the robot."""

    config: ModelConfig
    norm: NormStats
    embodiment: Embodiment
    training: dict[str, Any]


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
    modules: dict[str, nn.Module] = {"model": model, "codec": codec, "text_encoder": text_encoder}
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
        trained: whole tensors that replace the base's, keys prefixed as in model.safetensors.
        description: its config.lora says how the adapter was made.
    """
    partial = _begin(folder)
    shipped = shipped_checkpoints().get(base.name)
    same = shipped is not None and shipped.resolve() == base.resolve()
    name = base.name if same else str(base.resolve())
    _write_json(partial / BASE_FILE, {"checkpoint": name, "sha256": base_sha256})
    save_file({key: _stored(value, dtype) for key, value in trained.items()}, partial / TRAINED_FILE)
    adapters.write_adapter(partial, adapter, description.config.lora, name)
    return _finish(partial, folder, description)


def merge_checkpoint(source: Path, folder: Path, dtype: torch.dtype) -> Path:
    """Write any checkpoint as a self-contained one, adapters folded into the weights they change."""
    return write_checkpoint(folder, checkpoint_tensors(source), read_description(source), dtype)


def read_description(path: Path) -> Description:
    """Read a checkpoint's description without its weights.

    Raises:
        CheckpointError: missing files, unknown format or unusable values.
    """
    _require_complete(path)
    version = (path / "format_version").read_text().strip()
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version!r}, this version reads {FORMAT_VERSION!r}; update or retrain it"
        )
    try:
        values = _read_json(path / "config.json")
        return Description(
            located_config(path, values["model"]),
            NormStats.from_json(_read_json(path / "norm_stats.json")),
            Embodiment.from_json(_read_json(path / "embodiment.json")),
            values.get("training") or {},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def located_config(path: Path, values: dict[str, Any]) -> ModelConfig:
    """The architecture in a checkpoint's config.json; a tokenizer beside it is given with its whole path."""
    config = ModelConfig.from_dict(values)
    if config.text_encoder.tokenizer == TOKENIZER:
        text = replace(config.text_encoder, tokenizer=str((path / TOKENIZER).resolve()))
        config = replace(config, text_encoder=text)
    return config


def checkpoint_tensors(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint under their prefixed keys, as stored; files are mapped, not read.

    Of an adapter checkpoint: the base's, with the trained parts in place and the adapters folded in (fp32).

    Raises:
        CheckpointError: a file is unreadable, or the base is absent or not the one the adapter was trained on.
    """
    _require_complete(path)
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


def checkpoint_sha256(path: Path) -> str:
    """SHA-256 of the weights: of model.safetensors, or of the base's and all files of an adapter checkpoint."""
    if (path / WEIGHT_FILE).is_file():
        return file_sha256(path / WEIGHT_FILE)
    digest = hashlib.sha256(str(_read_json(path / BASE_FILE).get("sha256")).encode())
    for name in (TRAINED_FILE, adapters.CONFIG_FILE, adapters.WEIGHT_FILE):
        digest.update(file_sha256(path / name).encode())
    return digest.hexdigest()


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
    )


def load_model(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PhysGen:
    """The policy network of a checkpoint's tensors in `dtype`, frozen, evaluation mode."""
    with torch.device("meta"):  # random initial values of a large network take longer than reading it
        model = PhysGen(config)
    _load_exactly(model, "model", tensors, path, dtype)
    return model.requires_grad_(False).eval().to(device)


def load_codec(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> FrameCodec:
    """The frame codec, likewise."""
    with torch.device("meta"):
        codec = build_frame_codec(config)
    _load_exactly(codec, "codec", tensors, path, dtype)
    return codec.requires_grad_(False).eval().to(device)


def load_text_encoder(
    path: Path,
    config: ModelConfig,
    tensors: dict[str, torch.Tensor],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TextEncoder:
    """The text encoder, likewise."""
    with torch.device("meta"):
        encoder = build_text_encoder(config)
    _load_exactly(encoder, "text_encoder", tensors, path, dtype)
    encoder.restore_tables()
    return encoder.requires_grad_(False).eval().to(device)


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _load_exactly(
    module: nn.Module,
    prefix: str,
    tensors: dict[str, torch.Tensor],
    path: Path,
    dtype: torch.dtype = torch.float32,
) -> None:
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
    _write_json(partial / "config.json", {"model": config.to_dict(), "training": description.training})
    _write_json(partial / "norm_stats.json", description.norm.to_json())
    _write_json(partial / "embodiment.json", description.embodiment.to_json())
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


def _base_of(path: Path) -> Path:
    """The base of an adapter checkpoint, found and verified."""
    values = _read_json(path / BASE_FILE)
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


def _require_complete(path: Path) -> None:
    if not path.is_dir():
        raise CheckpointError(f"there is no checkpoint folder {path}")
    weights = ADAPTER_FILES if (path / BASE_FILE).is_file() else (WEIGHT_FILE,)
    missing = [name for name in DESCRIPTION_FILES + weights if not (path / name).is_file()]
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
