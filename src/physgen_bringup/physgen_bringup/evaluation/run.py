# SPDX-License-Identifier: Apache-2.0
"""Evaluates a policy over many trials in worker processes, each with its own world, without ROS.

Results are written after every episode; a run that was killed continues where it stopped. A worker that dies
costs its episode, which is counted as a crash, and is replaced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.episode.tally import file_stem
from physgen_bringup.evaluation.workers import EpisodeWorkers, Job
from physgen_bringup.results.results import EpisodeResult, Evaluation, open_evaluation
from physgen_control.errors import UserError

__all__ = ["EvaluationSpec", "film_failures", "run_in_process", "run_specs", "video_path"]

MAX_CONSECUTIVE_CRASHES = 5

Report = Callable[[Evaluation, EpisodeResult | None], None]


def run_in_process(spec: EvaluationSpec, report: Report) -> Evaluation:
    """Run what is missing of one evaluation, as run_specs does.

    Raises:
        UserError: The output folder holds other results, or every episode crashes.
    """
    [evaluation] = run_specs([spec], lambda _, evaluation, result: report(evaluation, result))
    return evaluation


def run_specs(
    specs: list[EvaluationSpec],
    report: Callable[[EvaluationSpec, Evaluation, EpisodeResult | None], None],
) -> list[Evaluation]:
    """Run what is missing of several evaluations, one after the other with the same workers.

    Args:
        specs: What to run, each with its own output folder; the first says how many workers there are.
        report: Called for every spec with None before the first episode, and after every episode with its result.

    Raises:
        UserError: An output folder holds other results, or every episode crashes.
    """
    evaluations = {spec: open_evaluation(spec.out, spec.protocol()) for spec in specs}
    jobs: deque[Job] = deque()
    for spec, evaluation in evaluations.items():
        report(spec, evaluation, None)
        jobs += [Job(spec, trial) for trial in evaluation.missing_trials(spec.trials)]
    crashes = 0
    with EpisodeWorkers(specs[0].workers) as pool:
        for done in pool.run(jobs):
            evaluation, result = evaluations[done.job.spec], done.episode
            evaluation.add(result)
            evaluation.latencies.extend(done.latencies)
            evaluation.write(done.job.spec.out)
            report(done.job.spec, evaluation, result)
            crashes = crashes + 1 if result.crashed else 0
            if crashes >= MAX_CONSECUTIVE_CRASHES:
                raise UserError(f"{crashes} episodes crashed in a row, the last one because: {result.error}")
    for spec, evaluation in evaluations.items():
        evaluation.write(spec.out)
    return list(evaluations.values())


def film_failures(specs: list[EvaluationSpec], evaluations: list[Evaluation], count: int) -> list[Path]:
    """Run the first `count` failed trials of each evaluation again, drawing every step, and write their videos.

    An episode repeats itself exactly, so nothing has to be drawn or kept before it is known to fail. Videos that exist
    are kept.

    Raises:
        UserError: An episode did not repeat itself, or crashed.
    """
    jobs: deque[Job] = deque()
    paths = []
    for spec, evaluation in zip(specs, evaluations, strict=True):
        failed = [e.trial for e in evaluation.episodes if not (e.success or e.crashed)]
        for trial in failed[:count]:
            path = video_path(spec.out, file_stem(trial))
            paths.append(path)
            if not path.exists():
                jobs.append(Job(replace(spec, save_actions=False), trial, path))
    with EpisodeWorkers(specs[0].workers) as pool:
        for done in pool.run(jobs):
            episode = done.episode
            if episode.crashed or episode.success:
                why = (
                    episode.error or "it succeeded this time, so the world or the policy is not deterministic"
                )
                raise UserError(f"the failed episode of seed {episode.seed} could not be filmed: {why}")
    return paths


def video_path(folder: Path, stem: str) -> Path:
    """Return where the video of an episode lies."""
    return folder / "videos" / f"{stem}.mp4"
