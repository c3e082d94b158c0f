# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: a task, a policy, the trials and the rules, as one value that every worker process gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physgen_bringup.results.results import Protocol, Trial
from physgen_bringup.results.rules import make_protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """What to evaluate."""

    sim: str
    task: str
    policy: str
    checkpoint: Path | None
    """A checked folder; None where the policy has none."""
    episodes: int
    """Per run."""
    seed: int
    """Episode i has seed `seed + i`."""
    max_steps: int
    """Control steps; 0 means the task's own limit."""
    out: Path
    workers: int
    save_actions: bool = False
    """Write the applied actions of every episode."""
    bag_dir: Path | None = None
    """Recordings for the replay policy."""
    runs: int = 1
    """How often the whole series is repeated with other random numbers of the policy."""
    init_states: bool = False
    """Episode i starts from stored state i, always with the first seed."""
    shard: tuple[int, int] = (1, 1)
    """(i, n): only every n-th trial, from the i-th (1-based)."""
    pace: str = "lockstep"
    """"realtime": the world does not wait, and every chunk comes `delay_steps` after its observation."""
    execution: str = "sync"
    delay_steps: int = 0
    """Control steps."""
    lead_steps: int = 0
    """Pipelined execution asks so many control steps early."""
    preset: str = ""
    """Name of the published protocol that it follows."""
    batch: int = 0
    """0 gives every worker its own policy, else all share one that computes batches of so many rows."""
    any_task: bool = False
    """The checkpoint may have been trained for other tasks."""
    perturbation: str = ""
    """What is changed of the world, such as camera:3; "" for nothing."""

    @property
    def trials(self) -> list[Trial]:
        """The trials of this shard, in order."""
        everything = [
            Trial(self.seed, i, run) if self.init_states else Trial(self.seed + i, run=run)
            for run in range(self.runs)
            for i in range(self.episodes)
        ]
        first, count = self.shard
        return everything[first - 1 :: count]

    def protocol(self) -> Protocol:
        """Return the rules as they stand in the results."""
        return make_protocol(
            sim=self.sim,
            task=self.task,
            policy=self.policy,
            checkpoint=self.checkpoint,
            pace=self.pace,
            execution=self.execution,
            max_steps=self.max_steps,
            transport="in-process",
            preset=self.preset,
            delay_steps=self.delay_steps,
            lead_steps=self.lead_steps,
            batch=self.batch,
            perturbation=self.perturbation,
        )
