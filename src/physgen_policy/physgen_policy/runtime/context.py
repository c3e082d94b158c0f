# SPDX-License-Identifier: Apache-2.0
"""The model's window over an episode: which packs it holds, when it is cached, what happens when it is full.

A pack is one frame latent and the eight actions before it. A step is tentative until commit, so a cancelled or failed
inference leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from physgen_policy.model.physgen import Context, PackOutput, PhysGen


class WindowPolicy(str, Enum):
    """What to do when a pack arrives at a full window. Absolute time embeddings forbid shifting cached keys."""

    RECOMPUTE = "recompute"
    """Drop the oldest pack and compute the others again: exact, and what training shows."""
    RESTART = "restart"
    """Start an empty window with this frame and Begin-of-Action: cheap, forgets everything."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One physical token: latent float32 [1, c, h, w]; past normalised actions [1, 8, a], None = Begin-of-Action."""

    latent: Tensor
    past: Tensor | None


class PackWindow:
    """Packs of the current episode and, where it is valid, the model's key/value cache of them."""

    def __init__(self, model: PhysGen, *, max_packs: int, policy: WindowPolicy, use_cache: bool) -> None:
        self._model = model
        self._max_packs = max_packs
        self._policy = policy
        self._use_cache = use_cache
        self._text: Tensor | None = None
        self._packs: list[Pack] = []
        self._context: Context | None = None
        self._tentative: list[Pack] | None = None

    @property
    def num_packs(self) -> int:
        """Committed packs."""
        return len(self._packs)

    def restart(self, text_tokens: Tensor) -> None:
        """Begin an empty window under an instruction, text_tokens [1, l, d]."""
        self._packs, self._tentative, self._context = [], None, None
        self._text = text_tokens

    def set_text(self, text_tokens: Tensor) -> None:
        """Another instruction for the same history: everything computed under the old one is void."""
        self._text, self._context = text_tokens, None

    def extend(self, pack: Pack) -> tuple[PackOutput, bool]:
        """Compute the outputs of a new pack, tentatively.

        Returns:
            The hidden states of the pack (batch 1) and whether the pack began with Begin-of-Action.
        """
        assert self._text is not None, "restart must be called first"
        if self._tentative is not None:
            self.rollback()
        packs = [*self._packs, pack]
        if len(packs) > self._max_packs:
            self._context = None
            if self._policy is WindowPolicy.RESTART:
                packs = [Pack(pack.latent, None)]
            else:
                packs = packs[-self._max_packs :]
        self._tentative = packs
        if self._use_cache and len(packs) <= self._max_packs - self._overflowed:
            output = self._append(packs)
        else:
            output = self._full(packs)
        return output, packs[-1].past is None

    def commit(self) -> None:
        """Make the last extend part of the history."""
        assert self._tentative is not None, "extend must be called first"
        self._packs, self._tentative = self._tentative, None

    def rollback(self) -> None:
        """Forget the last extend."""
        self._tentative, self._context = None, None

    def text_context(self) -> Context:
        """A context that knows the instruction only (the anchor of the frame head)."""
        assert self._text is not None, "restart must be called first"
        return self._model.start(self._text)

    @property
    def _overflowed(self) -> int:
        # With a full window every later pack shifts it, so a cache would be filled and thrown away each time.
        full = self._policy is WindowPolicy.RECOMPUTE and len(self._packs) == self._max_packs
        return 1 if full else 0

    def _append(self, packs: list[Pack]) -> PackOutput:
        missing = packs[-1:]
        if self._context is None:
            self._context, missing = self.text_context(), packs
        for pack in missing:
            output = self._model.append(self._context, pack.latent, pack.past)
        return output

    def _full(self, packs: list[Pack]) -> PackOutput:
        assert self._text is not None
        self._context = None
        action = self._model.config.action
        latents = torch.stack([pack.latent for pack in packs], dim=1)
        absent = latents.new_zeros(latents.shape[0], action.horizon, action.action_dim)
        past = torch.stack([absent if pack.past is None else pack.past for pack in packs], dim=1)
        boa = torch.tensor([[pack.past is None for pack in packs]], device=latents.device)
        output = self._model.full(self._text, latents, past, boa)
        return PackOutput(output.frame_hidden[:, -1], output.action_hidden[:, -1])
