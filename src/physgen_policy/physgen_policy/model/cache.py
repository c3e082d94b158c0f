# SPDX-License-Identifier: Apache-2.0
"""Preallocated key/value cache of the video encoder. The caller owns it; a forward pass only appends."""

from __future__ import annotations

import torch
from torch import Tensor


class CacheOverflowError(ValueError):
    """More tokens were appended than the cache can hold."""


class KVCache:
    """Keys and values of every layer, [layers, b, heads, capacity, head_dim], of which `length` rows are valid."""

    def __init__(
        self,
        *,
        layers: int,
        batch: int,
        heads: int,
        capacity: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.keys = torch.empty(layers, batch, heads, capacity, head_dim, dtype=dtype, device=device)
        self.values = torch.empty_like(self.keys)
        self.length = 0

    @property
    def capacity(self) -> int:
        """Number of rows that fit."""
        return self.keys.shape[3]

    def write(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new rows of one layer behind the valid ones and return all rows up to them (views).

        The rows become valid with advance(), once every layer has written.

        Raises:
            CacheOverflowError: They do not fit.
        """
        end = self.length + keys.shape[2]
        if end > self.capacity:
            raise CacheOverflowError(
                f"the cache holds {self.capacity} tokens, {self.length} are used and {keys.shape[2]} more were given"
            )
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def advance(self, rows: int) -> None:
        """Make the rows written last valid."""
        self.length += rows

    def truncate(self, length: int) -> None:
        """Make the rows behind `length` invalid again."""
        self.length = min(self.length, length)

    def copy_without(self, start: int, rows: int) -> KVCache:
        """Return a new cache of the same capacity without the rows start .. start + rows - 1; later ones move up."""
        copy = self.truncated_copy(start)
        end = self.length - rows
        copy.keys[:, :, :, start:end] = self.keys[:, :, :, start + rows : self.length]
        copy.values[:, :, :, start:end] = self.values[:, :, :, start + rows : self.length]
        copy.length = end
        return copy

    def truncated_copy(self, length: int) -> KVCache:
        """Return a new cache of the same capacity holding only the first `length` rows."""
        layers, batch, heads, capacity, head_dim = self.keys.shape
        copy = KVCache(
            layers=layers,
            batch=batch,
            heads=heads,
            capacity=capacity,
            head_dim=head_dim,
            dtype=self.keys.dtype,
            device=self.keys.device,
        )
        copy.keys[:, :, :, :length] = self.keys[:, :, :, :length]
        copy.values[:, :, :, :length] = self.values[:, :, :, :length]
        copy.length = length
        return copy
