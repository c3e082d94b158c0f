# SPDX-License-Identifier: Apache-2.0
"""Solvers that turn noise into samples: a plan of update coefficients, and one loop that follows it. State is fp32.

A plan holds plain numbers, so the loop reads no tensor back and can be compiled or captured as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from physgen_policy.model.schedule import NoiseSchedule

NoiseFn = Callable[[Tensor, int], Tensor]  # (x, timestep) -> predicted noise, same shape as x
StepNoise = Callable[[int], Tensor]  # index of the step -> standard normal like x
SolverKind = Literal["ddim", "ddpm", "dpm"]
SOLVERS: tuple[SolverKind, ...] = get_args(SolverKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerConfig:
    """How actions are denoised."""

    kind: SolverKind = "ddim"
    steps: int = 10
    """Denoise steps."""
    clip: float | None = 1.2
    """Bound of the predicted clean sample in normalised units; None leaves it free."""
    samples: int = 1
    """So many chunks are denoised from different noise and their mean is taken. It estimates the expected action, which
    a demonstrator with one way of doing things means; where demonstrations differ in kind, take 1."""

    def __post_init__(self) -> None:
        if self.kind not in SOLVERS:
            known = ", ".join(f'"{kind}"' for kind in SOLVERS)
            raise ValueError(f"the sampler kind must be one of {known}, got {self.kind!r}")
        if self.steps < 1:
            raise ValueError(f"the sampler needs at least 1 step, got {self.steps}")
        if self.samples < 1:
            raise ValueError(f"the sampler needs at least 1 sample, got {self.samples}")

    def plan(self, schedule: NoiseSchedule) -> tuple[SolverStep, ...]:
        """Return the updates of this sampler on a schedule."""
        return plan_steps(self.kind, schedule.sampling_timesteps(self.steps), schedule)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverStep:
    """One update: x <- clean c + previous p + sample x + noise e + fresh n, with the coefficients named here.

    c is the clean sample that the predicted noise e implies at this level, p the c of the step before, n new standard
    normal noise.
    """

    timestep: int
    """What the network is asked at."""
    alpha: float
    """Cumulative alpha of that level."""
    clean: float
    previous: float = 0.0
    sample: float = 0.0
    noise: float = 0.0
    fresh: float = 0.0


def plan_steps(kind: SolverKind, timesteps: Sequence[int], schedule: NoiseSchedule) -> tuple[SolverStep, ...]:
    """Return the updates of a solver over descending timesteps."""
    match kind:
        case "ddim":
            return _ddim_steps(timesteps, schedule)
        case "ddpm":
            return _ddpm_steps(timesteps, schedule)
        case "dpm":
            return _dpm_steps(timesteps, schedule)


def solve(
    eps_fn: NoiseFn,
    x: Tensor,
    steps: Sequence[SolverStep],
    *,
    step_noise: StepNoise | None = None,
    clip: float | None = None,
    observe: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Follow a plan from the noise x; return the sample.

    Args:
        eps_fn: Predicts the noise of a sample.
        x: Noise, of any shape.
        steps: The plan.
        step_noise: Fresh noise of step i; asked for every step of a plan that uses it.
        clip: Bound of the clean sample.
        observe: Called with (steps done, sample) after each step.
    """
    x = x.float()
    before: Tensor | None = None
    for index, step in enumerate(steps):
        noise = eps_fn(x, step.timestep).float()
        clean = (x - (1 - step.alpha) ** 0.5 * noise) / step.alpha**0.5
        if clip is not None:
            clean = clean.clamp(-clip, clip)
        total = step.clean * clean
        if step.previous and before is not None:
            total = total + step.previous * before
        if step.sample:
            total = total + step.sample * x
        if step.noise:
            total = total + step.noise * noise
        if step.fresh and step_noise is not None:
            total = total + step.fresh * step_noise(index)
        x, before = total, clean
        if observe is not None:
            observe(index + 1, x)
    return x


def ddim(
    eps_fn: NoiseFn,
    x: Tensor,
    timesteps: Sequence[int],
    schedule: NoiseSchedule,
    *,
    clip: float | None = None,
) -> Tensor:
    """Deterministic DDIM (eta 0); the last step lands on the noise level of timestep 0."""
    return solve(eps_fn, x, _ddim_steps(timesteps, schedule), clip=clip)


def ddpm(
    eps_fn: NoiseFn,
    x: Tensor,
    timesteps: Sequence[int],
    schedule: NoiseSchedule,
    step_noise: StepNoise,
    *,
    clip: float | None = None,
    observe: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """DDPM ancestral sampling with the small fixed variance; arguments as in solve."""
    steps = _ddpm_steps(timesteps, schedule)
    return solve(eps_fn, x, steps, step_noise=step_noise, clip=clip, observe=observe)


def _ddim_steps(timesteps: Sequence[int], schedule: NoiseSchedule) -> tuple[SolverStep, ...]:
    alphas, stride = schedule.alphas_cumprod, schedule.num_steps // len(timesteps)
    steps = []
    for timestep in timesteps:
        before = float(alphas[max(timestep - stride, 0)])
        steps.append(
            SolverStep(
                timestep=timestep, alpha=float(alphas[timestep]), clean=before**0.5, noise=(1 - before) ** 0.5
            )
        )
    return tuple(steps)


def _ddpm_steps(timesteps: Sequence[int], schedule: NoiseSchedule) -> tuple[SolverStep, ...]:
    alphas, stride = schedule.alphas_cumprod, schedule.num_steps // len(timesteps)
    one, steps = torch.ones(()), []
    for timestep in timesteps:
        alpha = alphas[timestep]
        before = alphas[timestep - stride] if timestep - stride >= 0 else one
        step_alpha = alpha / before
        # The floor matters only for the very last step, where the posterior variance is zero.
        variance = float(((1 - before) / (1 - alpha) * (1 - step_alpha)).clamp(min=1e-20))
        steps.append(
            SolverStep(
                timestep=timestep,
                alpha=float(alpha),
                clean=float(before.sqrt() * (1 - step_alpha) / (1 - alpha)),
                sample=float(step_alpha.sqrt() * (1 - before) / (1 - alpha)),
                fresh=variance**0.5,
            )
        )
    return tuple(steps)


def _dpm_steps(timesteps: Sequence[int], schedule: NoiseSchedule) -> tuple[SolverStep, ...]:
    """Return the plan of DPM-Solver++(2M), multistep on the clean sample, first and last step of order 1.

    Lu et al. 2022, algorithm 2. The last step lands on zero noise, i.e. it returns the clean sample.
    """
    alphas = [float(schedule.alphas_cumprod[timestep]) for timestep in timesteps]
    logs = [0.5 * math.log(alpha / (1 - alpha)) for alpha in alphas]  # half log signal-to-noise ratios
    steps = []
    for index, (timestep, alpha) in enumerate(zip(timesteps, alphas, strict=True)):
        if index + 1 == len(timesteps):
            steps.append(SolverStep(timestep=timestep, alpha=alpha, clean=1.0))
            break
        after, width = alphas[index + 1], logs[index + 1] - logs[index]
        gain = -(after**0.5) * math.expm1(-width)
        ratio = 0.0 if index == 0 else width / (logs[index] - logs[index - 1]) / 2
        steps.append(
            SolverStep(
                timestep=timestep,
                alpha=alpha,
                clean=gain * (1 + ratio),
                previous=-gain * ratio,
                sample=((1 - after) / (1 - alpha)) ** 0.5,
            )
        )
    return tuple(steps)
