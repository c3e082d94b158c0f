# SPDX-License-Identifier: Apache-2.0
"""Step three: the residual, learned in the physical twin of the run's scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from physgen_physworld.pipeline.reconstruct_step import TRACKS, load_situation, tracks_step
from physgen_physworld.pipeline.step_folder import StepFolder, sha256
from physgen_physworld.plan.settle import settled
from physgen_physworld.residual.environment import Randomization, Situation
from physgen_physworld.residual.training import TrainingConfig, train_residual

RESIDUAL = "residual.safetensors"


def train_step(root: Path) -> StepFolder:
    """Return the step's folder."""
    return StepFolder(root=root, name="train")


def train(root: Path, config: TrainingConfig, report: Callable[[int, float], None] | None = None) -> bool:
    """Train the residual of the run's scene; False if that was done already.

    Raises:
        UserError: the reconstruction has not been done.
    """
    step = train_step(root)
    _, goals, scene = load_situation(root)
    randomization = Randomization()
    inputs = {"tracks": sha256(tracks_step(root).file(TRACKS))}
    settings = {"training": asdict(config), "randomization": asdict(randomization)}
    if step.is_done(inputs, settings):
        return False
    step.begin()
    situation = Situation(scene=scene, goals=settled(goals, scene))
    trained = train_residual([situation], config, randomization, report)
    trained.network.save(step.file(RESIDUAL))
    _plot(trained.rewards, config, step.picture_path)
    result = {"steps": trained.steps, "mean_rewards": [round(value, 3) for value in trained.rewards]}
    step.finish(inputs, settings, result, (RESIDUAL,))
    return True


def _plot(rewards: list[float], config: TrainingConfig, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([(index + 1) * config.rollout * config.twins for index in range(len(rewards))], rewards)
    axes.set_xlabel("control steps of all twins")
    axes.set_ylabel("mean reward of the newest episodes")
    figure.savefig(path, dpi=100)
