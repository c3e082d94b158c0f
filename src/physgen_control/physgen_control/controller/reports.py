# SPDX-License-Identifier: Apache-2.0
"""What is reported to a controller beside states, chunks and episodes: watchdogs, the arm's driver, and a human.

Each report may stop the arm; none starts a motion of its own but a human's twist.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from physgen_control.controller.operator import ControllerOperator
from physgen_control.controller.state import guarded
from physgen_control.controller_config import Pacing, seconds_to_ns
from physgen_control.types import Fault, Float64Array


class ControllerReports(ControllerOperator):
    """Takes reports and raises faults."""

    @guarded
    def on_time(self, now_ns: int) -> None:
        """Say what time it is; a request or report that carries no time of its own counts as of then."""
        self._advance(now_ns)

    # --- watchdogs --------------------------------------------------------------------------------------------

    @guarded
    def on_publisher_count(self, count: int) -> None:
        """Report how many nodes publish chunks; two are never obeyed."""
        self._publishers = count
        if count > 1:
            if not self._faults & Fault.MULTIPLE_PUBLISHERS:
                self._halt()
            self._raise(Fault.MULTIPLE_PUBLISHERS, f"{count} nodes publish action chunks: stop all but one.")
        else:
            self._end(Fault.MULTIPLE_PUBLISHERS)

    @guarded
    def on_wall(self, now_steady_ns: int) -> None:
        """Notice a silent policy or robot by a clock that always runs, also while simulated time stands still.

        Args:
            now_steady_ns: Steady time [ns].
        """
        timeout_ns = seconds_to_ns(self.config.policy_timeout)
        expecting = (
            self._armed and self._chunk_expected() and not self._player.active and not self._teleop_active()
        )
        if self._progress or not expecting or self._quiet_since_wall_ns is None:
            self._quiet_since_wall_ns, self._progress = now_steady_ns, False
        elif now_steady_ns - self._quiet_since_wall_ns > timeout_ns and not self._faults & Fault.POLICY_LATE:
            self._raise(
                Fault.POLICY_LATE,
                f"No valid chunk for {self.config.policy_timeout:g} s: holding until the policy sends one.",
            )
        # A world that waits repeats its state when it likes; only a running arm owes us one.
        waits = self.config.pacing is Pacing.STATE
        if self._state_came or waits or not self._armed or self._robot is None or self._episode is None:
            self._stateless_since_wall_ns, self._state_came = now_steady_ns, False
        elif (
            now_steady_ns - (self._stateless_since_wall_ns or now_steady_ns) > timeout_ns
            and not self._faults & Fault.STATE_STALE
        ):
            self._halt()
            self._raise(
                Fault.STATE_STALE,
                f"No robot state for {self.config.policy_timeout:g} s: is the robot or the simulator running?",
            )

    @guarded
    def on_silence(self, policy: float, world: float) -> None:
        """Report for how long the processes of policy and world have been silent [s]; 0: heard, or never there."""
        timer = self.config.pacing is Pacing.TIMER  # a world that waits waits for a slow policy, too
        if (
            policy
            and timer
            and self._armed
            and self._chunk_expected()
            and not self._faults & Fault.POLICY_LATE
        ):
            self._halt()
            self._raise(
                Fault.POLICY_LATE,
                f"The policy's process has been silent for {policy:.1f} s: holding until it sends a chunk.",
            )
        if world and self._armed and not self._faults & Fault.STATE_STALE:
            self._halt()
            self._raise(
                Fault.STATE_STALE,
                f"The process of the robot or the simulator has been silent for {world:.1f} s: is it running?",
            )

    @guarded
    def on_robot_mode(self, obstacle: str) -> None:
        """Report why the arm's driver does not move it (reflex, user stop, hand guiding); empty: it would."""
        self._robot_obstacle = obstacle
        if obstacle and self._armed and not self._faults & Fault.ROBOT_MODE:
            self._halt()
            self._raise(Fault.ROBOT_MODE, f"{obstacle} Recover the robot, then arm again.")

    @guarded
    def on_late_trajectory(self, late: float, now_ns: int) -> Any:
        """Report that a trajectory was ready `late` seconds after its start; return what to send instead, or None.

        From rest it may simply start later. In motion it would not join the one before: that one comes to rest.
        """
        self._advance(now_ns)
        if self._planner is None:
            return None
        postponed = self._planner.postpone(self._now_ns)
        if postponed is not None:
            return postponed
        stopping = not self._player.active  # then whatever stopped the arm has said why
        self._drop_chunk()
        self._planner.withdraw(self._robot, self._now_ns)
        self._unsent = self._last
        if not stopping:
            self._raise(
                Fault.POLICY_LATE,
                f"A trajectory was ready {late:.3f} s late and was not sent: this machine is overloaded.",
            )
        return self._planner.take()

    def remark(self, sentence: str) -> None:
        """Tell people something that changes no state."""
        self._detail = sentence

    @guarded
    def on_wrench(self, force: float, torque: float) -> None:
        """Report the magnitude of the external force [N] and torque [Nm] at the tool."""
        config = self.config
        within = force <= config.max_force and torque <= config.max_torque  # false for NaN
        if within or not self._armed or self._faults & Fault.WRENCH:
            return
        self._halt()
        self._raise(
            Fault.WRENCH,
            f"The arm feels {force:.1f} N and {torque:.1f} Nm, allowed are {config.max_force:g} N and "
            f"{config.max_torque:g} Nm (max_force, max_torque): free it and arm again.",
        )

    @guarded
    def on_gripper(self, trouble: str) -> None:
        """Report that the gripper driver refused or failed a goal; empty: a goal succeeded."""
        if trouble:
            self._raise(Fault.GRIPPER, trouble)
        else:
            self._faults &= ~Fault.GRIPPER

    # --- human ------------------------------------------------------------------------------------------------

    @guarded
    def on_deadman(self, pressed: bool, now_ns: int) -> None:
        """Report the deadman; it must be repeated faster than deadman_timeout."""
        self._advance(now_ns)
        self._deadman = self._clock.mark(self._now_ns) if pressed else None
        if not pressed and self._teleop_active():
            self._end_teleop()

    @guarded
    def on_teleop(self, twist: Float64Array, gripper: float, now_ns: int) -> None:
        """Take a human's command, which wins at once.

        Args:
            twist: TCP velocity [m/s] and turn rate [rad/s] in the base frame.
            gripper: +1 open, -1 closed, 0 or NaN keep.
            now_ns: Arrival [ROS time].
        """
        values = np.asarray(twist, np.float64)
        if values.shape != (6,) or not np.all(np.isfinite(values)):
            self._detail = f"A teleop twist must be six finite numbers, got {values.tolist()}: ignored."
            return
        self._advance(now_ns)
        if not self._deadman_pressed():
            return
        if not self._teleop_active():
            self._drop_chunk()
        self._twist, self._twist_gripper = values.copy(), gripper
        self._twisted, self._released = self._clock.mark(self._now_ns), None
        self._faults &= ~Fault.POLICY_LATE
        self._progress = True
