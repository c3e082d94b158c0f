# SPDX-License-Identifier: Apache-2.0
"""The ladder: the same seeds with ever less perfect tracks, and the ways to act on them, scored in the real world."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.errors import UserError
from physgen_physworld.execution.episode import Following, Policy, run_episode
from physgen_physworld.execution.rungs import RungScenes
from physgen_physworld.execution.true_tracks import NAMES
from physgen_physworld.plan.base import GoalFollower
from physgen_physworld.plan.goals import Goals, make_goals
from physgen_physworld.plan.settle import settled
from physgen_physworld.reconstruction.errors import track_errors
from physgen_physworld.scene.scene import build_scene
from physgen_physworld.values import Tracks
from physgen_physworld.video.source import VideoError


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderTrial:
    """One episode of one rung and one way to act; numbers are NaN where there was no track or no episode."""

    task: str
    seed: int
    rung: str
    execution: str
    success: bool
    stage: str
    """Where a failure began: video, reconstruction, tracking, grasp or execution; empty after a success."""
    detail: str
    steps: int
    failed_grasps: int
    end_error_mm: float
    """From where the video leaves the object to where it really is."""
    track_start_mm: float
    """The track's own errors, see TrackErrors."""
    track_end_mm: float
    track_yaw_deg: float


def naive_policy(goals: Goals) -> Policy:
    """Naive retargeting: the hand goes the object's way rigidly."""
    return Following(GoalFollower(goals, "naive"))


def base_policy(goals: Goals) -> Policy:
    """The base policy alone."""
    return Following(GoalFollower(goals, "base"))


EXECUTIONS: dict[str, Callable[[Goals], Policy]] = {"naive": naive_policy, "base": base_policy}


def run_rungs(
    scenes: RungScenes, seed: int, rungs: Sequence[str], executions: dict[str, Callable[[Goals], Policy]]
) -> list[LadderTrial]:
    """Run the rungs of one seed."""
    trials = []
    for rung in rungs:
        try:
            tracks = scenes.tracks(rung, seed)
            goals = make_goals(tracks)
        except UserError as error:
            stage = "video" if isinstance(error, VideoError) else "reconstruction"
            trials += [_failed(scenes.task, seed, rung, name, stage, str(error)) for name in executions]
            continue
        judged = settled(goals, build_scene(tracks))
        for name, make_policy in executions.items():
            followed = goals if name == "naive" else judged
            trials.append(_trial(scenes, seed, rung, name, make_policy, tracks, followed))
    return trials


def _trial(
    scenes: RungScenes,
    seed: int,
    rung: str,
    name: str,
    make_policy: Callable[[Goals], Policy],
    tracks: Tracks,
    goals: Goals,
) -> LadderTrial:
    task, reality = scenes.task, scenes.reality
    true_name = NAMES[task][goals.name]
    try:
        truth = scenes.oracle(seed).truth[true_name]
        result = run_episode(reality, seed, goals, make_policy)
    except UserError as error:
        stage = "video" if isinstance(error, VideoError) else "reconstruction"
        return _failed(task, seed, rung, name, stage, str(error))
    errors = track_errors(tracks.moved, *truth)
    verdict = reality.judge()
    end_error = float(1000 * np.linalg.norm(verdict.positions[true_name] - truth[0][-1]))
    stage = ""
    if not verdict.success:
        if errors.end_mm > 25.0 or errors.start_mm > 15.0:
            stage = "tracking"
        elif goals.lifted and not result.held:
            stage = "grasp"
        else:
            stage = "execution"
    return LadderTrial(
        task=task,
        seed=seed,
        rung=rung,
        execution=name,
        success=verdict.success,
        stage=stage,
        detail=f"{result.phase.name.lower()}, goal {result.progress + 1} of {result.goals}",
        steps=result.steps,
        failed_grasps=result.failed_grasps,
        end_error_mm=end_error,
        track_start_mm=errors.start_mm,
        track_end_mm=errors.end_mm,
        track_yaw_deg=errors.yaw_deg,
    )


def _failed(task: str, seed: int, rung: str, name: str, stage: str, detail: str) -> LadderTrial:
    return LadderTrial(
        task=task,
        seed=seed,
        rung=rung,
        execution=name,
        success=False,
        stage=stage,
        detail=detail,
        steps=0,
        failed_grasps=0,
        end_error_mm=np.nan,
        track_start_mm=np.nan,
        track_end_mm=np.nan,
        track_yaw_deg=np.nan,
    )


def summarize(trials: Sequence[LadderTrial]) -> list[dict[str, Any]]:
    """Return one row per task, rung and way to act: successes with the 95 % Wilson interval, median errors, stages."""
    from scipy.stats import binomtest

    rows = []
    for key in dict.fromkeys((trial.task, trial.rung, trial.execution) for trial in trials):
        group = [trial for trial in trials if (trial.task, trial.rung, trial.execution) == key]
        wins = sum(trial.success for trial in group)
        interval = binomtest(wins, len(group)).proportion_ci(method="wilson")
        ends = [trial.end_error_mm for trial in group if np.isfinite(trial.end_error_mm)]
        stages = [trial.stage for trial in group if trial.stage]
        rows.append(
            {
                "task": key[0],
                "rung": key[1],
                "execution": key[2],
                "n": len(group),
                "successes": wins,
                "wilson_95": [round(float(interval.low), 3), round(float(interval.high), 3)],
                "median_end_error_mm": round(float(np.median(ends)), 1) if ends else None,
                "failures": {stage: stages.count(stage) for stage in sorted(set(stages))},
            }
        )
    return rows


def trial_values(trial: LadderTrial) -> dict[str, Any]:
    """Return a trial as plain values for JSON; what is not a number becomes null."""
    return {
        key: None if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in asdict(trial).items()
    }


def read_ladder(path: Path) -> list[LadderTrial]:
    """Return the trials of an interrupted ladder; none where there is no file.

    Raises:
        UserError: it cannot be read.
    """
    if not path.is_file():
        return []
    try:
        stored: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trials"]
        return [LadderTrial(**_numbers(trial)) for trial in stored]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no ladder that could go on ({error}): name another file.") from error


def _numbers(trial: dict[str, Any]) -> dict[str, Any]:
    return {key: np.nan if value is None else value for key, value in trial.items()}


def write_ladder(trials: Sequence[LadderTrial], path: Path) -> None:
    """Write all trials and their summary as JSON; the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"summary": summarize(trials), "trials": [trial_values(trial) for trial in trials]}
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    partial.rename(path)


def ladder_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return the summary as a Markdown table."""
    lines = [
        "| task | tracks | execution | successes | 95 % interval | median end error | failures |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = (f"{100 * value:.0f}" for value in row["wilson_95"])
        failures = ", ".join(f"{count} {stage}" for stage, count in row["failures"].items()) or "-"
        error = "-" if row["median_end_error_mm"] is None else f"{row['median_end_error_mm']:.0f} mm"
        lines.append(
            f"| {row['task']} | {row['rung']} | {row['execution']} | {row['successes']} of {row['n']} "
            f"| {low} to {high} % | {error} | {failures} |"
        )
    return "\n".join(lines)
