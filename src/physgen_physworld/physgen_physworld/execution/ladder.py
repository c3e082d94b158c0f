# SPDX-License-Identifier: Apache-2.0
"""The ladder: the same seeds with ever less perfect tracks, and the ways to act on them, scored in the real world.

Simulator truth enters at two marked places only: as the tracks of the lowest rung, and in scoring.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from physgen_control.errors import UserError
from physgen_physworld.execution.episode import Following, Policy, run_episode
from physgen_physworld.execution.reality import ManiSkillReality
from physgen_physworld.plan.base import GoalFollower
from physgen_physworld.plan.goals import Goals, make_goals
from physgen_physworld.reconstruction.depth import PlaneDepth
from physgen_physworld.reconstruction.errors import track_errors
from physgen_physworld.reconstruction.support import reconstruct_tracks
from physgen_physworld.reconstruction.tracker import find_things
from physgen_physworld.reconstruction.words import things_named
from physgen_physworld.values import ObjectTrack, Tracks
from physgen_physworld.video.oracle import OracleEpisode, OracleSource
from physgen_sim_bridge.maniskill.world import ManiSkillWorld

Rung = Literal["truth", "oracle", "oracle-arm"]
RUNGS: tuple[Rung, ...] = ("truth", "oracle", "oracle-arm")
# The instruction's names of things and the simulator's.
NAMES = {
    "PushCube-v1": {"cube": "cube"},
    "PickCube-v1": {"cube": "cube"},
    "StackCube-v1": {"red_cube": "cubeA", "green_cube": "cubeB"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderTrial:
    """One episode of one rung and one way to act; numbers are NaN where there was no track or no episode."""

    task: str
    seed: int
    rung: Rung
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
    world: ManiSkillWorld,
    task: str,
    seed: int,
    rungs: Sequence[Rung],
    executions: dict[str, Callable[[Goals], Policy]],
) -> list[LadderTrial]:
    """Run the rungs of one seed in a world of the task that draws pictures."""
    trials = []
    reality = ManiSkillReality(task, world)
    filmed: dict[bool, OracleEpisode] = {}
    for rung in rungs:
        arm = rung == "oracle-arm"
        try:
            if arm not in filmed:
                filmed[arm] = OracleSource(task=task, seed=seed, arm=arm).episode(world)
            episode = filmed[arm]
        except UserError as error:
            trials += [_failed(task, seed, rung, name, "video", str(error)) for name in executions]
            continue
        try:
            tracks = true_tracks(episode, task, reality) if rung == "truth" else _tracked(episode, reality)
            goals = make_goals(tracks)
        except UserError as error:
            trials += [_failed(task, seed, rung, name, "reconstruction", str(error)) for name in executions]
            continue
        for name, make_policy in executions.items():
            trials.append(_trial(reality, task, seed, rung, name, make_policy, tracks, goals, episode))
    return trials


def true_tracks(episode: OracleEpisode, task: str, reality: ManiSkillReality) -> Tracks:
    """Return the simulator's own poses as tracks: what a perfect tracker would find."""
    objects = []
    for thing in things_named(reality.instruction):
        positions, quaternions = episode.truth[NAMES[task][thing.name]]
        objects.append(
            ObjectTrack(
                name=thing.name,
                size=thing.size,
                positions=positions,
                quaternions=quaternions,
                confidence=np.ones(len(positions)),
            )
        )
    return Tracks(objects=tuple(objects), period_s=episode.video.period_s, source="the simulator's truth")


def _tracked(episode: OracleEpisode, reality: ManiSkillReality) -> Tracks:
    found = find_things(episode.video, things_named(reality.instruction), PlaneDepth())
    return reconstruct_tracks(episode.video, found)


def _trial(
    reality: ManiSkillReality,
    task: str,
    seed: int,
    rung: Rung,
    name: str,
    make_policy: Callable[[Goals], Policy],
    tracks: Tracks,
    goals: Goals,
    episode: OracleEpisode,
) -> LadderTrial:
    true_name = NAMES[task][goals.name]
    errors = track_errors(tracks.moved, *episode.truth[true_name])
    try:
        result = run_episode(reality, seed, goals, make_policy)
    except UserError as error:
        return _failed(task, seed, rung, name, "reconstruction", str(error))
    verdict = reality.judge()
    end_error = float(1000 * np.linalg.norm(verdict.positions[true_name] - episode.truth[true_name][0][-1]))
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


def _failed(task: str, seed: int, rung: Rung, name: str, stage: str, detail: str) -> LadderTrial:
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
