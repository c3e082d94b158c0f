# SPDX-License-Identifier: Apache-2.0
"""Trains the transformer and both heads on windows of cached latents: joint loss, EMA, validation, exact resume."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from physgen_control.errors import UserError
from physgen_policy.contract.normalize import NormStats
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.draws import WindowRandom
from physgen_policy.model.physgen import PhysGen
from physgen_policy.training.batches import (
    ActionBatch,
    EpisodeTensors,
    collate,
    draw_windows,
    idle_action,
)
from physgen_policy.training.config import PolicyStage
from physgen_policy.training.flops import StepShape, Trained, step_flops
from physgen_policy.training.frame_validation import validate_frames
from physgen_policy.training.optim import WeightAverage, build_optimizers, learning_rate_at
from physgen_policy.training.policy_loss import PolicyLoss, Term
from physgen_policy.training.text_states import TextSource
from physgen_policy.training.trainer_state import load_trainer_state, save_trainer_state
from physgen_policy.training.validation import validate

MOST_LEFT_OUT = 8
"""So many steps in a row without a finite gradient are no accident of low precision."""


class DivergedError(UserError):
    """Training has left the range of numbers; the message says where."""


@dataclass(frozen=True, slots=True)
class PolicyData:
    """Episodes in memory."""

    train: list[EpisodeTensors]
    validation: list[EpisodeTensors]
    norm: NormStats
    """Statistics of their actions."""


class PolicyTrainer:
    """Owns the optimiser, the average and the random states of one run; `step` is the number of finished steps.

    Everything trainable must be marked as such before.

    Args:
        model: The policy network.
        text: The text encoder, or its states.
        config: The architecture.
        data: The episodes.
        stage: How they are trained on.
        seed: Of the windows and of what they draw.
        accelerator: The processes.
        autocast_always: Also validate under autocast (frozen layers in bfloat16 need it).

    Raises:
        UserError: A batch cannot be shared evenly by the processes.
    """

    def __init__(
        self,
        model: PhysGen,
        text: TextSource,
        config: ModelConfig,
        data: PolicyData,
        stage: PolicyStage,
        *,
        seed: int,
        accelerator: Accelerator,
        autocast_always: bool = False,
    ) -> None:
        self.config, self.data, self.stage, self.seed = config, data, stage, seed
        self.accelerator, self.autocast_always = accelerator, autocast_always
        for key in ("batch_size", "single_batch_size"):
            if (size := getattr(stage, key)) % accelerator.num_processes:
                raise UserError(
                    f"policy.{key} {size} cannot be shared by {accelerator.num_processes} processes"
                )
        self.module = PolicyLoss(
            model,
            text,
            stage.obs_loss_weight,
            stage.waypoint_weight,
            stage.objective,
            stage.obs_loss_of == "mean",
        )
        optimizers = build_optimizers(
            self.module,
            learning_rate=stage.learning_rate,
            min_learning_rate=stage.min_learning_rate,
            muon_learning_rate=stage.muon_learning_rate,
            weight_decay=stage.weight_decay,
        )
        self.wrapped, *self.optimizers = accelerator.prepare(self.module, *optimizers)
        trained: dict[str, nn.Module] = {"model": model}
        if isinstance(text, nn.Module):
            trained["text_encoder"] = text
        self.average = WeightAverage(trained, stage.ema_decay)
        self.idle = idle_action(data.norm)
        self.trained = Trained.of(self.module)
        self.step = 0
        self._left_out = 0  # steps in a row

    def train_step(self) -> dict[str, float]:
        """Take one optimiser step.

        A step whose loss or gradient is not finite changes nothing and is reported with `left_out` = 1.

        What window i of the batch is, and what it draws, depends on (seed, step, i) alone: a resumed run repeats it
        exactly, and several processes that share a batch compute what one would.

        Returns:
            The losses and windows of the whole batch, lr, grad_norm, this process's model FLOPs.
        """
        stage = self.stage
        single = self._is_single()
        windows = stage.single_batch_size if single else stage.batch_size
        batch, random = self._draw(windows, 1 if single else self.config.context_packs)
        every = 1 if self.module.video_only else stage.obs_loss_every
        taken = stage.obs_loss_weight > 0 and self.step % every == 0 and not single
        frames = stage.obs_loss_frames if taken else 0
        for group in self._groups():
            group["lr"] = learning_rate_at(
                self.step,
                steps=stage.steps,
                warmup_steps=stage.warmup_steps,
                peak=group["peak_lr"],
                floor=group["floor_lr"],
            )
        lr = next(self._groups())["lr"]
        self.module.train()
        with self.accelerator.autocast():
            terms = self.wrapped(batch, random, frames)
        total, report = self._combine(terms)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(total)
        norm = float(self.accelerator.clip_grad_norm_(self.module.parameters(), stage.clip_norm))
        # Both are of the whole batch, so that all processes leave a step out together.
        finite = bool(np.isfinite(norm) and np.isfinite(report["total"]))
        if finite:
            for optimizer in self.optimizers:
                optimizer.step()
            self.average.update()
        self.step += 1
        self._check_left_out(finite, report["total"], norm)
        shape = StepShape.of(batch, frames, self.config)
        if self.module.video_only:
            shape = replace(shape, sequences=0)  # no action is denoised
        work = step_flops(self.config, shape, self.trained)
        counts = {"windows": float(windows), "flops": sum(work.values())}
        return report | {"lr": lr, "grad_norm": norm, "left_out": float(not finite)} | counts

    def _check_left_out(self, finite: bool, loss: float, norm: float) -> None:
        """Count steps without a finite gradient; a single one may be left out.

        Raises:
            DivergedError: MOST_LEFT_OUT came in a row.
        """
        self._left_out = 0 if finite else self._left_out + 1
        if self._left_out == MOST_LEFT_OUT:
            raise DivergedError(
                f"the last {MOST_LEFT_OUT} steps before step {self.step} had a loss of {loss} and a gradient of length "
                f"{norm}, and were left out; go on from the last saved state with --resume and a lower learning_rate"
            )

    def _groups(self) -> Iterator[dict[str, Any]]:
        for optimizer in self.optimizers:
            yield from optimizer.param_groups

    def _combine(self, terms: dict[str, Term]) -> tuple[Tensor, dict[str, float]]:
        """Return what this process minimises, and the losses of the whole batch.

        Processes average their gradients, but a mean over one part of the batch weighs too much where that part holds
        few valid steps. Each mean is therefore scaled to its share of the whole batch.
        """
        processes = self.accelerator.num_processes
        if processes == 1:
            total = sum((term.weight * term.mean for term in terms.values()), start=torch.zeros(()))
            return total, {"total": float(total.detach())} | {
                k: float(t.mean.detach()) for k, t in terms.items()
            }
        counts = torch.stack([term.count.float() for term in terms.values()])
        whole = self.accelerator.reduce(counts, reduction="sum").clamp(min=1.0)
        shares = {name: term.mean * (counts[i] / whole[i]) for i, (name, term) in enumerate(terms.items())}
        means = self.accelerator.reduce(torch.stack([share.detach() for share in shares.values()]), "sum")
        report = {name: float(mean) for name, mean in zip(terms, means, strict=True)}
        report = {"total": sum(terms[name].weight * mean for name, mean in report.items())} | report
        parts = [processes * terms[name].weight * share for name, share in shares.items()]
        return torch.stack(parts).sum(), report

    def _is_single(self) -> bool:
        """Return whether this step trains on windows of one pack; every process and a resumed run say the same."""
        if not self.stage.single_batch_size:
            return False
        draw = np.random.default_rng((self.seed, self.step)).random()
        return bool(draw < self.stage.single_fraction)

    def _draw(self, size: int, packs: int) -> tuple[ActionBatch, WindowRandom]:
        """Return this process's part of a batch of `size` windows of at most `packs` packs, and its random numbers."""
        stage, action = self.stage, self.config.action
        share = size // self.accelerator.num_processes
        first = self.accelerator.process_index * share
        rngs = [np.random.default_rng((self.seed, self.step, i)) for i in range(first, first + share)]
        picked = draw_windows(
            self.data.train,
            rngs,
            context_packs=packs,
            horizon=action.horizon,
            aligned_fraction=stage.aligned_fraction,
        )
        random = WindowRandom(
            [_generator(rng) for rng in rngs],
            _generator(np.random.default_rng((self.seed, self.step, size))),
        )
        batch = collate(picked, horizon=action.horizon, num_chunks=action.num_chunks, idle=self.idle)
        if stage.latent_noise > 0:
            # Only what is seen: frames that are to be predicted may be the same memory.
            batch = replace(batch, latents=batch.latents.clone())
            for latents, (_, window), generator in zip(batch.latents, picked, random.windows, strict=True):
                frames = latents[: window.num_packs + 1]
                frames.add_(torch.randn(frames.shape, generator=generator), alpha=stage.latent_noise)
        return batch, random

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Let the networks hold the averaged weights within the block."""
        self.average.swap()
        self.module.eval()
        try:
            yield
        finally:
            self.average.swap()

    @contextmanager
    def evaluation_autocast(self) -> Iterator[None]:
        """Turn autocast on where the networks cannot be evaluated without it."""
        if self.autocast_always:
            with self.accelerator.autocast():
                yield
        else:
            yield

    def validate(self) -> dict[str, float]:
        """Return the errors of the averaged weights; empty without validation episodes.

        They are those of training.validation.validate, or of validate_frames where only frames are learned.
        """
        if not self.data.validation:
            return {}
        check = validate_frames if self.module.video_only else validate
        with self.averaged_weights(), self.evaluation_autocast():
            return check(
                self.module.model, self.module.text_encoder, self.data.validation, self.config, self.data.norm
            )

    def save_state(self, folder: Path) -> None:
        """Write everything a resume needs, see trainer_state.py."""
        save_trainer_state(folder, self.module, self.average, self.optimizers, self.step)

    def load_state(self, folder: Path) -> None:
        """Continue from save_state's file.

        Raises:
            UserError: It is damaged, or of a run that trained other parts.
        """
        self.step = load_trainer_state(folder, self.module, self.average, self.optimizers)


def _generator(rng: np.random.Generator) -> torch.Generator:
    """Return torch's generator, seeded by the next number of numpy's."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))
