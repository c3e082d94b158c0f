# SPDX-License-Identifier: Apache-2.0
"""PPO of stable-baselines3 on many twins in one process. The only module of this package that imports torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array
from physgen_physworld.residual.environment import Randomization, ResidualEnv, Situation
from physgen_physworld.residual.network import ResidualNetwork

CLIP = 10.0
"""Observations are cut at so many standard deviations, in training and after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """A PPO run; every number is for people to change, none is chosen by looking at test seeds."""

    steps: int = 100_000  # control steps of all twins together
    twins: int = 32
    seed: int = 0
    rollout: int = 64  # control steps per twin between two updates
    batch: int = 512
    epochs: int = 5
    learning_rate: float = 3e-4
    width: int = 64
    start_deviation: float = 0.25  # of the action noise, as a share of the largest residual
    largest_move: float = 0.015  # of the residual [m]
    largest_turn: float = 0.08  # of the residual [rad]

    def __post_init__(self) -> None:
        if self.steps < 1 or self.twins < 1 or self.rollout < 2:
            raise UserError(
                "A training needs at least one step, one twin and two control steps between updates."
            )

    @property
    def scale(self) -> np.ndarray:
        """The largest residual [6] ([m], [rad])."""
        return np.array([self.largest_move] * 3 + [self.largest_turn] * 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The residual and the course of the mean episode reward over the updates."""

    network: ResidualNetwork
    rewards: list[float]
    steps: int


def train_residual(
    situations: Sequence[Situation],
    config: TrainingConfig,
    randomization: Randomization | None = None,
    report: Callable[[int, float], None] | None = None,
) -> TrainingResult:
    """Train a residual that begins as exactly nothing.

    Args:
        situations: one for a residual of one scene; many for one of a task.
        config: length, size and scale of the training.
        randomization: what is drawn anew in every episode; None: nothing.
        report: called after each update with the control steps so far and the mean reward of the newest episodes.
    """
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)

    def make() -> Monitor:
        return Monitor(ResidualEnv(situations, config.scale, randomization))

    twins = VecNormalize(DummyVecEnv([make for _ in range(config.twins)]), clip_obs=CLIP)
    model = PPO(
        "MlpPolicy",
        twins,
        n_steps=config.rollout,
        batch_size=min(config.batch, config.rollout * config.twins),
        n_epochs=config.epochs,
        learning_rate=config.learning_rate,
        seed=config.seed,
        device="cpu",
        policy_kwargs={
            "net_arch": [config.width, config.width],
            "activation_fn": torch.nn.Tanh,
            "log_std_init": float(np.log(config.start_deviation)),
        },
    )
    with torch.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.zero_()
    rewards: list[float] = []

    class Course(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            newest = [episode["r"] for episode in (self.model.ep_info_buffer or [])]
            if newest:
                rewards.append(float(np.mean(newest)))
                if report is not None:
                    report(int(self.num_timesteps), rewards[-1])

    model.learn(total_timesteps=config.steps, callback=Course())
    network = _exported(model, twins, config)
    twins.close()
    return TrainingResult(network=network, rewards=rewards, steps=int(model.num_timesteps))


def _exported(model: Any, twins: Any, config: TrainingConfig) -> ResidualNetwork:
    hidden = model.policy.mlp_extractor.policy_net
    layers = [hidden[0], hidden[2], model.policy.action_net]

    def numbers(tensor: Any) -> Float32Array:
        return np.array(tensor.detach().cpu().numpy(), np.float32)

    return ResidualNetwork(
        weights=tuple(numbers(layer.weight) for layer in layers),
        biases=tuple(numbers(layer.bias) for layer in layers),
        mean=twins.obs_rms.mean.astype(np.float32),
        deviation=np.sqrt(twins.obs_rms.var + twins.epsilon).astype(np.float32),
        scale=config.scale,
    )
