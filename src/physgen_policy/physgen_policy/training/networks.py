# SPDX-License-Identifier: Apache-2.0
"""The networks of one run, made ready for what the run changes, and their way into a checkpoint folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from physgen_policy.checkpoint import (
    Description,
    checkpoint_tensors,
    merge_checkpoint,
    save_adapter_checkpoint,
    write_checkpoint,
)
from physgen_policy.checkpoint.adapters import current_adapter
from physgen_policy.checkpoint.load import IMAGINED_CODEC
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.frame_codec import FrameCodec
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder, build_text_encoder
from physgen_policy.training.config import PolicyStage
from physgen_policy.training.start import Start
from physgen_policy.training.text_states import TextSource, cached_text_states
from physgen_policy.training.tuning import adapter_settings, freeze_all_but_adapters, trained_tensors


@dataclass(frozen=True, slots=True)
class Networks:
    """Everything a checkpoint of the run will hold."""

    model: PhysGen
    text: TextSource
    codec: FrameCodec
    config: ModelConfig
    norm: NormStats
    start: Start | None
    """What the run began with, if it was a checkpoint."""
    adapted: bool
    """The backbone has adapters."""
    own_imagined_codec: FrameCodec | None = None
    """The codec in whose latents frames are imagined, where it is not `codec`."""

    @property
    def imagined_codec(self) -> FrameCodec:
        """The codec in whose latents frames are imagined."""
        return self.codec if self.own_imagined_codec is None else self.own_imagined_codec

    def save(
        self, run: Path, embodiment: Embodiment, dtype: torch.dtype, training: dict[str, Any], *, last: bool
    ) -> None:
        """Write run/checkpoint; with adapters write run/adapter, and run/checkpoint (merged) only at the end.

        The networks must hold the averaged weights.
        """
        description = Description(self.config, self.norm, embodiment, training)
        if not self.adapted:
            write_checkpoint(run / "checkpoint", self._tensors(), description, dtype)
            return
        assert self.start is not None  # adapters exist only on top of a checkpoint
        save_adapter_checkpoint(
            run / "adapter",
            base=self.start.path,
            base_sha256=self.start.sha256,
            trained=trained_tensors(self.model),
            adapter=current_adapter(self.model.nova, self.config.lora),
            description=description,
        )
        if last:
            merge_checkpoint(run / "adapter", run / "checkpoint", dtype)

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors of all networks under a checkpoint's keys."""
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        tensors |= {f"codec.{key}": value for key, value in self.codec.state_dict().items()}
        if self.own_imagined_codec is not None:
            tensors |= imagined_codec_tensors(self.own_imagined_codec)
        if isinstance(self.text, nn.Module):
            return tensors | {f"text_encoder.{key}": value for key, value in self.text.state_dict().items()}
        assert self.start is not None  # states without an encoder come from a checkpoint
        stored = checkpoint_tensors(self.start.path)
        return tensors | {key: value for key, value in stored.items() if key.startswith("text_encoder.")}


def imagined_codec_tensors(codec: FrameCodec) -> dict[str, Tensor]:
    """Return the tensors of the codec in which frames are imagined under a checkpoint's keys."""
    return {f"{IMAGINED_CODEC}.{key}": value for key, value in codec.state_dict().items()}


def new_networks(config: ModelConfig, codec: FrameCodec, norm: NormStats) -> Networks:
    """Return random weights from torch's global generator; all of them are trained."""
    return Networks(PhysGen(config), build_text_encoder(config), codec, config, norm, None, False)


def started_networks(
    start: Start, stage: PolicyStage, cache: Path, instructions: list[str], autocast_dtype: torch.dtype | None
) -> Networks:
    """Return the start's networks, with adapters if the stage says so.

    Args:
        start: The checkpoint.
        stage: What is tuned.
        cache: Folder for the states of a frozen text encoder.
        instructions: Every text of the data.
        autocast_dtype: Type of the run's autocast, if any; frozen layers are kept in it.
    """
    model, config = start.model, start.config
    text: TextSource
    frames_only = stage.objective == "frames"
    if stage.tuning == "full" and stage.train_text_encoder and not frames_only:
        text = start.load_text_encoder().requires_grad_(True)
    else:

        def load() -> TextEncoder:
            return start.load_text_encoder(dtype)

        # Hidden states of a policy that stays as it is are computed as it computes them, in float32.
        dtype = torch.float32 if frames_only else autocast_dtype or torch.float32
        fingerprint = f"{start.sha256} {None if frames_only else autocast_dtype}"
        text = cached_text_states(cache, fingerprint, config.nova.text_len, instructions, load)
    if stage.tuning == "full":
        model.requires_grad_(True)
        return Networks(model, text, start.codec, config, start.norm, start, False, start.imagined_codec)
    config = replace(config, lora=adapter_settings(config.lora, stage))
    freeze_all_but_adapters(model, config.lora, autocast_dtype or torch.float32)
    return Networks(model, text, start.codec, config, start.norm, start, True, start.imagined_codec)
