# SPDX-License-Identifier: Apache-2.0
"""A function of tensors recorded once as a CUDA graph and replayed: one launch by the CPU instead of hundreds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM_UP_CALLS = 3  # libraries choose kernels and allocate workspaces, which must not happen while recording


class GraphedCall:
    """One recorded call. Inputs are copied into fixed buffers; the result is a copy the caller owns.

    The function must do the same work for every input of these shapes: no reading back of tensors, no random numbers.
    """

    def __init__(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        device = self._inputs[0].device
        side = torch.cuda.Stream(device)
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_CALLS):
                function(*self._inputs)
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Replay with other numbers of the same shapes and types."""
        for buffer, tensor in zip(self._inputs, inputs, strict=True):
            buffer.copy_(tensor)
        self._graph.replay()
        return self._output.clone()


class GraphedFunction:
    """A function that is recorded once per combination of input shapes and types."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._calls: dict[tuple[tuple[torch.Size, torch.dtype], ...], GraphedCall] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Record at first sight, replay afterwards."""
        key = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if key not in self._calls:
            self._calls[key] = GraphedCall(self._function, inputs)
        return self._calls[key](*inputs)
