# SPDX-License-Identifier: Apache-2.0
"""Episodes of the fake Franka: home, place the cube, announce, count control steps, end. No ROS."""

from __future__ import annotations

from dataclasses import dataclass, replace

from physgen_control.errors import UserError
from physgen_control.messages.graph_identity import new_id
from physgen_control.types import AppliedAction, Episode, EpisodePhase
from physgen_sim_bridge.fake_franka.robot import FakeFranka
from physgen_sim_bridge.fake_franka.table import TASKS, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetRequest:
    """What ResetEnv asks for."""

    task: str
    seed: int
    max_steps: int
    """Control steps; 0 means the task's default."""


class Episodes:
    """At most one episode; `poll` returns what to announce."""

    def __init__(self, robot: FakeFranka, task: str) -> None:
        self._robot = robot
        self.task = task
        self._next: tuple[str, ResetRequest] | None = None
        self.running: Episode | None = None
        self._steps = 0

    def request(self, request: ResetRequest) -> str:
        """Give up the running episode and start another one as soon as the arm is home; return its id.

        Raises:
            UserError: No such task, a bad seed, or the arm cannot go home.
        """
        if request.task not in TASKS:
            raise UserError(
                f"The fake Franka has no task {request.task!r}; choose one of: {', '.join(TASKS)}."
            )
        if request.seed < 0:
            raise UserError(f"A seed must not be negative, but it is {request.seed}.")
        self._robot.home()
        episode_id = new_id()
        self._next = (episode_id, request)
        return episode_id

    def on_applied(self, action: AppliedAction) -> None:
        """Count an executed control step of the running episode."""
        if self.running is not None and action.executed and action.episode_id == self.running.episode_id:
            self._steps = max(self._steps, action.step + 1)

    def poll(self, now_ns: int) -> Episode | None:
        """Return an episode to announce: one that ends or begins now."""
        running = self.running
        if running is not None:
            phase, detail = self._outcome(running)
            if phase is None:
                return None
            self.running = None
            return replace(running, phase=phase, step=self._steps, detail=detail)
        if self._next is None or self._robot.homing:
            return None
        episode_id, request = self._next
        self._next = None
        if request.task != self.task:
            self._robot.table, self.task = Table(request.task), request.task
        self._robot.table.reset(request.seed)
        self._steps = 0
        self.running = Episode(
            episode_id=episode_id,
            task=self.task,
            seed=request.seed,
            instruction=TASKS[self.task].instruction,
            start_ns=now_ns,
            max_steps=request.max_steps or TASKS[self.task].max_steps,
            robot="fr3",
            source="fake",
        )
        return self.running

    def _outcome(self, running: Episode) -> tuple[EpisodePhase | None, str]:
        if self._next is not None:
            return EpisodePhase.DISCARDED, "A new episode was asked for."
        if self._robot.table.success:
            return EpisodePhase.SUCCESS, ""
        if self._steps >= running.max_steps:
            return EpisodePhase.FAILURE, f"Step limit {self._steps} reached."
        return None, ""
