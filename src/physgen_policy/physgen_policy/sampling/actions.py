# SPDX-License-Identifier: Apache-2.0
"""Action chunks from the Action-DiT: by denoising, or at once from a head that classifies (model/action_bins.py).

What stays the same over the denoise steps is computed once.
The modulation vectors depend on the timestep alone, the memory's keys and values on the chunk alone. The whole loop may
be recorded as a CUDA graph, or its network compiled; each of these can be switched off and gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from physgen_policy.model.action_bins import most_likely
from physgen_policy.model.action_head import ActionDiT, MemoryKV, Modulations
from physgen_policy.model.embeddings import RowGenerators, random_normal
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import cosine_schedule, noise_from_velocity
from physgen_policy.sampling.capture import GraphedFunction
from physgen_policy.sampling.solver import SamplerConfig, SolverStep, solve

Capture = Literal["off", "graph", "compile"]


def never_cancelled() -> None:
    """The check of a caller that cannot be interrupted."""


class ActionDenoiser:
    """One head under one sampler. The head's weights must not change while it is in use.

    Args:
        head: The head.
        sampler: How it is run.
        reuse: Compute modulation vectors once for all chunks, and the memory's keys and values once per chunk;
            otherwise with every denoise step.
        capture: "graph" replays the whole loop as one CUDA graph, "compile" compiles one evaluation of the head.
    """

    def __init__(
        self, head: ActionDiT, sampler: SamplerConfig, *, reuse: bool = True, capture: Capture = "off"
    ) -> None:
        self._head = head
        self._sampler = sampler
        self._bins = head.config.bins if head.config.prediction == "bins" else 0
        schedule = cosine_schedule(head.config.train_timesteps)
        self._steps: tuple[SolverStep, ...] = () if self._bins else sampler.plan(schedule)
        self._samples = 1 if self._bins else sampler.samples
        self._alphas = {step.timestep: step.alpha for step in self._steps}
        self._reuse = reuse
        self._vectors: dict[int, Modulations] = {}
        self._evaluate: Callable[..., Tensor] = head.evaluate
        if capture == "compile":
            self._evaluate = torch.compile(head.evaluate, dynamic=False)
        self._graph = GraphedFunction(self._captured) if capture == "graph" else None

    @property
    def evaluations(self) -> int:
        """How often the head runs per chunk."""
        return len(self._steps) or 1

    def sample(
        self,
        memory: Tensor,
        generator: RowGenerators,
        memory_mask: Tensor | None = None,
        check: Callable[[], None] = never_cancelled,
    ) -> Tensor:
        """Denoise the next chunks.

        Args:
            memory: What the head's cross-attention reads [b, m, d].
            generator: Random numbers of the whole batch, or one per row.
            memory_mask: bool [b, m], None when all exist.
            check: Called before every evaluation of the head (before the only launch of a graph); may raise.

        Returns:
            fp32 [b, chunks, 8, a] in normalised units, within the sampler's clip.
        """
        config, device = self._head.config, memory.device
        shape = (memory.shape[0], self._samples, config.num_actions, config.action_dim)
        start = random_normal(shape, generator, device)
        fresh = None
        if any(step.fresh for step in self._steps):
            fresh = torch.stack([random_normal(shape, generator, device) for _ in self._steps])
        if self._reuse and not self._vectors:
            timesteps = [step.timestep for step in self._steps] or [0]
            self._vectors = {timestep: self._modulations(timestep, device) for timestep in timesteps}
        if self._graph is not None:
            check()
            given = [tensor for tensor in (start, memory, fresh, memory_mask) if tensor is not None]
            x = self._graph(*given)
        else:
            x = self._denoise(start, memory, fresh, memory_mask, check)
        return x.mean(1).unflatten(1, (config.num_chunks, config.horizon))

    def _captured(self, start: Tensor, memory: Tensor, *rest: Tensor) -> Tensor:
        # Fresh noise is float, a mask bool: that tells the optional inputs of a graph apart.
        fresh = next((tensor for tensor in rest if tensor.dtype != torch.bool), None)
        mask = next((tensor for tensor in rest if tensor.dtype == torch.bool), None)
        return self._denoise(start, memory, fresh, mask, never_cancelled)

    def _denoise(
        self,
        start: Tensor,
        memory: Tensor,
        fresh: Tensor | None,
        mask: Tensor | None,
        check: Callable[[], None],
    ) -> Tensor:
        kv: MemoryKV | None = self._head.memory_kv(memory) if self._reuse else None

        def evaluate(x: Tensor, timestep: int) -> Tensor:
            check()
            vectors = self._vectors[timestep] if self._reuse else self._modulations(timestep, x.device)
            given = self._head.memory_kv(memory) if kv is None else kv
            return self._evaluate(x, vectors, given, mask)

        def predict(x: Tensor, timestep: int) -> Tensor:
            out = evaluate(x, timestep)
            if self._head.config.prediction == "v":
                return noise_from_velocity(x, out, self._alphas[timestep])
            return out

        if self._bins:
            return most_likely(evaluate(torch.zeros_like(start), 0), self._bins)
        clip = self._sampler.clip
        x = solve(
            predict,
            start,
            self._steps,
            step_noise=None if fresh is None else fresh.__getitem__,
            clip=clip,
        )
        return x if clip is None else x.clamp(-clip, clip)

    def _modulations(self, timestep: int, device: torch.device) -> Modulations:
        return self._head.modulations(torch.full((1, 1), timestep, device=device))


def sample_actions(
    model: PhysGen,
    action_hidden: Tensor,
    plan: Tensor | None,
    sampler: SamplerConfig,
    generator: RowGenerators,
    frame_hidden: Tensor | None = None,
    plan_mask: Tensor | None = None,
) -> Tensor:
    """Denoise the next chunks.

    Args:
        model: The policy network.
        action_hidden: Action slots of the newest pack [b, 8, d].
        plan: The unexecuted lookahead of the previous step, normalised [b, 16, a]; None at the first step.
        sampler: How the head is run.
        generator: Random numbers of the whole batch, or one per row.
        frame_hidden: Frame slots of the newest pack [b, n, d]; needed when the configuration says memory_frames.
        plan_mask: bool [b], rows that have a plan.

    Returns:
        fp32 [b, chunks, 8, a] in normalised units, within [-1.2, 1.2].
    """
    plan = plan if model.config.action.plan_conditioning else None
    memory, memory_mask = model.action_memory(action_hidden, frame_hidden, plan, plan_mask)
    return ActionDenoiser(model.action_head, sampler).sample(memory, generator, memory_mask)
