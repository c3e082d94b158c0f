# SPDX-License-Identifier: Apache-2.0
"""The Action-DiT: predicts the noise on a whole sequence of future actions, conditioned by cross-attention.

No sampling loop in here. Several noisy draws of the same sequence share one set of memory keys and values. What does
not depend on the noisy actions (memory_kv, modulations) is computed apart, so that a sampler may do it once.
Legend: b sequences, r draws per sequence, k actions, w width of the head, m memory tokens, d backbone width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from physgen_policy.model.attention import attend
from physgen_policy.model.config import ActionConfig
from physgen_policy.model.diffusion_mlp import NORM_EPS, TwoLayer
from physgen_policy.model.embeddings import TIME_FREQUENCIES, sinusoid
from physgen_policy.model.linear import initialise_linear
from physgen_policy.model.transformer import Mlp

MemoryKV = list[tuple[Tensor, Tensor]]  # per layer (keys, values), each [b, heads, m, head_dim]
Modulations = list[Tensor]  # six vectors of every layer [b, r, 1, 6 w], then the output's two [b, r, 1, 2 w]


class ActionBlock(nn.Module):
    """adaLN self-attention, cross-attention to the memory, adaLN MLP; six modulation vectors from the timestep."""

    def __init__(self, config: ActionConfig, memory_width: int) -> None:
        super().__init__()
        width = config.dit_width
        self.heads = config.dit_heads
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.self_proj = nn.Linear(width, width)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_q = nn.Linear(width, width)
        self.cross_kv = nn.Linear(memory_width, 2 * width)
        self.cross_proj = nn.Linear(width, width)
        self.mlp = Mlp(width, config.dit_mlp_ratio * width)

    def memory_kv(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory [b, m, d], each [b, heads, m, head_dim]."""
        batch, tokens, _ = memory.shape
        k, v = self.cross_kv(memory).view(batch, tokens, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(
        self,
        x: Tensor,
        vectors: Tensor,
        kv: tuple[Tensor, Tensor],
        self_mask: Tensor | None,
        memory_mask: Tensor | None,
    ) -> Tensor:
        """One layer.

        Args:
            x: [b, r, k, w].
            vectors: This layer's modulation [b, r, 1, 6 w].
            kv: Result of memory_kv.
            self_mask: bool [k, k] or None.
            memory_mask: bool [b, 1, 1, m] or None.
        """
        batch, draws, actions, width = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = vectors.chunk(6, dim=-1)

        normed = F.layer_norm(x, (width,), eps=NORM_EPS)
        qkv = self.qkv(torch.addcmul(shift1, normed, scale1 + 1))
        q, k, v = qkv.view(batch * draws, actions, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = attend(q, k, v, self_mask)
        mixed = mixed.transpose(1, 2).reshape(batch, draws, actions, width)
        x = torch.addcmul(x, gate1, self.self_proj(mixed))

        # The draws are further queries of the same sequence, so the memory is projected once and never repeated.
        q = self.cross_q(self.cross_norm(x)).view(batch, draws * actions, self.heads, -1).transpose(1, 2)
        mixed = attend(q, kv[0].to(q.dtype), kv[1].to(q.dtype), memory_mask)
        mixed = mixed.transpose(1, 2).reshape(batch, draws, actions, width)
        x = x + self.cross_proj(mixed)

        normed = F.layer_norm(x, (width,), eps=NORM_EPS)
        return torch.addcmul(x, gate2, self.mlp(torch.addcmul(shift2, normed, scale2 + 1)))


class ActionDiT(nn.Module):
    """Noise prediction for [b, r, k, action_dim] sequences; or classification, and then the input is zero."""

    def __init__(self, config: ActionConfig, memory_width: int) -> None:
        super().__init__()
        self.config = config
        width = config.dit_width
        self.input = nn.Linear(config.action_dim, width)
        self.position = nn.Parameter(torch.empty(config.num_actions, width))
        self.time_embed = TwoLayer(2 * TIME_FREQUENCIES, width)
        self.blocks = nn.ModuleList(ActionBlock(config, memory_width) for _ in range(config.dit_depth))
        self.final_modulation = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, config.outputs_per_action)
        self._initialise()

    def _initialise(self) -> None:
        linears = [module for module in self.modules() if isinstance(module, nn.Linear)]
        for linear in linears:
            initialise_linear(linear)
        nn.init.trunc_normal_(self.input.weight, std=self.config.action_dim**-0.5)
        nn.init.trunc_normal_(self.position, std=0.5)
        # Closed gates and a zero output: the first prediction is exactly zero.
        closed = [module.modulation for module in self.modules() if isinstance(module, ActionBlock)]
        for linear in (*closed, self.final_modulation, self.output):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def memory_kv(self, memory: Tensor) -> MemoryKV:
        """Project the memory [b, m, d] for every layer, once per control step."""
        return [block.memory_kv(memory) for block in self.blocks]  # type: ignore[operator]

    def modulations(self, timesteps: Tensor) -> Modulations:
        """Modulation vectors of every layer and of the output; they depend on the timesteps [b, r] alone."""
        features = sinusoid(timesteps, TIME_FREQUENCIES, cosine_first=True).to(self.position.dtype)
        time = F.silu(self.time_embed(features))[:, :, None]
        vectors: Modulations = [block.modulation(time) for block in self.blocks]  # type: ignore[operator]
        return [*vectors, self.final_modulation(time)]

    def forward(
        self, noisy: Tensor, timesteps: Tensor, kv: MemoryKV, memory_mask: Tensor | None = None
    ) -> Tensor:
        """Predict the noise.

        Args:
            noisy: fp32 [b, r, k, action_dim].
            timesteps: Integers [b, r].
            kv: Result of memory_kv.
            memory_mask: bool [b, m], True where the memory token exists; None when all do.

        Returns:
            fp32 [b, r, k, action_dim]; of a head that classifies, logits [b, r, k, action_dim x bins].
        """
        return self.evaluate(noisy, self.modulations(timesteps), kv, memory_mask)

    def evaluate(
        self, noisy: Tensor, vectors: Modulations, kv: MemoryKV, memory_mask: Tensor | None = None
    ) -> Tensor:
        """forward() with the modulation vectors already computed; they may broadcast over b and r."""
        x = self.input(noisy.to(self.position.dtype))
        x = x + self.position.to(x.dtype)
        visible = None if memory_mask is None else memory_mask[:, None, None]
        self_mask = self._self_mask(x.device)
        for block, modulation, block_kv in zip(self.blocks, vectors[:-1], kv, strict=True):
            x = block(x, modulation, block_kv, self_mask, visible)
        shift, scale = vectors[-1].chunk(2, dim=-1)
        x = torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=NORM_EPS), scale + 1)
        out: Tensor = self.output(x)
        return out.float()

    def _self_mask(self, device: torch.device) -> Tensor | None:
        if self.config.attention == "bidirectional":
            return None
        chunk = torch.arange(self.config.num_actions, device=device) // self.config.horizon
        return chunk[:, None] >= chunk[None, :]
