# SPDX-License-Identifier: Apache-2.0
"""Camera image -> latent for acting: the encoder half of the frame codec in the form that is fastest on the device."""

from __future__ import annotations

import torch
from torch import Tensor

from physgen_policy.model.frame_codec import FrameCodec, pixels_from_images
from physgen_policy.runtime.engine_options import EngineOptions
from physgen_policy.sampling.capture import GraphedFunction


class FrameEncoder:
    """A copy of a codec's encoder under EngineOptions.

    Args:
        codec: The codec.
        options: How it computes.
        dtype: Of its weights; None keeps the codec's (and leaves a conversion to autocast).
    """

    def __init__(self, codec: FrameCodec, options: EngineOptions, dtype: torch.dtype | None) -> None:
        device = next(codec.parameters()).device
        layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self._encoder = codec.image_encoder(collapse=options.collapse_vae).to(dtype=dtype)
        # Five-dimensional weights know no channels_last; they keep their layout.
        for parameter in self._encoder.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=layout)
        self._layout = layout
        self._dtype = next(self._encoder.parameters()).dtype
        self._scale = codec.config.scaling_factor
        graphed = options.capture_on(device) == "graph"
        self._function = GraphedFunction(self._encoder) if graphed else self._encoder

    def __call__(self, images: Tensor) -> Tensor:
        """Return scaled latents fp32 [b, c, H / 8, W / 8] of uint8 [b, H, W, 3] RGB on the codec's device.

        Raises:
            ValueError: Not a batch of uint8 RGB images with sides that are multiples of 8.
        """
        pixels = pixels_from_images(images).to(self._dtype).contiguous(memory_format=self._layout)
        mean: Tensor = self._function(pixels)
        # Memory layouts end here: everything behind works on contiguous latents.
        return mean.float().contiguous() * self._scale
