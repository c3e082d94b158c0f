# SPDX-License-Identifier: Apache-2.0
"""What a run starts from: a checkpoint that fits the data, or an autoencoder of one. Refusals are one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file

from physgen_control.errors import UserError
from physgen_policy.checkpoint import Checkpoint, load_checkpoint, resolve_checkpoint
from physgen_policy.data.normalize import NormStats
from physgen_policy.embodiment import Embodiment
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec, build_frame_codec
from physgen_policy.training.config import NormSource

IMAGE_FIELDS = ("cameras", "image_height", "image_width")
CHUNK_FIELDS = ("horizon", "num_chunks")
ACTION_FIELDS = ("action_space", "rotation", "delta_reference", "gripper_mode", "control_rate_hz")
"""What one number of an action means; a change makes the checkpoint's action statistics meaningless."""

FREE_KEYS = frozenset({"vae.scaling_factor", "text_encoder.tokenizer"})
"""Keys that a preset cannot know; the checkpoint's values are taken."""

CLIPPED_WARNING = 0.05
"""Share of action numbers beyond the kept range from which the log says so; 0.02 are beyond it by definition."""


class StartError(UserError):
    """A run cannot start from what it was given; the message says what does not fit."""


@dataclass(frozen=True, slots=True)
class Start:
    """Networks, architecture and action statistics at step 0; `said` tells a person what was taken from where."""

    checkpoint: Checkpoint
    config: ModelConfig
    norm: NormStats
    said: str


def load_start(
    checkpoint: str, wanted: ModelConfig | None, embodiment: Embodiment, fitted: NormStats, source: NormSource
) -> Start:
    """Load a checkpoint (folder or shipped name) as the start of a run on data with the given embodiment.

    Args:
        wanted: the architecture the run asks for; None takes the checkpoint's.
        embodiment: what the data was recorded with; it may differ in robot, base frame and tasks.
        fitted: statistics of the data.
        source: "checkpoint" keeps the checkpoint's statistics, so that the networks' units stay what they were;
            "dataset" takes the fitted ones, and then the meaning of an action may change too.

    Raises:
        CheckpointError: there is no such checkpoint, or it is damaged.
        StartError: it does not fit the data or the architecture.
    """
    path = resolve_checkpoint(checkpoint, "")
    loaded = load_checkpoint(path)
    differing = IMAGE_FIELDS + CHUNK_FIELDS + (ACTION_FIELDS if source == "checkpoint" else ())
    _refuse(path, "data", _different(loaded.embodiment.to_json(), embodiment.to_json(), differing))
    if loaded.norm.action_dim != fitted.action_dim:
        _refuse(path, "data", [f"actions have {loaded.norm.action_dim} numbers, not {fitted.action_dim}"])
    config = loaded.model.config
    if wanted is not None:
        config = fit_config(path, config, wanted)
    if source == "dataset" or loaded.norm.count == 0:
        reason = (
            "it was never trained on actions" if loaded.norm.count == 0 else "policy.norm_stats is dataset"
        )
        return Start(loaded, config, fitted, f"start: {path}; action statistics of the dataset ({reason})")
    said = f"start: {path}; action statistics of the checkpoint are kept"
    return Start(loaded, config, loaded.norm, said)


def fit_config(path: Path, own: ModelConfig, wanted: ModelConfig) -> ModelConfig:
    """The checkpoint's architecture with the run's adapters.

    Raises:
        StartError: they describe different tensors or outputs.
    """
    have, want = _flat(own.to_dict()), _flat(wanted.to_dict())
    keys = [key for key in sorted(want) if key not in FREE_KEYS and not key.startswith("lora.")]
    _refuse(path, "model", _different(have, want, keys))
    return replace(own, lora=wanted.lora)


def load_start_codec(source: Path | str, config: ModelConfig) -> tuple[ModelConfig, FrameCodec]:
    """Autoencoder and its scaling factor from a run's codec folder or from a checkpoint (folder or shipped name).

    Raises:
        StartError: there is none, or it is not the kind the model asks for.
    """
    folder = Path(source).expanduser()
    if (folder / "codec.safetensors").is_file():
        scale = json.loads((folder / "codec.json").read_text())["scaling_factor"]
        config = replace(config, vae=replace(config.vae, scaling_factor=scale))
        codec = build_frame_codec(config)
        codec.load_state_dict(load_file(folder / "codec.safetensors"))
        return config, codec.requires_grad_(False).eval()
    loaded = load_checkpoint(resolve_checkpoint(str(source), ""))
    have, want = _flat(loaded.model.config.to_dict()), _flat(config.to_dict())
    keys = [key for key in want if key.startswith("vae.") and key not in FREE_KEYS]
    _refuse(loaded.path, "autoencoder", _different(have, want, keys))
    return replace(config, vae=loaded.model.config.vae), loaded.codec


def clipped_share(norm: NormStats, actions: NDArray[np.float32]) -> float:
    """Share of the numbers in SI actions [n, action_dim] that lie outside of the range of the statistics."""
    scaled = (actions - norm.center) / norm.half_range
    return float((np.abs(scaled) > 1.0 + 1e-6).mean())


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _different(have: Mapping[str, Any], want: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """One clause per key whose values differ."""

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
