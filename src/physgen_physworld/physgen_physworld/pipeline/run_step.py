# SPDX-License-Identifier: Apache-2.0
"""Step four: do it, in the world that is real for us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from physgen_control.errors import UserError
from physgen_physworld.execution.episode import LOOK_EVERY, Following, Policy, run_episode
from physgen_physworld.execution.reality import Reality
from physgen_physworld.execution.residual_policy import ResidualPolicy
from physgen_physworld.pipeline.film import side_by_side, twin_pictures, write_film
from physgen_physworld.pipeline.reconstruct_step import TRACKS, load_situation, tracks_step
from physgen_physworld.pipeline.step_folder import StepFolder, save_picture, sha256, strip
from physgen_physworld.pipeline.train_step import RESIDUAL, train_step
from physgen_physworld.pipeline.video_step import load_video
from physgen_physworld.plan.base import GoalFollower
from physgen_physworld.plan.goals import Goals
from physgen_physworld.plan.settle import settled
from physgen_physworld.residual.network import load_residual

How = Literal["residual", "base", "naive"]


def run_step(root: Path, how: How) -> StepFolder:
    """Return the step's folder: one for each way to act."""
    return StepFolder(root=root, name=f"run-{how}")


def act(
    root: Path,
    how: How,
    reality: Callable[[], Reality],
    seed: int,
    clicks: dict[str, tuple[float, float]] | None = None,
) -> dict[str, Any]:
    """Act once and return what happened; the result of an earlier run is returned as it is.

    Args:
        root: folder of the run.
        how: who decides.
        reality: opens the world; called only if there is something to do.
        seed: of the episode.
        clicks: column and row in the first picture by name of a thing.

    Raises:
        UserError: an earlier step is missing, or the object is not in the picture.
    """
    step = run_step(root, how)
    _, goals, scene = load_situation(root)
    if how != "naive":
        goals = settled(goals, scene)
    inputs = {"tracks": sha256(tracks_step(root).file(TRACKS))}
    residual = train_step(root).file(RESIDUAL)
    if how == "residual":
        if not residual.is_file():
            raise UserError(
                f"{root} has no residual yet: `physgen physworld train {root}` comes first, or act with --how base."
            )
        inputs["residual"] = sha256(residual)
    settings = {"how": how, "seed": seed, "clicks": {name: list(at) for name, at in (clicks or {}).items()}}
    if step.is_done(inputs, settings):
        record = step.record()
        assert record is not None
        return dict(record["result"])
    step.begin()
    world = reality()
    episode = run_episode(
        world, seed, goals, lambda wanted: _policy(how, wanted, residual), clicks=clicks, film=True
    )
    verdict = world.judge()
    result = {
        "success": verdict.success,
        "steps": episode.steps,
        "phase": episode.phase.name.lower(),
        "goals_reached": episode.progress + 1,
        "goals": episode.goals,
        "failed_grasps": episode.failed_grasps,
    }
    save_picture(strip(episode.frames), step.picture_path)
    twin = twin_pictures(scene, world.camera, episode.frames[0], episode.hand, episode.actions, LOOK_EVERY)
    columns = (("video", load_video(root).frames), ("twin", twin), ("robot", episode.frames))
    write_film(side_by_side(columns), step.file(f"{step.name}.mp4"))
    step.finish(inputs, settings, result)
    return result


def _policy(how: How, goals: Goals, residual: Path) -> Policy:
    match how:
        case "residual":
            return ResidualPolicy(goals, load_residual(residual))
        case "base" | "naive":
            return Following(GoalFollower(goals, how))
