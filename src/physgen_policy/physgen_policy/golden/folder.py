# SPDX-License-Identifier: Apache-2.0
"""A folder of recorded tensors of the NOVA reference network against our modules.

Reads every `*.io.safetensors`; the `.config.json` beside it sets the sizes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from physgen_control.errors import UserError
from physgen_policy.golden.checks import compute_all
from physgen_policy.golden.recording import Recording
from physgen_policy.model.config import NovaConfig
from physgen_policy.model.nova import Nova
from physgen_policy.model.open_sora_vae import OpenSoraVae
from physgen_policy.model.vae_config import VaeConfig

# Relative tolerances, first match wins: (prefix, tolerance). From the recordings' own measured differences.
TOLERANCES = (
    ("generate.out.latents_cfg", 2e-3),
    ("generate.out.", 1e-4),
    ("loss.out.grad.", 2e-5),
    ("loss.out.mse_per_token", 2e-5),
    ("loss.out.eps_pred", 2e-5),
    # Angles reach 1000 rad, where one fp32 step is 6e-5: two math libraries that round exp() differently in the
    # last bit (both within 0.53 units in the last place) already differ by that much in this one tensor.
    ("head.out.time_sinusoid", 1e-4),
    ("head.", 2e-5),
    ("denoise.", 2e-5),
    ("schedule.out.alphas_cumprod", 1e-6),
    ("", 1e-5),
)
ROUNDING_MEASURE = "video_encoder.out.full_vs_incremental_maxabs"
ROUNDING_LIMIT = (
    1e-4  # absolute; the recording holds its own rounding, only the order of magnitude means anything
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One recorded tensor against ours; error is max|a-b| / max|b|, or a sentence when it could not be computed."""

    name: str
    error: float
    tolerance: float
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Within tolerance. A NaN is not."""
        return not self.problem and self.error <= self.tolerance


def tolerance_of(name: str) -> float:
    """Allowed relative error of a recorded tensor."""
    return next(limit for prefix, limit in TOLERANCES if name.startswith(prefix))


def relative_error(ours: Tensor, recorded: Tensor) -> float:
    """max|a-b| / max|b|; where the recording is all zero, the absolute error."""
    difference = (ours.double() - recorded.double()).abs().max()
    scale = recorded.double().abs().max()
    return float(difference / scale if scale > 0 else difference)


def verify_folder(folder: Path) -> Iterator[Comparison]:
    """Compare every recording of a folder, tensor by tensor.

    Raises:
        UserError: the folder or one of its files is missing or not readable.
    """
    recordings = sorted(folder.glob("*.io.safetensors")) if folder.is_dir() else []
    if not recordings:
        raise UserError(f"{folder} holds no *.io.safetensors; give the folder with the golden tensors")
    for path in recordings:
        yield from _verify(path.with_name(path.name.removesuffix(".io.safetensors")), path)


def _verify(stem: Path, io_path: Path) -> Iterator[Comparison]:
    config = _read_config(stem.with_name(stem.name + ".config.json"))
    tensors = _read_tensors(io_path)
    try:
        nova = Nova(_nova_config(config))
        vae = OpenSoraVae(_vae_config(config["vae"])) if "vae" in config else None
        guidance, ddim_steps = config.get("guidance"), config.get("ddim", {}).get("steps", 10)
        denoise_steps = config.get("gen_diffusion_steps")
    except (KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{stem.name}.config.json lacks or misstates {error}, which sets the sizes"
        ) from error
    _load(nova, stem.with_name(stem.name + ".weights.safetensors"))
    vae_path = stem.with_name(stem.name + ".vae.weights.safetensors")
    if vae is not None and vae_path.is_file():
        _load(vae, vae_path)
    else:
        vae = None
    recording = Recording(
        tensors=tensors,
        base_time=int(config["video_base_size"][0]),
        guidance=guidance,
        denoise_steps=denoise_steps,
        ddim_steps=ddim_steps,
        scaling_factor=config.get("vae", {}).get("scaling_factor", 0.18215),
    )
    ours, problems = compute_all(recording, nova.eval(), None if vae is None else vae.eval())
    for name in sorted(key for key in tensors if ".in." not in key):
        recorded = tensors[name]
        limit = tolerance_of(name)
        if name not in ours:
            reason = next(
                (text for family, text in problems.items() if name.startswith(family)),
                "no module computes it",
            )
            yield Comparison(name, float("nan"), limit, reason)
        elif name == ROUNDING_MEASURE:
            yield Comparison(name, float(ours[name].abs().max()), ROUNDING_LIMIT)
        elif ours[name].shape != recorded.shape:
            shapes = f"shape {list(ours[name].shape)}, recorded {list(recorded.shape)}"
            yield Comparison(name, float("nan"), limit, shapes)
        else:
            yield Comparison(name, relative_error(ours[name], recorded), limit)


def _nova_config(config: dict[str, Any]) -> NovaConfig:
    stride = config["image_stride"]
    latent = [side // stride for side in config["image_size"]]
    return NovaConfig(
        width=config["width"],
        heads=config["heads"],
        video_depth=config["video_depth"],
        image_depth=config["image_depth"],
        head_width=config["mlp_width"],
        head_depth=config["mlp_depth"],
        latent_channels=config["image_dim"],
        image_size=tuple(config["image_size"]),
        vae_stride=stride,
        video_patch=latent[0] // config["video_base_size"][1],
        image_patch=latent[0] // config["image_base_size"][0],
        text_dim=config["text_token_dim"],
        text_len=config["text_token_len"],
        base_time=config["video_base_size"][0],
        mixer_rank=config.get("video_mixer_rank") or 0,
    )


def _vae_config(config: dict[str, Any]) -> VaeConfig:
    return VaeConfig(
        kind="open_sora",
        block_out_channels=tuple(config["block_out_channels"]),
        layers_per_block=config["layers_per_block"],
        latent_channels=config["latent_channels"],
        norm_groups=config.get("group_norm_groups", 32),
        scaling_factor=config["scaling_factor"],
    )


def _load(module: torch.nn.Module, path: Path) -> None:
    tensors = {name: value.float() for name, value in _read_tensors(path).items()}
    own = module.state_dict()
    missing, unexpected = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    wrong = [name for name in own if name in tensors and tensors[name].shape != own[name].shape]
    if missing or unexpected or wrong:
        raise UserError(
            f"{path.name} does not fit our modules: missing {missing[:2]}, unexpected {unexpected[:2]}, "
            f"wrong shape {wrong[:2]}"
        )
    module.load_state_dict(tensors)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a readable safetensors file: {error}") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a JSON object")
    return values
