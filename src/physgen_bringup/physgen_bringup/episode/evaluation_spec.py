# SPDX-License-Identifier: Apache-2.0
"""What is evaluated: a task, a policy, the trials and the rules, as one value that every worker process gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from physgen_bringup.results.results import Protocol, Trial
from physgen_bringup.results.rules import make_protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """What to evaluate; episode i has seed `seed + i`. checkpoint is a checked folder, or None without one.

    max_steps 0 means the task's own limit. runs: how often the whole series is repeated with other random numbers of
    the policy. init_states: episode i starts from stored state i, always with the first seed. shard (i, n): only every
    n-th trial, from the i-th (1-based). bag_dir: recordings for the replay policy. pace realtime: the world does not
    wait, and every chunk comes delay_steps control steps after its observation; lead_steps: pipelined execution asks so
    many steps early. batch: 0 gives every worker its own policy, else all share one that computes batches of so many
    rows. perturbation: what is changed of the world, such as camera:3; "" for nothing.
    """

    sim: str
    task: str
    policy: str
    checkpoint: Path | None
    episodes: int
    seed: int
    max_steps: int
    out: Path
    workers: int
    save_actions: bool = False
    bag_dir: Path | None = None
    runs: int = 1
    init_states: bool = False
    shard: tuple[int, int] = (1, 1)
    pace: str = "lockstep"
    execution: str = "sync"
    delay_steps: int = 0
    lead_steps: int = 0
    preset: str = ""
    batch: int = 0
    perturbation: str = ""

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
        """The rules as they stand in the results."""
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
