# SPDX-License-Identifier: Apache-2.0
"""`physgen eval --perturb`: every task clean and under each condition, on the same trials, and the table of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from physgen_bringup.episode.evaluation_spec import EvaluationSpec
    from physgen_control.program.progress import Progress


def run_perturbed(
    options: argparse.Namespace,
    specs: list[EvaluationSpec],
    progress: Progress,
    through_ros: Callable[[argparse.Namespace, list[EvaluationSpec], Progress], int] | None,
) -> int:
    """Run what is missing, print the table and return the exit status: 1 when an episode crashed.

    Args:
        options: Of the command line.
        specs: One clean evaluation per task.
        progress: Is told of every step.
        through_ros: Runs evaluations through graphs; None: in-process.

    Raises:
        UserError: There is no such condition, the list of variants is damaged, or results cannot be continued.
    """
    from physgen_bringup.commands.evaluation_progress import run_with_progress
    from physgen_bringup.evaluation.robustness import NAME, Cell, perturbed_specs, write_table
    from physgen_bringup.results.results import FILE_NAME, read, summarize
    from physgen_control.program.folder_lock import folder_lock
    from physgen_sim_bridge.perturbation.condition import parse_conditions
    from physgen_sim_bridge.perturbation.frozen_list import SHA256, frozen_list

    conditions = parse_conditions(options.perturb, options.level or "3")
    frozen_list()  # a damaged list is refused before anything runs
    runs = perturbed_specs(specs, conditions)
    progress.say(f"  perturbed     {', '.join(str(condition) or 'clean' for condition in conditions)}")
    progress.say(f"  variants      {SHA256[:12]}; {NAME}")
    out = Path(options.out).expanduser().resolve()
    with folder_lock(out):
        if through_ros is not None:
            through_ros(options, [spec for _, spec in runs], progress)
            evaluations = [read(spec.out / FILE_NAME) for _, spec in runs]
        else:
            evaluations = run_with_progress([spec for _, spec in runs], progress)
        cells = [Cell(spec.task, c, e) for (c, spec), e in zip(runs, evaluations, strict=True)]
        progress.result(write_table(out, cells, [spec.out for _, spec in runs]))
    progress.say(f"Results are in {out}")
    return int(any(summarize(evaluation.episodes)["crashes"] for evaluation in evaluations))
