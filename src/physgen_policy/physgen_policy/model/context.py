# SPDX-License-Identifier: Apache-2.0
"""The growing context of one episode: key/value cache, the anchor and the packs that went in, owned by the caller."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from physgen_policy.model.cache import KVCache


class WindowFullError(ValueError):
    """Another pack was appended to a full window."""


@dataclass(frozen=True, slots=True)
class StoredPack:
    """What a pack was made of."""

    latent: Float[Tensor, "b c h w"]
    past_actions: Float[Tensor, "b k a"]
    """Normalised."""
    boa: Bool[Tensor, " b"]
    """Rows that carry Begin-of-Action instead."""


@dataclass(slots=True)
class Context:
    """One window. PhysGen.append adds to it; PhysGen.rebuild makes a new one from the last packs."""

    cache: KVCache
    """Holds the text, then the packs."""
    anchor: Float[Tensor, "b n d"] | None
    """Output of the begin-of-video slot; None when frames are not generated."""
    num_text: int
    """Text tokens in the cache."""
    max_packs: int
    split_attention: bool = False
    """Attend by window_segments; otherwise under a dense mask."""
    packs: list[StoredPack] = field(default_factory=list)

    @property
    def num_packs(self) -> int:
        """Number of packs in the window."""
        return len(self.packs)

    def drop_last(self) -> None:
        """Forget the newest pack."""
        rows = (self.cache.length - self.num_text) // len(self.packs)
        self.cache.truncate(self.cache.length - rows)
        self.packs.pop()

    @property
    def is_full(self) -> bool:
        """Whether another pack does not fit."""
        return len(self.packs) >= self.max_packs
