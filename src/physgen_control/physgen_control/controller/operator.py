# SPDX-License-Identifier: Apache-2.0
"""What an operator may ask of the controller: mode, arming, hold, the end of a fault; each answered with a sentence."""

from __future__ import annotations

from physgen_control.controller import gate
from physgen_control.controller.fault_kinds import STICKY, STOPPING
from physgen_control.controller.state import DEADMAN_RELEASED, ControllerState, guarded
from physgen_control.controller_config import Mode, Pacing
from physgen_control.motion.motion_planner import PlanRefusedError
from physgen_control.types import (
    Fault,
)

Answer = tuple[bool, str]


class ControllerOperator(ControllerState):
    """Decides whether the arm may move at all."""

    def set_mode(self, mode: Mode | str) -> Answer:
        """Choose whether arming commands the arm (`armed`) or only computes (`shadow`)."""
        try:
            wanted = Mode(mode)
        except ValueError:
            return False, f"The mode must be armed or shadow, got {mode!r}."
        if wanted is not self._mode:
            self._halt()
            if self._planner is not None and self._planner.active(self._now_ns):
                # In shadow nothing is sent, not even the stop.
                return False, "The arm is coming to rest: ask for the mode again when it is."
            self._mode = wanted
            if self._planner is not None:
                self._planner.set_shadow(wanted is Mode.SHADOW)
        return True, f"Mode {wanted.value}."

    @guarded
    def arm(self) -> Answer:
        """Allow motion if the preconditions hold; also ends a hold."""
        obstacles = self._arming_obstacles()
        if obstacles:
            return False, " ".join(obstacles)
        try:
            self._restart_planner()
        except PlanRefusedError as error:
            return False, str(error)
        self._armed, self._stop = True, ""
        self._faults &= ~(STICKY | Fault.POLICY_LATE | Fault.CHUNK_REJECTED)
        if self._planner is not None:
            self._faults &= ~Fault.STATE_STALE
            self._clock_jumped = False
        self._expect_chunk()
        if self._faults & Fault.DEADMAN:
            self._detail = DEADMAN_RELEASED
        elif self._may_move():
            self._detail = f"{self.state.name}: waiting for a chunk."
        return True, f"The controller is {self.state.name}."

    def auto_arm(self) -> bool:
        """Arm once if the configuration asks for it and the preconditions hold; say whether that happened now.

        After a gap in the states it arms again, as an operator would: nobody sits beside a simulated arm.
        """
        if self.config.auto_arm and self._armed and self._only_gap():
            return self.arm()[0]
        if not self.config.auto_arm or self._auto_armed or self._armed:
            return False
        self._auto_armed, sentence = self.arm()
        if not self._auto_armed and not self._latched:
            self._detail = sentence
        return self._auto_armed

    def _only_gap(self) -> bool:
        """Return whether nothing but a gap in the robot states, now over, keeps an arm from moving."""
        gap = self._faults & STOPPING == Fault.STATE_STALE
        return gap and not self._stop and not self._latched and not self._arming_obstacles()

    @guarded
    def disarm(self) -> Answer:
        """Stop and forbid motion."""
        self._halt()
        self._armed, self._auto_armed, self._stop = False, True, ""
        self._detail = "Disarmed by request."
        return True, "The controller is DISARMED."

    @guarded
    def hold(self) -> Answer:
        """Stop now and stay stopped until armed again. This is software, not a safety-rated stop."""
        self._halt()
        self._stop = self._detail = "Held by request: arm again to continue."
        return True, f"Motion stopped; the controller is {self.state.name}."

    @guarded
    def clear_fault(self) -> Answer:
        """Forget faults that need an operator; whatever had stopped the arm, it is DISARMED afterwards."""
        was = self.state
        if self._faults & STICKY:
            self._halt()
            self._armed = False
            self._detail = "Fault cleared: arm again to continue."
        self._faults &= ~(STICKY | Fault.INTERNAL | Fault.CHUNK_REJECTED | Fault.GRIPPER)
        if self._latched:
            self._latched, self._armed = "", False
            self._detail = "Fault cleared: arm again to continue."
        return True, f"{was.name} -> {self.state.name}."

    def _arming_obstacles(self) -> list[str]:
        """Return every precondition that does not hold, a sentence each."""
        obstacles = []
        if self._latched:
            obstacles.append(f"FAULT is latched: clear_fault first. Cause: {self._latched}")
        if self._robot_obstacle:
            obstacles.append(f"{self._robot_obstacle} Recover the robot first (/physgen/recover).")
        if self._publishers is not None and self._publishers > 1:
            obstacles.append(f"{self._publishers} nodes publish action chunks: stop all but one.")
        if self._publishers == 0 and self.config.require_publisher:
            obstacles.append(
                "Nobody publishes action chunks yet: start the policy (or set require_publisher:=false to teleoperate)."
            )
        if self.config.arm_without_state:
            return obstacles
        ages = self.config.pacing is Pacing.TIMER or self._robot is None
        stale = gate.stale_sentence(self._robot, self._now_ns, self.config) if ages else ""
        return [*obstacles, stale] if stale else obstacles
