# SPDX-License-Identifier: Apache-2.0
"""The model's window over an episode: which packs it holds, when it is cached, what happens when it is full.

A pack is one frame latent and the eight actions before it. A step is tentative until commit, so a cancelled
or failed inference leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from physgen_control.errors import UserError
from physgen_policy.model.batch import PackOutput
from physgen_policy.model.context import Context
from physgen_policy.model.physgen import PhysGen


class WindowPolicy(StrEnum):
    """What to do at a full window: absolute time embeddings forbid shifting cached keys."""

    RECOMPUTE = "recompute"
    """Drop the oldest pack and compute the others again: exact, and what training shows."""
    RESTART = "restart"
    """Start an empty window with this frame and Begin-of-Action: cheap, forgets everything."""
    ROPE_T = "rope_t"
    """Evict the oldest pack from the cache and turn the other keys back in time: cheap, approximate (PhysGen.evict)."""


@dataclass(frozen=True, slots=True)
class Pack:
    """One pack of the window."""

    latent: Tensor
    """[1, c, h, w]"""
    past: Tensor | None
    """Normalised actions [1, 8, a]; None = Begin-of-Action."""


class PackWindow:
    """Packs of the current episode and, where it is valid, the model's key/value cache of them."""

    def __init__(
        self,
        model: PhysGen,
        *,
        max_packs: int,
        policy: WindowPolicy,
        use_cache: bool,
        split_attention: bool = False,
    ) -> None:
        if policy is WindowPolicy.ROPE_T:
            if model.config.rope == "none":
                raise UserError(
                    "window_policy rope_t needs a checkpoint with rotary time positions (rope: rope_t), this one has "
                    "none; use recompute or restart"
                )
            if not use_cache:
                raise UserError("window_policy rope_t lives in the cache; set use_cache to true")
        self._model = model
        self._split_attention = split_attention
        self._max_packs = max_packs
        self._policy = policy
        self._use_cache = use_cache
        self._text: Tensor | None = None
        self._anchor: Tensor | None = None
        self._packs: list[Pack] = []
        self._text_only: Context | None = None
        self._context: Context | None = None
        self._before: Context | None = None
        self._tentative: list[Pack] | None = None

    @property
    def num_packs(self) -> int:
        """Number of committed packs."""
        return len(self._packs)

    def restart(self, text_tokens: Tensor) -> None:
        """Begin an empty window under an instruction, text_tokens [1, l, d]."""
        self._packs, self._tentative = [], None
        self.set_text(text_tokens)

    def set_text(self, text_tokens: Tensor) -> None:
        """Follow another instruction with the same history: everything computed under the old one is void."""
        self._text, self._context, self._before = text_tokens, None, None
        self._anchor = None
        self._text_only = (
            self._model.start(text_tokens, with_anchor=False, split_attention=self._split_attention)
            if self._use_cache
            else None
        )

    def extend(self, pack: Pack) -> tuple[PackOutput, bool]:
        """Compute the outputs of a new pack, tentatively.

        Returns:
            The hidden states of the pack (batch 1) and whether the pack began with Begin-of-Action.
        """
        if self._tentative is not None:
            self.rollback()
        packs = [*self._packs, pack]
        shifted = len(packs) > self._max_packs
        if shifted:
            packs = [Pack(pack.latent, None)] if self._policy is WindowPolicy.RESTART else packs[1:]
        self._tentative = packs
        output = self._append(packs, shifted) if self._use_cache else self._full(packs)
        return output, packs[-1].past is None

    def commit(self) -> None:
        """Make the last extend part of the history."""
        assert self._tentative is not None, "extend must be called first"
        self._packs, self._tentative = self._tentative, None

    def rollback(self) -> None:
        """Forget the last extend: the context is again what it was, to the last bit."""
        if self._tentative is None:
            return
        self._tentative, self._context = None, self._before
        if self._context is not None and self._context.num_packs > len(self._packs):
            self._context.drop_last()

    def anchor(self) -> Tensor | None:
        """Return what the mixer of the frame path needs of the instruction [1, n, d]; None without a mixer."""
        assert self._text is not None, "restart must be called first"
        if self._anchor is None and self._model.nova.video_encoder.mixer is not None:
            self._anchor = self._model.nova.anchor(self._text)
        return self._anchor

    def _append(self, packs: list[Pack], shifted: bool) -> PackOutput:
        assert self._text_only is not None, "restart must be called first"
        self._before, missing = self._context, packs[-1:]
        if self._context is not None and shifted and self._policy is WindowPolicy.ROPE_T:
            self._context = self._model.evict(self._context)
        elif self._context is None or shifted:
            # Everything that is missing goes through the network in one pass.
            self._context, missing = self._model.rebuild(self._text_only, 0), packs
        stored = [self._model.stored_pack(pack.latent, pack.past) for pack in missing]
        output = self._model.extend(self._context, stored)
        return PackOutput(output.frame_hidden[:, -1], output.action_hidden[:, -1])

    def whole(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the committed packs as PhysGen.full takes them: text tokens, latents, past actions, begins (batch 1).

        Raises:
            ValueError: There is none.
        """
        if not self._packs:
            raise ValueError("the window is empty")
        return self._stacked(self._packs)

    def _full(self, packs: list[Pack]) -> PackOutput:
        output = self._model.full(*self._stacked(packs), split_attention=self._split_attention)
        return PackOutput(output.frame_hidden[:, -1], output.action_hidden[:, -1])

    def _stacked(self, packs: list[Pack]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        assert self._text is not None, "restart must be called first"
        action = self._model.config.action
        latents = torch.stack([pack.latent for pack in packs], dim=1)
        absent = latents.new_zeros(latents.shape[0], action.horizon, action.action_dim)
        past = torch.stack([absent if pack.past is None else pack.past for pack in packs], dim=1)
        boa = torch.tensor([[pack.past is None for pack in packs]], device=latents.device)
        return self._text, latents, past, boa
