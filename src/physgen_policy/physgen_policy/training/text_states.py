# SPDX-License-Identifier: Apache-2.0
"""Text states of a frozen text encoder: computed once per instruction, kept on disk by content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor

from physgen_policy.contract.tensor_file import save_file
from physgen_policy.model.text_encoder import TextEncoder


class TextSource(Protocol):
    """What training needs of a text encoder: itself, or the states it computed before."""

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states [b, text_len, text_dim] and prompt lengths int64 [b]."""
        ...


@torch.no_grad()
def indistinct(texts: Sequence[str], source: TextSource) -> tuple[str, str] | None:
    """Return two different texts that are one to the model because it reads only so many tokens, or None."""
    seen: dict[bytes, str] = {}
    for text in texts:
        states, lengths = source.encode([text])
        read = states[0, : int(lengths[0])].float().cpu().numpy().tobytes()
        if seen.setdefault(read, text) != text:
            return seen[read], text
    return None


class TextStates:
    """The states of known instructions, fp32; rows beyond a prompt are zero (the model replaces them)."""

    def __init__(self, states: dict[str, Tensor], text_len: int) -> None:
        self.states, self.text_len = states, text_len

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states [b, text_len, text_dim] and prompt lengths int64 [b].

        Raises:
            KeyError: A text was not computed.
        """
        rows = [self.states[text] for text in texts]
        padded = torch.zeros(len(rows), self.text_len, rows[0].shape[1])
        for row, states in zip(padded, rows, strict=True):
            row[: len(states)] = states
        return padded, torch.tensor([len(states) for states in rows])


@torch.no_grad()
def cached_text_states(
    cache: Path,
    fingerprint: str,
    text_len: int,
    texts: Sequence[str],
    load_encoder: Callable[[], TextEncoder],
) -> TextStates:
    """Return the states of `texts`, read from `cache` where they are known; the encoder is loaded only for the others.

    Args:
        cache: Folder that keeps the states.
        fingerprint: Hash of the encoder's weights; states of one encoder are never used with another.
        text_len: Tokens per text.
        texts: The texts.
        load_encoder: Loads the encoder.
    """
    key = hashlib.sha256(f"{fingerprint} {text_len}".encode()).hexdigest()[:16]
    path = cache / f"text-{key}.safetensors"
    stored = load_file(path) if path.is_file() else {}
    names = {text: hashlib.sha256(text.encode()).hexdigest()[:32] for text in texts}
    missing = sorted({text for text, name in names.items() if name not in stored})
    if missing:
        encoder = load_encoder()
        for text in missing:
            states, lengths = encoder.encode([text])
            stored[names[text]] = states[0, : int(lengths[0])].float().cpu().contiguous()
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file(stored, partial)
        partial.replace(path)
    return TextStates({text: stored[name] for text, name in names.items()}, text_len)
