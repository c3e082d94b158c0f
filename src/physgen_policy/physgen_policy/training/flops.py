# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of one training step, from the architecture and the shape of its batch alone.

A linear layer costs its forward FLOPs F (two per multiply-add), F again for the gradient of its weights where they are
trained, and F for the gradient of its inputs where something upstream is trained: 3 F in full training, 2 F in the
frozen layers of a low-rank fine-tune. Attention has no weights, and two products forward become four backward: always
three times its forward FLOPs where a gradient passes. What gradient checkpointing computes again is not counted.
Derivation: docs/notes/training_throughput.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from physgen_policy.cost.decoding import visible_pairs
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.embeddings import TIME_FREQUENCIES
from physgen_policy.model.frame_loss import mean_visible_share
from physgen_policy.training.batches import ActionBatch
from physgen_policy.training.waypoints import WaypointHead

DRAWS = 4
"""Draws of the diffusion time per frame and per action sequence, as in window_loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShape:
    """What one process computes in a step."""

    windows: int
    """Of the padded batch."""
    packs: int
    """Of the padded batch."""
    sequences: int
    """Packs that exist, each with future actions to denoise."""
    frames: int
    """Target frames of the frame loss."""
    instructions: int
    """Distinct ones."""
    visible: float
    """Tokens of a target frame that are not masked."""

    @staticmethod
    def of(batch: ActionBatch, obs_loss_frames: int, config: ModelConfig) -> StepShape:
        """Return the shape of a batch; how many tokens stay visible is drawn later and replaced by its mean."""
        targets = (batch.frame_mask & batch.pack_mask).sum(dim=1).clamp(max=obs_loss_frames)
        return StepShape(
            windows=batch.pack_mask.shape[0],
            packs=int(batch.pack_mask.sum(dim=1).max()),
            sequences=int(batch.pack_mask.sum()),
            frames=int(targets.sum()),
            instructions=len(set(batch.instructions)),
            visible=mean_visible_share() * config.nova.image_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run changes beside the action parts, mixer and time embedding, which every run trains."""

    backbone: bool = True
    """All of the video model; else only adapters."""
    adapter_numbers: int = 0
    """Numbers in those adapters."""
    text_encoder: bool = False
    """The language model."""
    waypoints: bool = False
    """The auxiliary head."""

    @staticmethod
    def of(parts: nn.Module) -> Trained:
        """Return what is marked as trainable in the parts of a run's loss (PolicyLoss)."""
        named = [(name, p) for name, p in parts.named_parameters() if p.requires_grad]
        return Trained(
            backbone=any(name.startswith("model.nova.image_encoder.") for name, _ in named),
            adapter_numbers=sum(p.numel() for name, p in named if ".lora_" in name),
            text_encoder=any(name.startswith("text_encoder.") for name, _ in named),
            waypoints=any(name.startswith("waypoints.") for name, _ in named),
        )


def step_flops(
    config: ModelConfig, shape: StepShape, trained: Trained, *, dense: bool = False
) -> dict[str, float]:
    """Return the FLOPs of forward and backward pass by part of the model.

    Args:
        config: The model.
        shape: What one process computes.
        trained: What the run changes.
        dense: Count every token as seeing all tokens, as an implementation with a dense mask computes, instead of what
            the mask of a window lets it see.
    """
    return {
        "text": _text(config, shape, trained, dense),
        "video_encoder": _video_encoder(config, shape, trained, dense),
        "image_encoder": _image_encoder(config, shape, trained),
        "image_decoder": _image_decoder(config, shape, trained),
        "frame_inputs": _frame_inputs(config, shape, trained),
        "action_tokenizer": _action_tokenizer(config, shape),
        "action_head": _action_head(config, shape),
        "waypoints": _waypoints(config, shape) if trained.waypoints else 0.0,
    }


def _linear(tokens: float, numbers: float, *, weights: bool = True, inputs: bool = True) -> float:
    """Layers with so many weights in all: forward, and the gradients that are needed."""
    return 2.0 * tokens * numbers * (1 + weights + inputs)


def _attention(width: int, pairs: float) -> float:
    """Scores and mixing for so many pairs (query, key), with the gradients of queries, keys and values."""
    return 3 * 4.0 * width * pairs


def _text(config: ModelConfig, shape: StepShape, trained: Trained, dense: bool) -> float:
    """Language model, once per instruction, and the projection of its states."""
    nova, text = config.nova, config.text_encoder
    project = _linear(
        shape.windows * nova.text_len,
        nova.text_dim * nova.width,
        weights=trained.backbone,
        inputs=trained.text_encoder,
    )
    if not trained.text_encoder:  # its states were computed before the first step
        return project
    hidden, length = text.hidden_size, nova.text_len
    numbers = text.num_layers * (4 * hidden**2 + 2 * hidden * text.intermediate_size)
    pairs = length**2 if dense else length * (length + 1) / 2
    encode = _linear(shape.instructions * length, numbers)
    return project + encode + _attention(hidden, shape.instructions * text.num_layers * pairs)


def _video_encoder(config: ModelConfig, shape: StepShape, trained: Trained, dense: bool) -> float:
    """Patches and times, the windows, the anchor of every instruction and the mixer of the target frames."""
    nova, windows, packs = config.nova, shape.windows, shape.packs
    window = nova.text_len + packs * config.pack_tokens
    anchor = nova.text_len + nova.frame_tokens
    anchors = shape.instructions if shape.frames and nova.mixer_rank else 0
    tokens = windows * window + anchors * anchor
    pairs = windows * (window**2 if dense else visible_pairs(config, window, 0)) + anchors * anchor**2
    total = _blocks(config, nova.video_depth * tokens, nova.video_depth * pairs, trained)
    total += _linear(tokens, trained.adapter_numbers)
    frames = windows * packs * nova.frame_tokens
    patch = nova.video_patch**2 * nova.latent_channels
    total += _linear(frames, patch * nova.width, weights=trained.backbone, inputs=False)
    times = packs + (1 if anchors else 0)
    total += _linear(times, 2 * TIME_FREQUENCIES * nova.width, inputs=False) + _linear(times, nova.width**2)
    return total + _linear(shape.frames * nova.frame_tokens, 3 * nova.width * nova.mixer_rank)


def _blocks(config: ModelConfig, tokens: float, pairs: float, trained: Trained) -> float:
    """Transformer blocks of the backbone; tokens and pairs are summed over the blocks."""
    nova = config.nova
    numbers = (4 + 2 * nova.mlp_ratio) * nova.width**2
    return _linear(tokens, numbers, weights=trained.backbone) + _attention(nova.width, pairs)


def _image_encoder(config: ModelConfig, shape: StepShape, trained: Trained) -> float:
    """Half of the blocks on condition and visible tokens, half on condition and all tokens."""
    nova = config.nova
    half = nova.image_depth // 2
    layers = [(half, nova.frame_tokens + shape.visible)]
    layers += [(nova.image_depth - half, float(nova.frame_tokens + nova.image_tokens))]
    tokens = shape.frames * sum(depth * length for depth, length in layers)
    pairs = shape.frames * sum(depth * length**2 for depth, length in layers)
    embed = _linear(
        shape.frames * shape.visible, nova.patch_dim * nova.width, weights=trained.backbone, inputs=False
    )
    return _blocks(config, tokens, pairs, trained) + embed


def _image_decoder(config: ModelConfig, shape: StepShape, trained: Trained) -> float:
    """Diffusion MLP on the masked tokens of every draw. Only its condition brings a gradient to frozen layers."""
    nova, full = config.nova, trained.backbone
    width = nova.head_width
    tokens = DRAWS * shape.frames * (nova.image_tokens - shape.visible)
    first = _linear(tokens, (nova.patch_dim + 2 * TIME_FREQUENCIES) * width, weights=full, inputs=False)
    time = _linear(tokens, width**2, weights=full, inputs=full)
    condition = (nova.width + width) * width
    body = (5 * nova.head_depth + 2) * width**2 + width * nova.patch_dim
    return first + time + _linear(tokens, condition + body, weights=full)


def _frame_inputs(config: ModelConfig, shape: StepShape, trained: Trained) -> float:
    """What is added to the image tokens: hidden states, the present frame, the next chunk."""
    nova, frames, action, full = config.nova, config.frames, config.action, trained.backbone
    total = 0.0
    if frames.up:
        tokens = shape.frames * nova.frame_tokens
        total += _linear(tokens, nova.width**2 * (nova.video_patch // nova.image_patch) ** 2, weights=full)
    if frames.present:
        tokens = shape.frames * nova.image_tokens
        total += _linear(tokens, nova.patch_dim * nova.width, weights=full, inputs=False)
    if frames.next_actions:
        numbers = action.horizon * action.action_dim * nova.width
        total += _linear(shape.frames, numbers, weights=full, inputs=False)
        total += _linear(shape.frames, 2 * nova.width**2, weights=full, inputs=full)
    return total


def _action_tokenizer(config: ModelConfig, shape: StepShape) -> float:
    """Past actions, and the plans that the action head reads."""
    action, width = config.action, config.nova.width
    tokens = shape.windows * shape.packs * action.horizon
    if action.plan_conditioning:
        tokens += shape.sequences * action.plan_actions
    return _linear(tokens, action.action_dim * width, inputs=False) + _linear(tokens, width**2)


def _action_head(config: ModelConfig, shape: StepShape) -> float:
    """Memory once per sequence; the draws of a sequence share it."""
    action, depth, width = config.action, config.action.dit_depth, config.action.dit_width
    memory = action.horizon + (config.nova.frame_tokens if action.memory_frames else 0)
    memory += action.plan_actions if action.plan_conditioning else 0
    draws = shape.sequences * DRAWS
    tokens = draws * action.num_actions
    total = _linear(shape.sequences * memory, depth * 2 * config.nova.width * width)
    total += _linear(tokens, depth * (6 + 2 * action.dit_mlp_ratio) * width**2)
    total += depth * _attention(width, tokens * (action.num_actions + memory))
    total += _linear(draws, 2 * TIME_FREQUENCIES * width, inputs=False)
    total += _linear(draws, (1 + 6 * depth + 2) * width**2)
    ends = action.action_dim * width
    return total + _linear(tokens, ends, inputs=False) + _linear(tokens, ends)


def _waypoints(config: ModelConfig, shape: StepShape) -> float:
    action = config.action
    outputs = action.num_chunks * WaypointHead.AXES
    return _linear(shape.windows * shape.packs * action.horizon, config.nova.width * outputs)
