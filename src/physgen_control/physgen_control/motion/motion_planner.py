# SPDX-License-Identifier: Apache-2.0
"""What the controller asks of whoever turns motions into joint trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from physgen_control.types import AckResult, Float32Array, Float64Array, Limit, Pose, RobotState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One action of an accepted chunk after planning: float32[6] motion, TCP target, joint targets [rad]."""

    motion: Float32Array
    limits: Limit
    target_pose: Pose
    positions: Float64Array


class PlanRefusedError(ValueError):
    """A chunk cannot become a joint trajectory; `result` is the code, the message a sentence."""

    def __init__(self, result: AckResult, sentence: str) -> None:
        super().__init__(sentence)
        self.result = result


class MotionPlanner(Protocol):
    """Turns motions into joint trajectories for an arm that is commanded in joint space."""

    def plan(self, motions: Float32Array, state: RobotState, now_ns: int) -> list[PlannedStep]:
        """Plan float32[n, 6] motions from the commanded (at rest: measured) state; raises PlanRefusedError."""

    def stop(self, state: RobotState | None, now_ns: int) -> None:
        """Come to rest as fast as the limits allow."""

    def tracking_error(self, state: RobotState) -> float:
        """Return the largest distance [rad] of a measured joint from its command."""

    def take(self) -> Any:
        """Return the trajectory to send now, once, or None."""

    def active(self, now_ns: int) -> bool:
        """Say whether the command has not come to rest yet."""

    def postpone(self, now_ns: int) -> Any:
        """Return the trajectory taken last as one that starts now, if that changes nothing else; or None."""

    def withdraw(self, state: RobotState | None, now_ns: int) -> None:
        """The trajectory taken last was not sent; come to rest from the one before."""

    def restart(self, state: RobotState, now_ns: int) -> None:
        """Start from where the arm is (somebody else may have moved it); raises PlanRefusedError."""

    def clock_jumped(self, jump_ns: int) -> None:
        """Take what was commanded to have begun `jump_ns` later by the clock."""

    def start_on_arrival(self) -> None:
        """Let the trajectory that waits to be sent begin when it arrives."""

    def set_shadow(self, shadow: bool) -> None:
        """Say whether commands are only computed."""
