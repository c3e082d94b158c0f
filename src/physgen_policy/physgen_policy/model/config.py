# SPDX-License-Identifier: Apache-2.0
"""Architecture of a PhysGen model as frozen values, with strict reading from mappings and the shipped presets.

The configuration describes tensors only; training choices (learning rate, windows) live elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import resources
from typing import Any, Literal

from physgen_control.program.plain_values import build, parse_yaml
from physgen_policy.model.frame_config import FrameConfig
from physgen_policy.model.sizes import ConfigError, require, require_sizes
from physgen_policy.model.vae_config import VaeConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaConfig:
    """The video backbone: video encoder, image encoder and the per-token diffusion MLP."""

    width: int = 1024
    heads: int = 16
    video_depth: int = 16
    image_depth: int = 32
    head_width: int = 1280
    head_depth: int = 3
    mlp_ratio: int = 4
    latent_channels: int = 4
    """Of the frames that the video encoder reads."""
    image_channels: int = 0
    """Latent channels of the frames that are imagined, by image encoder and head; 0: as many as are read."""
    image_size: tuple[int, int] = (480, 768)
    """Rows and columns of a frame [pixels]."""
    vae_stride: int = 8
    video_patch: int = 4
    image_patch: int = 2
    text_dim: int = 2560
    """Width of the text encoder's states."""
    text_len: int = 256
    """Tokens per instruction."""
    text_table_rows: int = 512
    base_time: int = 16
    """Slots of a clip on which the time coordinates are based."""
    mixer_rank: int = 24
    """0 leaves the mixer out."""

    def __post_init__(self) -> None:
        require_sizes(
            self, depths=("video_depth", "image_depth", "head_depth"), zero=("mixer_rank", "image_channels")
        )
        require(
            self.width % self.heads == 0 and self.width % 4 == 0,
            f"width {self.width} must be a multiple of 4 and of heads {self.heads}",
        )
        cell = self.vae_stride * self.video_patch
        require(
            all(side > 0 and side % cell == 0 for side in self.image_size),
            f"image_size {list(self.image_size)} must be multiples of vae_stride x video_patch = {cell}",
        )
        require(
            self.video_patch % self.image_patch == 0,
            f"video_patch {self.video_patch} must be a multiple of image_patch {self.image_patch}",
        )
        require(
            0 < self.text_len <= self.text_table_rows,
            f"text_len {self.text_len} must be 1 to text_table_rows ({self.text_table_rows})",
        )

    @property
    def latent_size(self) -> tuple[int, int]:
        """Rows and columns of one latent frame."""
        return self.image_size[0] // self.vae_stride, self.image_size[1] // self.vae_stride

    @property
    def video_grid(self) -> tuple[int, int]:
        """Rows and columns of frame tokens in the video encoder."""
        return self.latent_size[0] // self.video_patch, self.latent_size[1] // self.video_patch

    @property
    def image_grid(self) -> tuple[int, int]:
        """Rows and columns of tokens in the image encoder."""
        return self.latent_size[0] // self.image_patch, self.latent_size[1] // self.image_patch

    @property
    def frame_tokens(self) -> int:
        """Tokens of one frame in the video encoder."""
        return self.video_grid[0] * self.video_grid[1]

    @property
    def image_tokens(self) -> int:
        """Tokens of one frame in the image encoder."""
        return self.image_grid[0] * self.image_grid[1]

    @property
    def head_dim(self) -> int:
        """Width of one attention head of both encoders."""
        return self.width // self.heads

    @property
    def imagined_channels(self) -> int:
        """Latent channels of the frames that are imagined."""
        return self.image_channels or self.latent_channels

    @property
    def patch_dim(self) -> int:
        """Numbers in one image-encoder patch, ordered (row, column, channel)."""
        return self.image_patch**2 * self.imagined_channels


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionConfig:
    """Action tokens and the Action-DiT that denoises `num_chunks` chunks of `horizon` actions at once."""

    action_dim: int = 7
    """Numbers per action."""
    horizon: int = 8
    num_chunks: int = 3
    dit_width: int = 768
    dit_depth: int = 6
    dit_heads: int = 12
    dit_mlp_ratio: int = 4
    train_timesteps: int = 1000
    attention: Literal["bidirectional", "causal_by_chunk"] = "bidirectional"
    """How noisy actions see each other."""
    plan_conditioning: bool = True
    """The head also reads the plan."""
    plan_noise: float = 0.2
    """Standard deviation of noise on the plan in training [normalised units]."""
    plan_dropout: float = 0.5
    """Chance that a plan is left out in training."""
    memory_frames: bool = False
    """Cross-attention also reads the frame slots of the current pack."""
    past_actions: bool = True
    """Packs carry the executed actions. False: every pack carries Begin-of-Action, and frames alone tell what happened;
    a small model without pretraining otherwise continues a motion instead of looking (arXiv 1905.11979)."""
    prediction: Literal["epsilon", "v", "bins"] = "epsilon"
    """What the head predicts: the noise (as published); or v = sqrt(a) noise - sqrt(1 - a) clean (Salimans and Ho
    2022), which weighs the clean action at high noise and so learns what the images mean much sooner; or "bins":
    nothing is denoised, every number is classified into one of `bins` equal bins (model/action_bins.py)."""
    bins: int = 256

    def __post_init__(self) -> None:
        require_sizes(self, depths=("dit_depth",))
        require(
            self.dit_width % self.dit_heads == 0,
            f"dit_width {self.dit_width} must be a multiple of dit_heads {self.dit_heads}",
        )
        require(self.num_chunks >= 1 and self.horizon >= 1, "num_chunks and horizon must be at least 1")
        require(
            self.num_chunks > 1 or not self.plan_conditioning,
            "a model of one chunk has no lookahead to be conditioned on; set plan_conditioning to false",
        )
        require(self.bins >= 2, f"bins must be at least 2, got {self.bins}")
        require(0.0 <= self.plan_dropout <= 1.0, f"plan_dropout {self.plan_dropout} must lie in [0, 1]")

    @property
    def num_actions(self) -> int:
        """Actions predicted together."""
        return self.horizon * self.num_chunks

    @property
    def outputs_per_action(self) -> int:
        """Numbers that the head puts out for one action."""
        return self.action_dim * (self.bins if self.prediction == "bins" else 1)

    @property
    def plan_actions(self) -> int:
        """Lookahead actions that are predicted but not executed."""
        return self.horizon * (self.num_chunks - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoderConfig:
    """A causal Phi language model."""

    kind: Literal["phi"] = "phi"
    hidden_size: int = 2560
    intermediate_size: int = 10240
    num_layers: int = 32
    num_heads: int = 32
    vocab_size: int = 51200
    max_positions: int = 2048
    partial_rotary_factor: float = 0.4
    tokenizer: str = "bytes"
    """"bytes" (built in) or a tokenizer folder."""

    def __post_init__(self) -> None:
        require_sizes(self, depths=("num_layers",))
        rotated = int(self.hidden_size / self.num_heads * self.partial_rotary_factor)
        require(
            self.hidden_size % self.num_heads == 0
            and 0 < rotated <= self.hidden_size // self.num_heads
            and rotated % 2 == 0,
            f"hidden_size {self.hidden_size} over num_heads {self.num_heads} with partial_rotary_factor "
            f"{self.partial_rotary_factor} rotates {rotated} numbers per head; it must be a positive even number",
        )
        if self.tokenizer == "bytes":
            require(
                self.vocab_size >= 259, f"the byte tokenizer needs vocab_size >= 259, got {self.vocab_size}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters of the video encoder."""

    rank: int = 0
    """0 means none."""
    alpha: int = 32
    targets: str = r"^video_encoder\.blocks\.\d+\.(attn\.(qkv|proj)|mlp\.(fc1|fc2))$"
    """Regular expression of the names of the adapted Linears."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A whole PhysGen model."""

    nova: NovaConfig = field(default_factory=NovaConfig)
    action: ActionConfig = field(default_factory=ActionConfig)
    text_encoder: TextEncoderConfig = field(default_factory=TextEncoderConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    frames: FrameConfig = field(default_factory=FrameConfig)
    context_packs: int = 5
    """Packs in a full window."""
    time_scale: float = 16 / 9
    """Time coordinate of pack n is (n + 1) x time_scale."""
    rope: Literal["none", "rope_t"] = "none"
    bov: Literal["anchor_only", "prefix", "slot0"] = "anchor_only"
    """Only "anchor_only" exists: the begin-of-video slot feeds the mixer and is not part of the window."""

    def __post_init__(self) -> None:
        require(
            self.bov == "anchor_only",
            f'bov "{self.bov}" is not implemented; use "anchor_only", which keeps the window at text + packs',
        )
        require(self.context_packs >= 1, f"context_packs must be at least 1, got {self.context_packs}")
        require(
            self.text_encoder.hidden_size == self.nova.text_dim,
            f"text_encoder.hidden_size {self.text_encoder.hidden_size} must equal nova.text_dim {self.nova.text_dim}",
        )
        require(
            self.vae.latent_channels == self.nova.latent_channels,
            f"vae.latent_channels {self.vae.latent_channels} must equal nova's {self.nova.latent_channels}",
        )
        imagined = self.frames.codec or self.vae
        require(
            imagined.latent_channels == self.nova.imagined_channels,
            f"frames are imagined as latents of {imagined.latent_channels} channels, nova.image_channels says "
            f"{self.nova.imagined_channels}",
        )

    def of_frames(self) -> ModelConfig:
        """Return the same model as if it saw through the autoencoder in which its frames are imagined."""
        codec = self.frames.codec or self.vae
        nova = replace(self.nova, latent_channels=codec.latent_channels, image_channels=0)
        return replace(self, vae=codec, nova=nova, frames=replace(self.frames, codec=None))

    @property
    def pack_tokens(self) -> int:
        """Tokens of one pack: frame tokens, then action tokens."""
        return self.nova.frame_tokens + self.action.horizon

    @property
    def window_tokens(self) -> int:
        """Length of a full window: text, then context_packs packs."""
        return self.nova.text_len + self.context_packs * self.pack_tokens

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested values (lists instead of tuples), the inverse of from_dict."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)
        return plain

    @staticmethod
    def from_dict(values: dict[str, Any]) -> ModelConfig:
        """Build from nested plain values.

        Raises:
            ConfigError: An unknown key, a wrong type or sizes that do not fit together.
        """
        return build(ModelConfig, values, "model", ConfigError)


def preset_names() -> list[str]:
    """Return the names accepted by load_preset."""
    folder = resources.files("physgen_policy").joinpath("config/model")
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_preset(name: str, changes: Mapping[str, Any] | None = None) -> ModelConfig:
    """Read a shipped preset by name; `changes` are nested keys that replace the preset's.

    Raises:
        ConfigError: There is no such preset, or a change names no key of a model.
    """
    if name not in preset_names():
        raise ConfigError(f"there is no model preset {name!r}; presets are {', '.join(preset_names())}")
    text = resources.files("physgen_policy").joinpath(f"config/model/{name}.yaml").read_text()
    return ModelConfig.from_dict(changed(parse_yaml(text, f"preset {name}", ConfigError), changes or {}))


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with some replaced."""
    merged = dict(values)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = changed(inner or {}, value) if isinstance(value, Mapping) else value
    return merged


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
