# SPDX-License-Identifier: Apache-2.0
"""Steps per second of evaluation: one worker, all workers, and the bare simulator beside them, measured in one run.

The bare simulator is gymnasium's own step() in one process with both cameras drawn at every step and nobody who looks
(sim.py); for LIBERO and the fake world it is our World, stepped alone.
Evaluation runs a policy besides, and resets, but draws only what the policy looks at.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from physgen_bringup.bench.sim import measure_in_subprocess
from physgen_bringup.episode.evaluation_spec import EvaluationSpec
from physgen_bringup.evaluation.run import run_in_process
from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.results.results import EpisodeResult, Evaluation
from physgen_control.errors import UserError

BARE_STEPS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationBenchmark:
    """The result in control steps per second. Start-up of simulators and networks is not counted."""

    task: str
    policy: str
    episodes: int
    workers: int
    """Of the parallel measurement."""
    bare_rounds: list[float]
    serial_rounds: list[float]
    parallel_rounds: list[float]

    @property
    def bare(self) -> float:
        """Median of the bare simulator in one process."""
        return statistics.median(self.bare_rounds)

    @property
    def serial(self) -> float:
        """Median of an evaluation with one worker."""
        return statistics.median(self.serial_rounds)

    @property
    def parallel(self) -> float:
        """Median of an evaluation with all workers."""
        return statistics.median(self.parallel_rounds)


def steps_per_second(ends: Sequence[tuple[float, int]], workers: int) -> float:
    """Return the rate from the (time [s], steps) at which episodes ended, without start-up.

    The clock starts when as many episodes have ended as there are workers, and every later episode counts. What is half
    done then counts whole, and at the end some workers wait for the last: give many episodes.

    Raises:
        UserError: There are too few episodes.
    """
    if len(ends) < 2 * workers:
        raise UserError(f"{workers} workers need at least {2 * workers} episodes, got {len(ends)}")
    ordered = sorted(ends)
    start = ordered[workers - 1][0]
    return sum(steps for _, steps in ordered[workers:]) / (ordered[-1][0] - start)


def run(
    *,
    sim: str,
    task: str,
    policy: str,
    episodes: int,
    workers: int,
    rounds: int,
    doing: Callable[[str], None] = lambda _: None,
) -> EvaluationBenchmark:
    """Measure bare simulator, one worker and all workers in turn, so that a busy machine hurts all alike.

    `doing` is told what is measured.

    Raises:
        UserError: Too few episodes or workers, or something that cannot be evaluated here.
    """
    if min(workers, rounds) < 1 or episodes < 2 * workers:
        raise UserError(
            f"bench eval needs at least one round, one worker and two episodes per worker; got {rounds} rounds, "
            f"{workers} workers and {episodes} episodes"
        )
    checked = check_arguments(parse_arguments([f"sim:={sim}", f"task:={task}", f"policy:={policy}"]))
    checkpoint = Path(checked.checkpoint) if checked.checkpoint else None
    bare: list[float] = []
    serial: list[float] = []
    parallel: list[float] = []
    for index in range(rounds):
        turn = f"round {index + 1} of {rounds}"
        doing(f"{turn}: bare simulator")
        bare.append(measure_in_subprocess("native", sim, task, 128, BARE_STEPS))
        for rates, count in ((serial, 1), (parallel, workers)):
            doing(f"{turn}: {episodes} episodes, workers: {count}")
            rates.append(_evaluate(sim, task, policy, checkpoint, episodes, count))
    return EvaluationBenchmark(
        task=task,
        policy=policy,
        episodes=episodes,
        workers=workers,
        bare_rounds=bare,
        serial_rounds=serial,
        parallel_rounds=parallel,
    )


def _evaluate(
    sim: str, task: str, policy: str, checkpoint: Path | None, episodes: int, workers: int
) -> float:
    ends: list[tuple[float, int]] = []

    def note(_evaluation: Evaluation, result: EpisodeResult | None) -> None:
        if result is None:
            return
        if result.crashed:
            raise UserError(f"an episode of the benchmark crashed: {result.error}")
        ends.append((time.monotonic(), result.steps))

    with tempfile.TemporaryDirectory(prefix="bench-eval-") as folder:
        spec = EvaluationSpec(
            sim=sim,
            task=task,
            policy=policy,
            checkpoint=checkpoint,
            episodes=episodes,
            seed=0,
            max_steps=0,
            out=Path(folder) / "results",
            workers=workers,
        )
        run_in_process(spec, note)
    return steps_per_second(ends, workers)


def table(result: EvaluationBenchmark) -> str:
    """Return the result for people."""
    rows = (
        ("bare simulator, 1 process", result.bare, result.bare_rounds),
        ("evaluation, 1 worker", result.serial, result.serial_rounds),
        (f"evaluation, {result.workers} workers", result.parallel, result.parallel_rounds),
    )
    lines = [f"{result.task}, policy {result.policy}, {result.episodes} episodes, steps/s (median of rounds)"]
    for name, rate, rounds in rows:
        lines.append(f"  {name:28}{rate:8.1f}   ({', '.join(f'{r:.1f}' for r in rounds)})")
    lines.append(f"  {result.workers} workers / 1 worker{result.parallel / result.serial:19.2f}")
    lines.append(f"  1 worker / bare simulator{result.serial / result.bare:11.2f}")
    return "\n".join(lines)
