# SPDX-License-Identifier: Apache-2.0
"""Trains the transformer and both heads on windows of cached latents: joint loss, EMA, validation, exact resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from physgen_policy.data.normalize import NormStats
from physgen_policy.data.windows import Window, max_packs
from physgen_policy.model.batch import WindowBatch
from physgen_policy.model.config import ModelConfig
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.text_encoder import TextEncoder
from physgen_policy.sampling.solver import SamplerConfig
from physgen_policy.training.batches import ActionBatch, EpisodeTensors, collate, draw_batch, idle_action
from physgen_policy.training.config import PolicyStage
from physgen_policy.training.optim import WeightAverage, learning_rate_at, parameter_groups
from physgen_policy.training.waypoints import WaypointHead

PolicyProgress = Callable[[int, dict[str, float]], None]


class PolicyLoss(nn.Module):
    """Text encoder and PhysGen behind one forward, so that accelerate can wrap them for several processes."""

    def __init__(
        self, model: PhysGen, text_encoder: TextEncoder, obs_loss_weight: float, waypoint_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.text_encoder = text_encoder
        self.obs_loss_weight = obs_loss_weight
        self.waypoint_weight = waypoint_weight
        self.waypoints: WaypointHead | None = None
        if waypoint_weight > 0.0:
            config = model.config
            self.waypoints = WaypointHead(config.nova.width, config.action.horizon, config.action.num_chunks)

    def forward(
        self, batch: ActionBatch, generator: torch.Generator, obs_loss_frames: int = 1
    ) -> dict[str, Tensor]:
        """Losses of one batch; "total" is what is minimised."""
        windows = window_batch(batch, self.text_encoder)
        losses = self.model.loss(windows, generator, obs_loss_frames=obs_loss_frames)
        total = losses.action + self.obs_loss_weight * losses.observation
        report = {"action": losses.action, "observation": losses.observation}
        if self.waypoints is not None:
            packs = losses.action_hidden.shape[1]
            mask = windows.target_mask[:, :packs] & windows.pack_mask[:, :packs, None]
            error = self.waypoints.loss(losses.action_hidden, windows.target_actions[:, :packs], mask)
            total = total + self.waypoint_weight * error
            report["waypoint"] = error
        return {"total": total, **report}


def window_batch(batch: ActionBatch, text_encoder: TextEncoder) -> WindowBatch:
    """Add the text states; every distinct instruction is encoded once."""
    unique = sorted(set(batch.instructions))
    states, lengths = text_encoder.encode(unique)
    index = torch.tensor([unique.index(text) for text in batch.instructions], device=states.device)
    return WindowBatch(
        text_states=states[index],
        text_lengths=lengths[index],
        latents=batch.latents,
        past_actions=batch.past_actions,
        boa=batch.boa,
        target_actions=batch.target_actions,
        target_mask=batch.target_mask,
        pack_mask=batch.pack_mask,
        frame_mask=batch.frame_mask,
        plan_actions=batch.plan_actions,
        plan_mask=batch.plan_mask,
    )


@dataclass(frozen=True, slots=True)
class PolicyData:
    """Episodes in memory, split into training and validation."""

    train: list[EpisodeTensors]
    validation: list[EpisodeTensors]
    norm: NormStats


class PolicyTrainer:
    """Owns the optimiser, the average and the random states of one run; `state` is the number of finished steps."""

    def __init__(
        self,
        model: PhysGen,
        text_encoder: TextEncoder,
        config: ModelConfig,
        data: PolicyData,
        stage: PolicyStage,
        *,
        seed: int,
        accelerator: Accelerator,
    ) -> None:
        self.config, self.data, self.stage, self.seed = config, data, stage, seed
        self.accelerator = accelerator
        self.module = PolicyLoss(model, text_encoder, stage.obs_loss_weight, stage.waypoint_weight)
        self.optimizer = torch.optim.AdamW(
            parameter_groups([self.module], stage.weight_decay), lr=stage.learning_rate, betas=(0.9, 0.95)
        )
        self.average = WeightAverage({"model": model, "text_encoder": text_encoder}, stage.ema_decay)
        self.wrapped, self.optimizer = accelerator.prepare(self.module, self.optimizer)
        self.idle = idle_action(data.norm)
        self.step = 0

    def train_step(self) -> dict[str, float]:
        """One optimiser step; the batch depends only on (seed, step, process), so a resumed run repeats it exactly."""
        stage = self.stage
        rank = self.accelerator.process_index
        rng = np.random.default_rng((self.seed, self.step, rank))
        generator = torch.Generator().manual_seed(hash((self.seed, self.step, rank)) & 0x7FFFFFFF)
        batch = self._draw(rng, generator)
        lr = learning_rate_at(
            self.step,
            steps=stage.steps,
            warmup_steps=stage.warmup_steps,
            peak=stage.learning_rate,
            floor=stage.min_learning_rate,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.module.train()
        with self.accelerator.autocast():
            losses = self.wrapped(batch, generator, int(self.step % stage.obs_loss_every == 0))
        self.optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(losses["total"])
        norm = self.accelerator.clip_grad_norm_(self.module.parameters(), stage.clip_norm)
        self.optimizer.step()
        self.average.update()
        self.step += 1
        report = {key: float(value.detach()) for key, value in losses.items()}
        if not np.isfinite(report["total"]):
            raise FloatingPointError(
                f"the loss became {report['total']} at step {self.step}; lower the learning rate"
            )
        return report | {"lr": lr, "grad_norm": float(norm)}

    def _draw(self, rng: np.random.Generator, generator: torch.Generator) -> ActionBatch:
        action = self.config.action
        batch = draw_batch(
            self.data.train,
            rng,
            batch_size=max(1, self.stage.batch_size // self.accelerator.num_processes),
            context_packs=self.config.context_packs,
            horizon=action.horizon,
            num_chunks=action.num_chunks,
            idle=self.idle,
            aligned_fraction=self.stage.aligned_fraction,
        )
        if self.stage.latent_noise > 0:
            noise = torch.randn(batch.latents.shape, generator=generator)
            batch.latents.add_(noise, alpha=self.stage.latent_noise)
        return batch

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within the block the networks hold the averaged weights."""
        self.average.swap()
        self.module.eval()
        try:
            yield
        finally:
            self.average.swap()

    @torch.no_grad()
    def validate(self, denoise_steps: int = 10) -> dict[str, float]:
        """Action error of sampled chunks on validation episodes (averaged weights), the way a rollout samples.

        Returns mean absolute errors of the executed chunk: translation [m], rotation [rad], gripper sign mismatch
        rate, and the median translation error [m].
        """
        if not self.data.validation:
            return {}
        errors: list[NDArray[np.float32]] = []
        model, text_encoder = self.module.model, self.module.text_encoder
        with self.averaged_weights():
            for episode in self.data.validation:
                errors.append(
                    _episode_error(model, text_encoder, episode, self.config, self.data.norm, denoise_steps)
                )
        error = np.concatenate(errors)
        translation = np.linalg.norm(error[:, :3], axis=1)
        return {
            "translation_error": float(translation.mean()),
            "translation_error_median": float(np.median(translation)),
            "rotation_error": float(np.linalg.norm(error[:, 3:6], axis=1).mean()),
            "gripper_mismatch": float((np.abs(error[:, 6]) > 1.0).mean()),
        }

    def save_state(self, folder: Path) -> None:
        """Write everything a resume needs: weights, average, optimiser moments, step. Safetensors only."""
        tensors = {
            f"module.{k}": v.detach().contiguous().clone() for k, v in self.module.state_dict().items()
        }
        tensors |= {f"average.{k}": v.contiguous() for k, v in self.average.shadow.items()}
        state = self.optimizer.state_dict()["state"]
        for index, moments in state.items():
            for key, value in moments.items():
                tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value).contiguous()
        tensors["step"] = torch.tensor([self.step, self.average.step])
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / "state.safetensors.partial"
        save_file(tensors, partial)
        partial.replace(folder / "state.safetensors")

    def load_state(self, folder: Path) -> None:
        """Continue from save_state's file."""
        tensors = load_file(folder / "state.safetensors")

        def part(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.module.load_state_dict(part("module."))
        self.average.shadow = part("average.")
        moments: dict[int, dict[str, Any]] = {}
        for key, value in part("optimizer.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.step, self.average.step = (int(v) for v in tensors["step"])


def _episode_error(
    model: PhysGen,
    text_encoder: TextEncoder,
    episode: EpisodeTensors,
    config: ModelConfig,
    norm: NormStats,
    denoise_steps: int,
) -> NDArray[np.float32]:
    """Signed errors [n, action_dim] (SI units) of the executed chunk of every pack of a rollout-aligned window."""
    horizon, chunks = config.action.horizon, config.action.num_chunks
    window = Window(0, max_packs(len(episode.actions), 0, config.context_packs, horizon), True)
    batch = window_batch(
        collate([(episode, window)], horizon=horizon, num_chunks=chunks, idle=idle_action(norm)), text_encoder
    )
    text = model.text_tokens(batch.text_states, batch.text_lengths)
    packs = window.num_packs
    hidden = model.full(text, batch.latents[:, :packs], batch.past_actions, batch.boa)
    generator = torch.Generator().manual_seed(0)
    sampled = model.sample_actions(
        hidden.action_hidden.flatten(0, 1),
        None,
        SamplerConfig(kind="ddim", steps=denoise_steps),
        generator,
        frame_hidden=hidden.frame_hidden.flatten(0, 1),
    )
    predicted = norm.denormalize(sampled[:, 0].float().numpy())
    target = norm.denormalize(batch.target_actions[0, :, :horizon].numpy())
    mask = batch.target_mask[0, :, :horizon].numpy()
    return (predicted - target)[mask]
