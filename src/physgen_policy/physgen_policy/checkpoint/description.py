# SPDX-License-Identifier: Apache-2.0
"""What a checkpoint says about itself, readable without its weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physgen_control.program.plain_values import convert
from physgen_policy.checkpoint.folder import (
    FORMAT_VERSION,
    TOKENIZER,
    CheckpointError,
    read_json,
    require_complete,
)
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class Description:
    """What a checkpoint says about itself."""

    config: ModelConfig
    """Its architecture."""
    norm: NormStats
    """Its action statistics."""
    embodiment: Embodiment
    """The contract with the robot."""
    training: dict[str, Any]
    """How it was trained, as plain values."""


def read_description(path: Path) -> Description:
    """Read a checkpoint's description without its weights.

    Raises:
        CheckpointError: Missing files, unknown format or unusable values.
    """
    require_complete(path)
    # A damaged one is quoted below, and not more of it than a version has.
    version = (path / "format_version").read_text(encoding="utf-8", errors="replace").strip()[:80]
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint format {version!r}, this version reads {FORMAT_VERSION!r}; update or retrain it"
        )
    try:
        values = read_json(path / "config.json")
        described = Description(
            located_config(path, values["model"]),
            NormStats.from_json(read_json(path / "norm_stats.json")),
            Embodiment.from_json(read_json(path / "embodiment.json")),
            convert(dict, values.get("training") or {}, "training"),
        )
        action_dim = described.config.action.action_dim
        if described.norm.action_dim != action_dim:
            raise CheckpointError(
                f"its norm_stats.json is of {described.norm.action_dim} numbers per action, its model of {action_dim}"
            )
        return described
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be used: {error}") from error


def located_config(path: Path, values: dict[str, Any]) -> ModelConfig:
    """Return the architecture in a checkpoint's config.json; a tokenizer beside it is given with its whole path.

    Raises:
        ConfigError: The values are no architecture.
    """
    config = ModelConfig.from_dict(values)
    if config.text_encoder.tokenizer == TOKENIZER:
        text = replace(config.text_encoder, tokenizer=str((path / TOKENIZER).resolve()))
        config = replace(config, text_encoder=text)
    return config
