# SPDX-License-Identifier: Apache-2.0
"""One policy for many episodes at once: chunks of all that ask are computed in one batch of fixed size.

Every batch has the same number of rows and packs, unused ones empty, so a row's numbers depend neither on its
neighbours nor on how many there are. Rows are independent episodes; the window mask is causal, so empty packs after a
row's newest one change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from physgen_control.types import ActionChunk, Episode, Float32Array
from physgen_policy.checkpoint import Checkpoint, load_checkpoint
from physgen_policy.contract.observation import PolicyObservation
from physgen_policy.runtime.episode_state import EpisodeState
from physgen_policy.runtime.loading import choose_device
from physgen_policy.runtime.pack_window import Pack, WindowPolicy
from physgen_policy.runtime.policy_config import PolicyConfig, PolicyError
from physgen_policy.runtime.prompts import PromptStates
from physgen_policy.sampling.actions import sample_actions


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """What one client wants a chunk for."""

    observation: PolicyObservation
    now_ns: int
    """ROS time; ends up in the chunk's inference stamps only."""


@dataclass(slots=True)
class _Row:
    """One client: the memory of its episode and the packs of its window. The batch computes."""

    state: EpisodeState
    packs: list[Pack] = field(default_factory=list)


class BatchedPolicy:
    """Runs one checkpoint for many clients, each with an episode of its own. Not thread-safe.

    Args:
        checkpoint: Networks and statistics.
        config: How they are run.
        batch: Rows of every batch, at least 1; more clients than that take several batches.

    Raises:
        PolicyError: The window policy needs a cache.
    """

    def __init__(self, checkpoint: Checkpoint, config: PolicyConfig, batch: int) -> None:
        if config.window_policy is WindowPolicy.ROPE_T:
            raise PolicyError(
                "window_policy rope_t lives in the cache, which a batch does not have; use recompute"
            )
        if config.num_threads:
            torch.set_num_threads(config.num_threads)
        self._checkpoint = checkpoint
        self._config = config
        self._batch = batch
        self._rows: dict[int, _Row] = {}
        self._device = next(checkpoint.model.parameters()).device
        self._prompts = PromptStates(checkpoint, unload=False, autocast=self._autocast)
        self._sampler = config.action_sampler()

    @classmethod
    def load(cls, folder: Path, batch: int) -> BatchedPolicy:
        """Load a checkpoint folder with the default configuration, on the GPU where there is one.

        Raises:
            CheckpointError: It cannot be loaded.
        """
        return cls(load_checkpoint(folder, choose_device("auto")), PolicyConfig(), batch)

    def reset(self, client: int, episode: Episode, run: int = 0) -> None:
        """Start a client's episode; nothing of its earlier ones remains.

        Args:
            client: Its number.
            episode: The episode.
            run: Chooses the random numbers; see PhysGenPolicy.seed.
        """
        if client not in self._rows:
            self._rows[client] = _Row(self._config.episode_state(self._checkpoint))
        row = self._rows[client]
        row.state.seed(run)
        row.state.begin(episode)
        row.packs = []

    def check(self, client: int, item: BatchItem) -> None:
        """Check that `act` could begin with a client's request; changes nothing.

        Raises:
            PolicyError: The client has not announced its episode.
        """
        self._row(client, item).state.image(item.observation)

    def act(self, items: Mapping[int, BatchItem]) -> dict[int, ActionChunk]:
        """Return a chunk for every client, as PhysGenPolicy.act would.

        Raises:
            PolicyError: A client has not announced its episode, or the networks returned something that is no number.
        """
        clients = list(items)
        chunks: dict[int, ActionChunk] = {}
        for start in range(0, len(clients), self._batch):
            part = clients[start : start + self._batch]
            chunks.update(
                zip(part, self._act([(self._row(c, items[c]), items[c]) for c in part]), strict=True)
            )
        return chunks

    def _row(self, client: int, item: BatchItem) -> _Row:
        row = self._rows.get(client)
        if row is None or not row.state.runs(item.observation.episode_id):
            raise PolicyError(
                f"an observation of episode {item.observation.episode_id} came from client {client}, which did not "
                "announce that episode"
            )
        return row

    @torch.inference_mode()
    def _act(self, part: list[tuple[_Row, BatchItem]]) -> list[ActionChunk]:
        model, codec, device = self._checkpoint.model, self._checkpoint.codec, self._device
        rows = [row for row, _ in part]
        images = np.stack([row.state.image(item.observation) for row, item in part])
        empty = self._batch - len(part)
        images = np.concatenate([images, np.zeros((empty, *images.shape[1:]), np.uint8)])
        with self._autocast():
            latents = codec.encode(torch.from_numpy(images).to(device)).float()
            windows = [
                self._extended(row, latents[i : i + 1], item.observation)
                for i, (row, item) in enumerate(part)
            ]
            newest = torch.tensor([len(window) - 1 for window in windows] + [0] * empty, device=device)
            index = torch.arange(self._batch, device=device)
            output = model.full(self._text_tokens(rows), *self._stack(windows, latents))
            action_hidden = output.action_hidden[index, newest]
            # A window that begins anew has no plan.
            plans = [
                None if windows[i][-1].past is None else row.state.plan(item.observation.executed)
                for i, (row, item) in enumerate(part)
            ]
            plan, plan_mask = self._plans(plans, device)
            sampled = sample_actions(
                model,
                action_hidden,
                plan,
                self._sampler,
                [row.state.generator() for row in rows] + [torch.Generator(device).manual_seed(0)] * empty,
                frame_hidden=output.frame_hidden[index, newest],
                plan_mask=plan_mask,
            )
        numbers: Float32Array = sampled.float().cpu().numpy()[: len(part)]
        if not np.isfinite(numbers).all():
            raise PolicyError(
                f"checkpoint {self._checkpoint.name} predicted actions that are not finite numbers; its weights or the "
                "camera images are damaged"
            )
        for row, window in zip(rows, windows, strict=True):
            row.packs = window
        return [
            row.state.chunk(item.observation, numbers[i], item.now_ns, self._checkpoint.policy_id)
            for i, (row, item) in enumerate(part)
        ]

    def _extended(self, row: _Row, latent: Tensor, observation: PolicyObservation) -> list[Pack]:
        """Return a row's window with a new pack, latent [1, c, h, w]; PackWindow's rule at a full window."""
        past = None if observation.first else row.state.normalized(observation.past_actions)
        packs = [*row.packs, Pack(latent, past)]
        if len(packs) <= self._checkpoint.model.config.context_packs:
            return packs
        if self._config.window_policy is WindowPolicy.RESTART:
            return [Pack(latent, None)]
        return packs[1:]

    def _text_tokens(self, rows: list[_Row]) -> Tensor:
        """Return the tokens [b, l, d] of the instructions."""
        tokens = [self._prompts.tokens(row.state.instruction) for row in rows]
        return torch.cat(tokens + tokens[:1] * (self._batch - len(rows)))

    def _autocast(self) -> torch.autocast:
        half = self._config.dtype == "bfloat16"
        return torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=half, cache_enabled=False)

    def _stack(self, windows: list[list[Pack]], latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return latents [b, p, c, h, w], past actions [b, p, 8, a] and bool [b, p] "begins"; the rest is empty."""
        config = self._checkpoint.model.config
        packs = config.context_packs
        frames = latents.new_zeros(self._batch, packs, *latents.shape[1:])
        past = latents.new_zeros(self._batch, packs, config.action.horizon, config.action.action_dim)
        begins = torch.ones(self._batch, packs, dtype=torch.bool, device=latents.device)
        for row, window in enumerate(windows):
            for column, pack in enumerate(window):
                frames[row, column] = pack.latent[0]
                if pack.past is not None:
                    past[row, column] = pack.past[0]
                    begins[row, column] = False
        return frames, past, begins

    def _plans(self, plans: list[Tensor | None], device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        known = [plan for plan in plans if plan is not None]
        if not known:
            return None, None
        blank = torch.zeros_like(known[0])
        filled = [blank if plan is None else plan for plan in plans]
        filled += [blank] * (self._batch - len(plans))
        mask = [plan is not None for plan in plans] + [False] * (self._batch - len(plans))
        return torch.cat(filled), torch.tensor(mask, device=device)
