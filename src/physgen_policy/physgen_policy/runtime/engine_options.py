# SPDX-License-Identifier: Apache-2.0
"""Switches of the inference engine. Each one changes how fast a chunk is computed, none changes what is computed.

Outputs with a switch on and off agree within the tolerance that its test states (test/runtime/test_engine.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from physgen_policy.sampling.actions import Capture

CaptureChoice = Literal["auto", "off", "graph", "compile"]
CAPTURES: tuple[CaptureChoice, ...] = get_args(CaptureChoice)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a policy computes."""

    use_cache: bool = True
    """Keep keys and values of the window in preallocated buffers while it grows."""
    split_attention: bool = True
    """Attend pack by pack to the visible keys alone, instead of to all under a dense mask."""
    reuse_conditioning: bool = True
    """Modulation vectors and memory keys and values of the action head once, not per denoise step."""
    capture: CaptureChoice = "auto"
    """The denoise loop (on CUDA also the frame encoder) as CUDA graphs, or a compiled action head; "auto" means graphs
    on CUDA and off on a CPU."""
    collapse_vae: bool = True
    """The frame encoder without 3-D convolutions."""
    channels_last: bool = True
    """Memory layout of the frame encoder."""
    cast_weights: bool = True
    """With dtype bfloat16, store weights in it; otherwise every use converts them (autocast)."""
    unload_text_encoder: bool = True
    """Free the text encoder once an instruction is encoded; another one reads it from disk again."""

    def __post_init__(self) -> None:
        if self.capture not in CAPTURES:
            raise ValueError(f"capture must be one of {', '.join(CAPTURES)}, got {self.capture!r}")

    @staticmethod
    def all_off() -> EngineOptions:
        """Return plain eager execution, the reference of every comparison."""
        return EngineOptions(
            use_cache=False,
            split_attention=False,
            reuse_conditioning=False,
            capture="off",
            collapse_vae=False,
            channels_last=False,
            cast_weights=False,
            unload_text_encoder=False,
        )

    def capture_on(self, device: torch.device) -> Capture:
        """Return the kind of capture on a device.

        Raises:
            ValueError: Graphs were asked for on a device that has none.
        """
        if self.capture == "auto":
            return "graph" if device.type == "cuda" else "off"
        if self.capture == "graph" and device.type != "cuda":
            raise ValueError(f"capture graph needs a CUDA device, got {device}; use auto, off or compile")
        return self.capture
