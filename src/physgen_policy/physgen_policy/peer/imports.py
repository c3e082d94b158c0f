# SPDX-License-Identifier: Apache-2.0
"""Makes `import lerobot` work beside our torch; call `prepare` once, in a process that exists for lerobot alone."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

_kept: list[Any] = []


def prepare() -> None:
    """Let the policies that are trained from nothing (ACT, Diffusion Policy) load.

    lerobot asks for older versions of transformers and peft than ours and fails at their import, but does without them
    where there are none: they serve its large pretrained policies only.
    """
    for name in ("transformers", "peft"):
        sys.modules[name] = None  # type: ignore[assignment]  # what the import system documents for "there is none"
    warnings.filterwarnings("ignore", message="Failed to load image Python extension")
    _declare_vision_operators()


def _declare_vision_operators() -> None:
    """Let torchvision's Python part load where its compiled part does not fit this torch.

    On the package index torchvision is built for one torch and for CUDA. Without its operators the description of two
    of them fails; the policies call none, so their names are enough.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
            return
        except OSError:
            continue
    declared = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(declared)  # the names vanish with the object
