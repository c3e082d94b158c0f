# SPDX-License-Identifier: Apache-2.0
"""Runs evaluations and tells their course: finished episodes, running success, time left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_bringup.results.results import EpisodeResult, Evaluation
    from physgen_control.program.progress import Progress


def run_with_progress(specs: list[EvaluationSpec], progress: Progress) -> list[Evaluation]:
    """Run what is missing of several evaluations behind a progress bar, as evaluation.run.run_specs does.

    Raises:
        UserError: An output folder holds other results, or every episode crashes.
    """
    from physgen_bringup.evaluation.run import run_specs
    from physgen_bringup.results.results import outcome, summarize, trial_text

    finished = dict.fromkeys(specs, 0)
    with progress.stage("episodes", sum(len(spec.trials) for spec in specs)) as stage:

        def report(spec: EvaluationSpec, evaluation: Evaluation, result: EpisodeResult | None) -> None:
            finished[spec] = len(spec.trials) - len(evaluation.missing_trials(spec.trials))
            summary = summarize(evaluation.episodes)
            what = f"{spec.task} {spec.perturbation}".rstrip()
            name = f"{what} " if len(specs) > 1 else ""
            rate = f" = {100 * summary['success_rate']:.0f} %" if summary["n"] else ""
            crashes = f", {summary['crashes']} crashed" if summary["crashes"] else ""
            info = f"{name}success {summary['successes']}/{summary['n']}{rate}{crashes}"
            stage.update(
                completed=sum(finished.values()), info=info if summary["n"] else f"{name}workers start"
            )
            if result is None and finished[spec]:
                progress.say(f"{name}{finished[spec]} finished episodes were found and are kept.")
            if result is not None and result.crashed:
                progress.say(f"{name}seed {trial_text(result.trial)}: {outcome(result)}")

        return run_specs(specs, report)
