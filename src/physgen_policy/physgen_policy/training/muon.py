# SPDX-License-Identifier: Apache-2.0
"""Muon for processors that multiply bfloat16 slowly: torch's optimiser, its iteration in float32.

torch.optim.Muon orthogonalises in bfloat16. A CPU without instructions for it takes ten times as long for that as for
float32, and then longer than for the gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Muon


class Float32Muon(Muon):
    """torch.optim.Muon (Jordan et al. 2024) on dense real matrices, with the same state and the same groups."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; closure: computes the loss anew, which is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
        update = orthogonalised(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        rows, columns = parameter.shape
        parameter.add_(update, alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))


def orthogonalised(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Return a matrix [m, n] with all singular values pulled near 1 by Newton-Schulz iterations, in float32."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    out = matrix.float().T if tall else matrix.float()
    out = out / out.norm().clamp(min=eps)
    for _ in range(steps):
        gram = out @ out.T
        out = torch.addmm(out, torch.addmm(gram, gram, gram, beta=b, alpha=c), out, beta=a)
    return out.T if tall else out
