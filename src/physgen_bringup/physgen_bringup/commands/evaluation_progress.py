# SPDX-License-Identifier: Apache-2.0
"""Runs evaluations behind a progress bar: finished episodes, running success with its interval, time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.results.results import EpisodeResult, Evaluation


def run_with_progress(specs: list[EvaluationSpec]) -> list[Evaluation]:
    """Run what is missing of several evaluations behind a progress bar, as evaluation.run.run_specs does.

    Raises:
        UserError: An output folder holds other results, or every episode crashes.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from physgen_bringup.evaluation.run import run_specs
    from physgen_bringup.results.results import outcome, summarize, trial_text

    columns = (
        TextColumn("episodes"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    finished = dict.fromkeys(specs, 0)
    with Progress(*columns, speed_estimate_period=600) as progress:
        bar = progress.add_task("", total=sum(len(spec.trials) for spec in specs))

        def report(spec: EvaluationSpec, evaluation: Evaluation, result: EpisodeResult | None) -> None:
            finished[spec] = len(spec.trials) - len(evaluation.missing_trials(spec.trials))
            summary = summarize(evaluation.episodes)
            what = f"{spec.task} {spec.perturbation}".rstrip()
            name = f"{what} " if len(specs) > 1 else ""
            rate = f" = {100 * summary['success_rate']:.0f} %" if summary["n"] else ""
            crashes = f", {summary['crashes']} crashed" if summary["crashes"] else ""
            progress.update(
                bar,
                completed=sum(finished.values()),
                description=f"{name}success {summary['successes']}/{summary['n']}{rate}{crashes}",
            )
            if result is None and finished[spec]:
                progress.console.print(f"{name}{finished[spec]} finished episodes were found and are kept.")
            if result is not None and result.crashed:
                text = f"{name}seed {trial_text(result.trial)}: {outcome(result)}"
                progress.console.print(text, markup=False)

        return run_specs(specs, report)
