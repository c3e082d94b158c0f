# SPDX-License-Identifier: Apache-2.0
"""The trained residual as a value: three small matrices in a safetensors file, computed with NumPy; needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM, Float32Array, Float64Array
from physgen_physworld.residual.observation import OBSERVATION_DIM

LAYERS = 3
FORMAT = "physgen-physworld-residual-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualNetwork:
    """Two tanh layers and a linear one on normalised observations."""

    weights: tuple[Float32Array, ...]
    """Float32 [out, in] of each layer."""
    biases: tuple[Float32Array, ...]
    """Float32 [out] of each layer."""
    mean: Float32Array
    """Of observations, float32 [OBSERVATION_DIM]."""
    deviation: Float32Array
    """Of observations, float32 [OBSERVATION_DIM]."""
    scale: Float64Array
    """The largest residual [6] ([m], [rad])."""

    def residual(self, observation: Float32Array) -> Float32Array:
        """Return the addition [7] to a base action; the gripper's is 0."""
        values = np.clip((observation - self.mean) / self.deviation, -10.0, 10.0)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            values = np.tanh(weight @ values + bias)
        share = np.clip(self.weights[-1] @ values + self.biases[-1], -1.0, 1.0)
        result = np.zeros(ACTION_DIM, np.float32)
        result[:6] = share * self.scale
        return result

    def save(self, path: Path) -> None:
        """Write the file; it is there whole or not at all."""
        from safetensors.numpy import save

        tensors = {f"weight_{index}": weight for index, weight in enumerate(self.weights)}
        tensors |= {f"bias_{index}": bias for index, bias in enumerate(self.biases)}
        tensors |= {"mean": self.mean, "deviation": self.deviation, "scale": self.scale.astype(np.float32)}
        tensors = {name: np.ascontiguousarray(values, np.float32) for name, values in tensors.items()}
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(save(tensors, metadata={"format": FORMAT, "layers": json.dumps(LAYERS)}))
        partial.rename(path)


def load_residual(path: Path) -> ResidualNetwork:
    """Read a residual.

    Raises:
        UserError: there is none, or it is not one for this program.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"There is no residual {path}: train one with `physgen physworld train`.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is no residual ({error}): train it again.") from error
    if metadata.get("format") != FORMAT or tensors["mean"].shape != (OBSERVATION_DIM,):
        raise UserError(f"{path} is no residual of this version: train it again.")
    return ResidualNetwork(
        weights=tuple(tensors[f"weight_{index}"] for index in range(LAYERS)),
        biases=tuple(tensors[f"bias_{index}"] for index in range(LAYERS)),
        mean=tensors["mean"],
        deviation=tensors["deviation"],
        scale=tensors["scale"].astype(np.float64),
    )


def with_residual(base: Float32Array, residual: Float64Array) -> Float32Array:
    """Return a canonical action [7] with a residual [6] added; a residual of zero changes no bit."""
    command = base.copy()
    command[:6] += residual.astype(np.float32)
    return command
