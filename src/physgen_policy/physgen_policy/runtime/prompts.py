# SPDX-License-Identifier: Apache-2.0
"""Instructions as text tokens: the language model runs once per distinct instruction and need not stay in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor

from physgen_policy.checkpoint import Checkpoint, checkpoint_tensors, load_text_encoder
from physgen_policy.model.text_encoder import TextEncoder

_REMEMBERED = 16


class PromptStates:
    """Text tokens of the last instructions.

    Args:
        checkpoint: Its text encoder computes them.
        unload: Free the checkpoint's text encoder when release() is called; a new instruction then reads it from the
            checkpoint's folder and frees it again.
        autocast: Makes the context in which networks run.
    """

    def __init__(
        self, checkpoint: Checkpoint, *, unload: bool, autocast: Callable[[], AbstractContextManager[object]]
    ) -> None:
        self._checkpoint = checkpoint
        self._unload = unload
        self._autocast = autocast
        self._tokens: dict[str, Tensor] = {}

    def tokens(self, instruction: str) -> Tensor:
        """Return the tokens of an instruction [1, l, d].

        Raises:
            CheckpointError: The text encoder was unloaded and its file is gone.
        """
        if instruction not in self._tokens:
            if len(self._tokens) >= _REMEMBERED:
                del self._tokens[next(iter(self._tokens))]
            with self._autocast():
                states, lengths = self._encoder().encode([instruction])
                self._tokens[instruction] = self._checkpoint.model.text_tokens(states, lengths)
        return self._tokens[instruction]

    def release(self) -> None:
        """Give the text encoder's memory back: the instructions of the near future are known."""
        if self._unload:
            self._checkpoint.text_encoder.to("meta")

    def forget(self) -> None:
        """Drop all remembered instructions."""
        self._tokens.clear()

    def _encoder(self) -> TextEncoder:
        resident = self._checkpoint.text_encoder
        if not next(resident.parameters()).is_meta:
            return resident
        device = next(self._checkpoint.model.parameters()).device
        path = self._checkpoint.path
        return load_text_encoder(path, self._checkpoint.model.config, checkpoint_tensors(path), device)
