# SPDX-License-Identifier: Apache-2.0
"""Instruction -> states of a causal language model (Phi). Trainable in small models, frozen with published weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from physgen_policy.model.config import ModelConfig, TextEncoderConfig
from physgen_policy.model.sizes import ConfigError


class Tokenizer(Protocol):
    """Text -> ids without padding or special tokens at the end; pad_id fills the rest of a row."""

    pad_id: int

    def ids(self, text: str) -> list[int]:
        """Ids of one text."""
        ...


class ByteTokenizer:
    """UTF-8 bytes with an offset of 3; 0 pads, 1 and 2 are reserved as in ByT5."""

    pad_id = 0

    def ids(self, text: str) -> list[int]:
        """One id per byte."""
        return [byte + 3 for byte in text.encode()]


class FolderTokenizer:
    """A tokenizer.json in a local folder, e.g. CodeGen's of the published checkpoint. Nothing is downloaded."""

    def __init__(self, folder: str) -> None:
        if not (Path(folder) / "tokenizer.json").is_file():
            raise ConfigError(f'{folder} holds no tokenizer.json; give "bytes" or a folder with one')
        from transformers import PreTrainedTokenizerFast

        self._tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(folder) / "tokenizer.json"))
        self.pad_id = 50256  # CodeGen's end of text, which the published model pads with

    def ids(self, text: str) -> list[int]:
        """Ids without special tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids


class TextEncoder(nn.Module):
    """Phi's last hidden states after its final norm, right-padded to a fixed number of rows."""

    def __init__(self, config: TextEncoderConfig, text_len: int) -> None:
        super().__init__()
        from transformers import PhiConfig, PhiModel  # slow to import, and only needed once text is encoded

        self.text_len = text_len
        self.tokenizer: Tokenizer = (
            ByteTokenizer() if config.tokenizer == "bytes" else FolderTokenizer(config.tokenizer)
        )
        phi = PhiConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            max_position_embeddings=config.max_positions,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attention_dropout=0.0,
            hidden_act="gelu_pytorch_tanh",
            layer_norm_eps=1e-5,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10000.0,
                "partial_rotary_factor": config.partial_rotary_factor,
            },
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            use_cache=False,
        )
        phi._attn_implementation = "sdpa"
        self.phi = PhiModel(phi)

    def restore_tables(self) -> None:
        """Recompute what is not stored with the weights; needed after building on the meta device."""
        self.phi.rotary_emb = type(self.phi.rotary_emb)(config=self.phi.config)

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return states [b, text_len, text_dim] and prompt lengths int64 [b]; longer prompts are cut, "" has length 0.

        Rows beyond a prompt are meaningless and must be replaced (TextEmbed does).
        """
        device = next(self.parameters()).device
        rows = [self.tokenizer.ids(text)[: self.text_len] for text in texts]
        # Any id does for padding: what comes after a prompt is never seen.
        pad = min(self.tokenizer.pad_id, self.phi.config.vocab_size - 1)
        ids = torch.full((len(rows), self.text_len), pad, dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        # Causal attention: padding on the right cannot reach the prompt, so no mask is needed.
        states: Tensor = self.phi(input_ids=ids.to(device)).last_hidden_state
        return states, torch.tensor([len(tokens) for tokens in rows], device=device)


def build_text_encoder(config: ModelConfig) -> TextEncoder:
    """The text encoder a model configuration asks for, with fresh weights."""
    return TextEncoder(config.text_encoder, config.nova.text_len)
