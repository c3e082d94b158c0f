# SPDX-License-Identifier: Apache-2.0
"""What the policy stage minimises: the terms of the loss on one batch, each with its weight and its count."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from physgen_policy.model.draws import Randomness
from physgen_policy.model.physgen import PhysGen
from physgen_policy.model.window_loss import window_loss
from physgen_policy.training.batches import ActionBatch, window_batch
from physgen_policy.training.config import Objective
from physgen_policy.training.text_states import TextSource
from physgen_policy.training.waypoints import WaypointHead


@dataclass(frozen=True, slots=True)
class Term:
    """One term of the loss."""

    mean: Tensor
    """Over this process's part of the batch."""
    count: Tensor
    """Over how much it is the mean."""
    weight: float
    """In the sum that is minimised."""


class PolicyLoss(nn.Module):
    """Text encoder and PhysGen behind one forward, so that accelerate can wrap them for several processes."""

    def __init__(
        self,
        model: PhysGen,
        text: TextSource,
        obs_loss_weight: float,
        waypoint_weight: float = 0.0,
        objective: Objective = "joint",
        mean_frames: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.text_encoder = text  # registered as a part only where it is a network, that is, trained
        self.obs_loss_weight = obs_loss_weight
        self.waypoint_weight = waypoint_weight
        self.video_only = objective == "video"
        self.mean_frames = mean_frames
        self.waypoints: WaypointHead | None = None
        if waypoint_weight > 0.0 and not self.video_only:
            config = model.config
            self.waypoints = WaypointHead(config.nova.width, config.action.horizon, config.action.num_chunks)

    def forward(self, batch: ActionBatch, random: Randomness, obs_loss_frames: int = 1) -> dict[str, Term]:
        """Return the terms of one batch; what is minimised is the sum of weight x mean."""
        windows = window_batch(batch, self.text_encoder).to(self.model.action_tokenizer.slot.device)
        if self.video_only:
            windows = replace(windows, boa=torch.ones_like(windows.boa))
        losses = window_loss(
            self.model,
            windows,
            random,
            obs_loss_frames=obs_loss_frames,
            actions_known=not self.video_only,
            mean_frames=self.mean_frames,
        )
        terms = {
            "action": Term(losses.action, losses.num_actions, 0.0 if self.video_only else 1.0),
            "observation": Term(losses.observation, losses.num_frames, self.obs_loss_weight),
        }
        if self.waypoints is not None:
            packs = losses.action_hidden.shape[1]
            mask = windows.target_mask[:, :packs] & windows.pack_mask[:, :packs, None]
            error = self.waypoints.loss(losses.action_hidden, windows.target_actions[:, :packs], mask)
            terms["waypoint"] = Term(error, mask.sum(), self.waypoint_weight)
        return terms
