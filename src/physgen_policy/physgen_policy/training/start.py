# SPDX-License-Identifier: Apache-2.0
"""What a run starts from: a checkpoint that fits the data, or an autoencoder of one. Refusals are one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from physgen_control.errors import UserError
from physgen_control.program.plain_values import convert, read_json_object
from physgen_policy.checkpoint import (
    checkpoint_sha256,
    checkpoint_tensors,
    load_codec,
    load_imagined_codec,
    load_model,
    load_text_encoder,
    read_description,
    resolve_checkpoint,
)
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig, changed
from physgen_policy.model.frame_codec import FrameCodec, build_frame_codec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder
from physgen_policy.model.vae_config import VaeConfig
from physgen_policy.training.config import InitParts, NormSource

IMAGE_FIELDS = ("cameras", "image_height", "image_width")
CHUNK_FIELDS = ("horizon", "num_chunks")
ACTION_FIELDS = ("action_space", "rotation", "delta_reference", "gripper_mode", "control_rate_hz")
"""What one number of an action means; a change makes the checkpoint's action statistics meaningless."""

FREE_KEYS = frozenset({"vae.scaling_factor", "text_encoder.tokenizer", "context_packs"})
"""Keys that a preset cannot know, where the checkpoint's values are taken; and the window, which is the run's."""

CLIPPED_WARNING = 0.05
"""Share of action numbers beyond the kept range from which the log says so; 0.02 are beyond it by definition."""


class StartError(UserError):
    """A run cannot start from what it was given; the message says what does not fit."""


@dataclass(frozen=True, slots=True)
class Start:
    """Networks, architecture and action statistics at step 0.

    The text encoder is left on disk until it is asked for: one that stays frozen is needed only for new instructions.
    """

    path: Path
    """Folder of the checkpoint."""
    sha256: str
    """Of its weights."""
    model: PhysGen
    codec: FrameCodec
    config: ModelConfig
    norm: NormStats
    said: str
    """What was taken from where, for a person."""
    imagined_codec: FrameCodec | None = None
    """The codec in whose latents frames are imagined, where it is not `codec`."""

    def load_text_encoder(self, dtype: torch.dtype = torch.float32) -> TextEncoder:
        """Return the checkpoint's text encoder, frozen.

        Raises:
            CheckpointError: It cannot be loaded.
        """
        return load_text_encoder(self.path, self.config, checkpoint_tensors(self.path), dtype=dtype)


def load_start(
    checkpoint: str,
    wanted: ModelConfig | None,
    embodiment: Embodiment,
    fitted: NormStats,
    source: NormSource,
    parts: InitParts = "all",
) -> Start:
    """Load a checkpoint (folder or shipped name) as the start of a run on data with the given embodiment.

    Args:
        checkpoint: The checkpoint.
        wanted: The architecture the run asks for; None takes the checkpoint's.
        embodiment: What the data was recorded with; it may differ in robot, base frame and tasks.
        fitted: Statistics of the data.
        source: "checkpoint" keeps the checkpoint's statistics, so that the networks' units stay what they were;
            "dataset" takes the fitted ones, and then the meaning of an action may change too.
        parts: "video" takes everything but the action tokenizer and head, which get random weights.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        StartError: It does not fit the data or the architecture.
    """
    path = resolve_checkpoint(checkpoint, "")
    own = read_description(path)
    same_units = source == "checkpoint" and parts == "all"
    differing = IMAGE_FIELDS + CHUNK_FIELDS + (ACTION_FIELDS if same_units else ())
    _refuse(path, "data", _different(own.embodiment.to_json(), embodiment.to_json(), differing))
    if own.norm.action_dim != fitted.action_dim:
        _refuse(path, "data", [f"actions have {own.norm.action_dim} numbers, not {fitted.action_dim}"])
    config = own.config if wanted is None else fit_config(path, own.config, wanted, parts)
    norm, said = own.norm, "action statistics of the checkpoint are kept"
    if own.norm.count == 0:
        norm, said = fitted, "action statistics of the dataset, because it was never trained on actions"
    elif parts == "video":
        norm, said = fitted, "the action parts are new, with action statistics of the dataset"
    elif source == "dataset":
        norm, said = fitted, "action statistics of the dataset, as policy.norm_stats says"
    tensors = checkpoint_tensors(path)
    model = load_model(path, replace(own.config, context_packs=config.context_packs), tensors)
    if parts == "video":
        video, model = model.nova, PhysGen(config)
        model.nova.load_state_dict(video.state_dict())
    return Start(
        path=path,
        sha256=checkpoint_sha256(path),
        model=model,
        codec=load_codec(path, own.config, tensors),
        config=config,
        norm=norm,
        said=f"start: {path}; {said}",
        imagined_codec=load_imagined_codec(path, own.config, tensors),
    )


FRAME_KEYS = (
    "frames.",
    "nova.image_channels",
    "nova.mixer_rank",
    "nova.image_depth",
    "nova.head_width",
    "nova.head_depth",
)
"""Keys of the frame path, which acting does not read."""


def frame_start(
    checkpoint: str, changes: Mapping[str, Any], embodiment: Embodiment, fitted: NormStats
) -> Start:
    """Load a checkpoint whose frame path gets another architecture: `changes` are nested keys that differ from its own.

    Tensors of the frame path that have the same name and size are taken, the others are new.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        StartError: The data are of another kind, or a change concerns more than the frame path.
    """
    start = load_start(checkpoint, None, embodiment, fitted, "checkpoint")
    config = ModelConfig.from_dict(changed(start.config.to_dict(), changes))
    kept = _same_tensors(config.frames.codec, start.config.frames.codec)
    if kept:
        config = replace(config, frames=replace(config.frames, codec=start.config.frames.codec))
    have, want = _flat(start.config.to_dict()), _flat(config.to_dict())
    _refuse(
        start.path,
        "frame path alone",
        _different(have, want, [k for k in want if not k.startswith(FRAME_KEYS)]),
    )
    model, stored = PhysGen(config), start.model.state_dict()
    fresh = model.state_dict()
    taken = {key: value for key, value in stored.items() if key in fresh and fresh[key].shape == value.shape}
    model.load_state_dict(taken, strict=False)
    new = sum(value.numel() for key, value in fresh.items() if key not in taken)
    return replace(
        start,
        config=config,
        model=model.eval(),
        imagined_codec=start.imagined_codec if kept else None,
        said=f"{start.said}; only its frame path is trained, {new:,} numbers of it are new",
    )


def _same_tensors(one: VaeConfig | None, other: VaeConfig | None) -> bool:
    """Return whether two codecs differ in their scale alone, which a configuration cannot know."""
    if one is None or other is None:
        return one is other
    return replace(one, scaling_factor=other.scaling_factor) == other


def fitting_start(
    checkpoint: str, config: ModelConfig, codec: FrameCodec, embodiment: Embodiment, fitted: NormStats
) -> Start:
    """Begin another architecture, on latents of another codec, with what of a checkpoint has the same name and size.

    Actions get the statistics of the data: nothing that follows new weights is used to other units.

    Raises:
        CheckpointError: There is no such checkpoint, or it is damaged.
        StartError: Chunks of the data are of another kind, or the text encoder is another.
    """
    path = resolve_checkpoint(checkpoint, "")
    own = read_description(path)
    _refuse(path, "data", _different(own.embodiment.to_json(), embodiment.to_json(), CHUNK_FIELDS))
    have, want = _flat(own.config.to_dict()), _flat(config.to_dict())
    text = [key for key in want if key.startswith("text_encoder.") and key not in FREE_KEYS]
    _refuse(path, "text encoder", _different(have, want, text))
    model = PhysGen(config)
    stored = load_model(path, own.config, checkpoint_tensors(path)).state_dict()
    fresh = model.state_dict()
    taken = {key: value for key, value in stored.items() if key in fresh and fresh[key].shape == value.shape}
    model.load_state_dict(taken, strict=False)
    new = sum(value.numel() for key, value in fresh.items() if key not in taken)
    return Start(
        path=path,
        sha256=checkpoint_sha256(path),
        model=model,
        codec=codec,
        config=config,
        norm=fitted,
        said=f"start: {len(taken)} of {len(fresh)} tensors of {path}; {new:,} numbers are new; "
        "action statistics of the dataset",
    )


def fit_config(path: Path, own: ModelConfig, wanted: ModelConfig, parts: InitParts = "all") -> ModelConfig:
    """Return the checkpoint's architecture with the run's adapters and window, and new action parts if asked for.

    Raises:
        StartError: They describe different tensors or outputs.
    """
    have, want = _flat(own.to_dict()), _flat(wanted.to_dict())
    free = ("lora.", "action.") if parts == "video" else ("lora.",)
    keys = [key for key in sorted(want) if key not in FREE_KEYS and not key.startswith(free)]
    _refuse(path, "model", _different(have, want, keys))
    action = wanted.action if parts == "video" else own.action
    return replace(own, lora=wanted.lora, action=action, context_packs=wanted.context_packs)


def load_start_codec(source: Path | str, config: ModelConfig) -> tuple[ModelConfig, FrameCodec]:
    """Return autoencoder and its scale from a run's codec folder or from a checkpoint (folder or shipped name).

    Of a checkpoint with two it is the one that the model asks for.

    Raises:
        StartError: There is none, or it is not the kind the model asks for.
    """
    folder = Path(source).expanduser()
    if (folder / "codec.safetensors").is_file():
        given = read_json_object(folder / "codec.json", StartError).get("scaling_factor")
        scale = convert(float, given, f"scaling_factor of {folder / 'codec.json'}", StartError)
        config = replace(config, vae=replace(config.vae, scaling_factor=scale))
        codec = build_frame_codec(config)
        try:
            codec.load_state_dict(load_file(folder / "codec.safetensors"))
        except (SafetensorError, OSError, RuntimeError) as error:  # RuntimeError: tensors of another codec
            raise StartError(f"{folder / 'codec.safetensors'} is not this model's codec: {error}") from error
        return config, codec.requires_grad_(False).eval()
    path = resolve_checkpoint(str(source), "")
    own, tensors = read_description(path).config, checkpoint_tensors(path)
    want = _flat(config.to_dict())
    keys = [key for key in want if key.startswith("vae.") and key not in FREE_KEYS]
    imagined = load_imagined_codec(path, own, tensors)
    if imagined is not None and not _different(_flat(own.of_frames().to_dict()), want, keys):
        return replace(config, vae=own.of_frames().vae), imagined
    _refuse(path, "autoencoder", _different(_flat(own.to_dict()), want, keys))
    return replace(config, vae=own.vae), load_codec(path, own, tensors)


def clipped_share(norm: NormStats, actions: NDArray[np.float32]) -> float:
    """Return the share of the numbers in SI actions [n, action_dim] outside of the range of the statistics."""
    scaled = (actions - norm.center) / norm.half_range
    return float((np.abs(scaled) > 1.0 + 1e-6).mean())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _different(have: Mapping[str, Any], want: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Return one clause per key whose values differ."""

    def plain(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return [
        f"{key} is {plain(have[key])!r} there and {plain(want[key])!r} here"
        for key in keys
        if plain(have[key]) != plain(want[key])
    ]


def _refuse(path: Path, what: str, found: list[str]) -> None:
    if found:
        raise StartError(f"the checkpoint {path} does not fit this run's {what}: {'; '.join(found)}")
