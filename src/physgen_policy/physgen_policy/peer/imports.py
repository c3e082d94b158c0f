# SPDX-License-Identifier: Apache-2.0
"""Makes `import lerobot` work beside our torch; call `prepare` once, in a process that exists for lerobot alone."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

HIDDEN = ("transformers", "peft")
_kept: list[Any] = []


def prepare() -> None:
    """Let the policies that are trained from nothing (ACT, Diffusion Policy) load.

    lerobot asks for older versions of transformers and peft than ours and fails at their import, but does without them
    where there are none: they serve its large pretrained policies only.
    """
    position = sys.meta_path.index(PathFinder)
    sys.meta_path[position] = _FinderWithout
    for message in ("Failed to load image Python extension", "The video decoding and encoding capabilities"):
        warnings.filterwarnings("ignore", message=message)
    _declare_vision_operators()


class _FinderWithout(PathFinder):
    """Finds modules on the path, as if the hidden packages were not there."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec, as PathFinder does; None for a hidden package."""
        if fullname.partition(".")[0] in HIDDEN:
            return None
        return super().find_spec(fullname, path, target)


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
