# SPDX-License-Identifier: Apache-2.0
"""The transformer block of both encoders: residual post-norm, i.e. LayerNorm on the OUTPUT of each sublayer.

x = x + LN(attention(x)); x = x + LN(mlp(x)). Nothing is normalised before attention. Masks, rotations and caches are
arguments; the modules keep no state between calls.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from physgen_policy.model.attention import Visibility, attend
from physgen_policy.model.cache import KVCache
from physgen_policy.model.rotary import rotate


class Attention(nn.Module):
    """Multi-head self-attention with a fused qkv projection; the only user of the cache."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        mask: Visibility = None,
        rope: Tensor | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """x [b, s, d], mask of s rows and s + cached keys -> [b, s, d]."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if rope is not None:
            q, k = rotate(q, rope), rotate(k, rope)
        if cache is not None:
            k, v = cache.write(layer, k, v)
        mixed = attend(q, k.to(q.dtype), v.to(q.dtype), mask)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return out


class Mlp(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention and MLP, each with the norm on its output."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, mlp_ratio * width)

    def forward(
        self,
        x: Tensor,
        mask: Visibility = None,
        rope: Tensor | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
    ) -> Tensor:
        """The residual stream [b, s, d] -> [b, s, d]."""
        x = x + self.norm1(self.attn(x, mask, rope, cache, layer))
        out: Tensor = x + self.norm2(self.mlp(x))
        return out
