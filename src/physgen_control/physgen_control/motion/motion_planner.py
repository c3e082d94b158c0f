# SPDX-License-Identifier: Apache-2.0
"""What the controller asks of whoever turns motions into joint trajectories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from physgen_control.types import AckResult, Float32Array, Float64Array, Limit, Pose, RobotState


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One action of an accepted chunk after planning."""

    motion: Float32Array
    """float32 [6]: translation [m] and rotation vector [rad], base frame."""
    limits: Limit
    """Which limits changed it."""
    target_pose: Pose
    """Of the tool centre point, base frame."""
    positions: Float64Array
    """Joint targets, float64 [7] in rad."""


class PlanRefusedError(ValueError):
    """A chunk cannot become a joint trajectory.

    Args:
        result: The code for programs.
        sentence: The message for people.
    """

    def __init__(self, result: AckResult, sentence: str) -> None:
        super().__init__(sentence)
        self.result = result


class MotionPlanner(Protocol):
    """Turns motions into joint trajectories for an arm that is commanded in joint space."""

    def plan(self, motions: Float32Array, state: RobotState, now_ns: int) -> list[PlannedStep]:
        """Plan the motions of a chunk, from the commanded state (at rest: the measured one).

        Args:
            motions: float32 [n, 6], each translation [m] and rotation vector [rad] in the base frame.
            state: The measured state.
            now_ns: ROS time [ns].

        Raises:
            PlanRefusedError: Not even a shortened form of it keeps all limits.
        """

    def stop(self, state: RobotState | None, now_ns: int) -> None:
        """Come to rest as fast as the limits allow."""

    def tracking_error(self, state: RobotState) -> float:
        """Return the largest distance [rad] of a measured joint from its command."""

    def take(self) -> Any:
        """Return the trajectory to send now, once, or None."""

    def active(self, now_ns: int) -> bool:
        """Return whether the command has not come to rest yet."""

    def postpone(self, now_ns: int) -> Any:
        """Return the trajectory taken last as one that starts now, if that changes nothing else; or None."""

    def withdraw(self, state: RobotState | None, now_ns: int) -> None:
        """Come to rest from the trajectory before: the one taken last was not sent."""

    def restart(self, state: RobotState, now_ns: int) -> None:
        """Start from where the arm is (somebody else may have moved it).

        Raises:
            PlanRefusedError: No motion within the limits brings command and arm together.
        """

    def clock_jumped(self, jump_ns: int) -> None:
        """Take what was commanded to have begun `jump_ns` later by the clock."""

    def start_on_arrival(self) -> None:
        """Let the trajectory that waits to be sent begin when it arrives."""

    def set_shadow(self, shadow: bool) -> None:
        """Say whether commands are only computed."""
