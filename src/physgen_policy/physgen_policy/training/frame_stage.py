# SPDX-License-Identifier: Apache-2.0
"""Trains the frame side of a policy that stays as it is: what imagines frames, and nothing that acts or sees.

`policy.objective: frames`. The trained tensors are those of `is_frame_side`; actions are the same before and after, bit
for bit, because none of the tensors that make them is touched, in memory or in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from physgen_control.errors import UserError
from physgen_policy.checkpoint.load import IMAGINED_CODEC
from physgen_policy.model.draws import RowDraws
from physgen_policy.model.frame_loss import frame_loss
from physgen_policy.model.frame_mean import mean_frame
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.schedule import cosine_schedule
from physgen_policy.training.config import PolicyStage
from physgen_policy.training.frame_pairs import FramePairs
from physgen_policy.training.optim import WeightAverage, build_optimizers, learning_rate_at
from physgen_policy.training.trainer_state import load_trainer_state, save_trainer_state

FRAME_SIDE = (
    "nova.image_encoder.",
    "nova.image_decoder.",
    "nova.mask_embed.mask_token",
    "nova.video_encoder.mixer.",
    "frame_inputs.",
)
"""Tensors of PhysGen that only frames are made with."""
DRAWS = 4
PAIRS_PER_CALL = 64


def is_frame_side(name: str) -> bool:
    """Return whether a tensor of PhysGen serves frames alone."""
    return name.startswith(FRAME_SIDE)


def freeze_all_but_frames(model: PhysGen) -> None:
    """Leave only the frame side to the optimiser."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_frame_side(name))


class FrameTrainer:
    """Owns the optimisers and the average of one run; `step` is the number of finished steps."""

    def __init__(
        self,
        model: PhysGen,
        train: FramePairs,
        held_out: FramePairs | None,
        stage: PolicyStage,
        *,
        seed: int,
        autocast_dtype: torch.dtype | None,
    ) -> None:
        self.model, self.train, self.held_out, self.stage, self.seed = model, train, held_out, stage, seed
        self._autocast_dtype = autocast_dtype
        self._device = model.action_tokenizer.slot.device
        freeze_all_but_frames(model)
        self.optimizers = build_optimizers(
            model,
            learning_rate=stage.learning_rate,
            min_learning_rate=stage.min_learning_rate,
            muon_learning_rate=stage.muon_learning_rate,
            weight_decay=stage.weight_decay,
        )
        self.average = WeightAverage({"model": model}, stage.ema_decay)
        self.step = 0

    def train_step(self) -> dict[str, float]:
        """Take one optimiser step on `batch_size` pairs; which ones and what is drawn depend on (seed, step) alone.

        A step whose loss or gradient is not finite changes nothing and is reported with `left_out` = 1.
        """
        stage = self.stage
        rng = np.random.default_rng((self.seed, self.step))
        rows = torch.from_numpy(rng.integers(0, len(self.train), stage.batch_size))
        random = torch.Generator().manual_seed(int(rng.integers(2**63)))
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(
                    self.step,
                    steps=stage.steps,
                    warmup_steps=stage.warmup_steps,
                    peak=group["peak_lr"],
                    floor=group["floor_lr"],
                )
        with self._autocast():
            condition, following = self.train.condition(self.model, rows)
            loss = frame_loss(
                self.model.nova,
                condition,
                following,
                draws=DRAWS,
                schedule=cosine_schedule(),
                rows=RowDraws(random, rows, self._device),
                prediction=self.model.config.frames.prediction,
            )
        loss.backward()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        norm = float(nn.utils.clip_grad_norm_(trained, stage.clip_norm))
        value = float(loss.detach())
        finite = bool(np.isfinite(norm) and np.isfinite(value))
        if finite:
            for optimizer in self.optimizers:
                optimizer.step()
            self.average.update()
        self.step += 1
        lr = self.optimizers[0].param_groups[0]["lr"]
        return {"observation": value, "lr": lr, "grad_norm": norm, "left_out": float(not finite)}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return squared errors of latents on held-out pairs, of the mean frame and of a mere copy.

        By the averaged weights. Empty without held-out pairs; a model without a mean reports its copy alone.
        """
        pairs = self.held_out
        if pairs is None or len(pairs) == 0:
            return {}
        copied = (pairs.following.float() - pairs.present.float()).square().mean()
        found = {"copy_error": float(copied)}
        if self.model.config.frames.prediction != "v":
            return found
        total = 0.0
        with self.averaged_weights(), self._autocast():
            for first in range(0, len(pairs), PAIRS_PER_CALL):
                rows = torch.arange(first, min(first + PAIRS_PER_CALL, len(pairs)))
                condition, following = pairs.condition(self.model, rows)
                error: Tensor = (mean_frame(self.model, condition) - following).square().mean(dim=(1, 2, 3))
                total += float(error.sum())
        return found | {"frame_error": total / len(pairs)}

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Let the frame side hold the averaged weights within the block."""
        self.average.swap()
        try:
            yield
        finally:
            self.average.swap()

    def save_state(self, folder: Path) -> None:
        """Write everything a resume needs, see trainer_state.py."""
        save_trainer_state(folder, self.model, self.average, self.optimizers, self.step)

    def load_state(self, folder: Path) -> None:
        """Continue from save_state's file.

        Raises:
            UserError: It is damaged, or of a run that trained other parts.
        """
        self.step = load_trainer_state(folder, self.model, self.average, self.optimizers)

    def _autocast(self) -> torch.autocast:
        dtype = self._autocast_dtype
        return torch.autocast(self._device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def with_new_frame_side(stored: dict[str, Tensor], model: PhysGen, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return a checkpoint's tensors as they are stored, but for the frame side: that is the model's, in `dtype`.

    The codec in which frames are imagined is left to the caller.

    Raises:
        UserError: The model has other parts than the checkpoint beside the frame side.
    """
    prefix = "model."
    kept = {
        k: v
        for k, v in stored.items()
        if not is_frame_side(k.removeprefix(prefix)) and not k.startswith(IMAGINED_CODEC)
    }
    own = model.state_dict()
    if {prefix + k for k in own if not is_frame_side(k)} != {k for k in kept if k.startswith(prefix)}:
        raise UserError("the checkpoint has other parts than the model whose frames were trained")
    fresh = {prefix + k: v.detach().to(dtype) for k, v in own.items() if is_frame_side(k)}
    return kept | fresh
