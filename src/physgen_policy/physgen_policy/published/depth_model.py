# SPDX-License-Identifier: Apache-2.0
"""A monocular depth network of transformers, such as Depth Anything V2, from a folder that people bring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, UInt8Image

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, which these networks were trained with."""

SHORT_SIDE = 518
"""Pixels of the shorter side that the published networks see."""

DepthKind = Literal["depth", "inverse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelativeDepth:
    """What a network says of one picture: right up to scale and shift."""

    values: Float32Array
    """float32 [y, x], as large as the picture."""
    kind: DepthKind
    """"depth" grows with the distance along the camera's axis, "inverse" with its inverse."""


class DepthModel:
    """A depth network on one device. Not thread-safe.

    Args:
        folder: Made by transformers' save_pretrained: config.json and model.safetensors. Nothing is downloaded.
        short_side: Pixels of the shorter side that the network sees.

    Raises:
        UserError: The folder holds no depth network that could be loaded.
    """

    def __init__(self, folder: Path, short_side: int = SHORT_SIDE) -> None:
        from transformers import AutoModelForDepthEstimation

        if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
            raise UserError(
                f"{folder} holds no depth network: it needs config.json and model.safetensors, as transformers saves "
                "them"
            )
        try:
            self._model = AutoModelForDepthEstimation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"the depth network in {folder} cannot be loaded: {error}") from error
        config = self._model.config
        self._patch = int(
            getattr(getattr(config, "backbone_config", None), "patch_size", 0) or config.patch_size
        )
        self._short_side = short_side
        metric = getattr(config, "depth_estimation_type", "relative") == "metric"
        self.kind: DepthKind = "depth" if metric else "inverse"

    @torch.inference_mode()
    def look(self, picture: UInt8Image) -> RelativeDepth:
        """Return the depth of a picture, uint8 [y, x, 3] RGB."""
        height, width = picture.shape[:2]
        scale = self._short_side / min(height, width)
        size = tuple(max(1, round(side * scale / self._patch)) * self._patch for side in (height, width))
        planes = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
        planes = torch.nn.functional.interpolate(
            planes, size=size, mode="bicubic", align_corners=False, antialias=True
        )
        mean, deviation = torch.tensor(MEAN).view(1, 3, 1, 1), torch.tensor(DEVIATION).view(1, 3, 1, 1)
        predicted = self._model(pixel_values=(planes - mean) / deviation).predicted_depth
        found = torch.nn.functional.interpolate(
            predicted[:, None].float(), size=(height, width), mode="bilinear", align_corners=False
        )
        return RelativeDepth(values=found[0, 0].numpy(), kind=self.kind)
