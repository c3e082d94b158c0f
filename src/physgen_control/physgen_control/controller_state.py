# SPDX-License-Identifier: Apache-2.0
"""What a controller remembers and who may change it: operator's will, faults, watchdogs, and the state they lead to.

`controller_core.ControllerCore` adds chunks, episodes and control steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from physgen_control import gate
from physgen_control.chunk_player import ChunkPlayer
from physgen_control.controller_config import NS_PER_S, ControllerConfig, Mode, Pacing, seconds_to_ns
from physgen_control.gripper import GripperSwitch
from physgen_control.motion_planner import MotionPlanner, PlannedStep
from physgen_control.types import (
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    Fault,
    Float64Array,
    RobotState,
    SafetyState,
)

Answer = tuple[bool, str]
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="ControllerState")

# Faults that stop motion while they last. POLICY_LATE ends with the next valid chunk, the others with their cause.
STOPPING = (
    Fault.STATE_STALE
    | Fault.MULTIPLE_PUBLISHERS
    | Fault.TRACKING
    | Fault.WRENCH
    | Fault.ROBOT_MODE
    | Fault.DEADMAN
)
# Ended only by an operator: the arm may have been moved or blocked.
_STICKY = Fault.TRACKING | Fault.WRENCH | Fault.ROBOT_MODE
_KNOWN_EPISODES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySnapshot:
    """What SafetyStatus says: state_age in seconds (infinite before the first state), detail a sentence for people."""

    state: SafetyState
    faults: Fault
    estop: bool
    deadman: bool
    intervention: bool
    state_age: float
    last_chunk_seq: int
    detail: str


def guarded(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """An unexpected exception latches FAULT_INTERNAL, so that nothing moves whatever the caller does next."""

    @wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.internal_fault(f"{type(error).__name__} in {method.__name__}: {error}")
            raise

    return wrapper


class ControllerState:
    """The safety state and everything that it follows from."""

    def __init__(self, config: ControllerConfig, planner: MotionPlanner | None = None) -> None:
        self.config = config
        self._mode = config.mode
        self._planner = planner
        if planner is not None:
            planner.set_shadow(config.mode is Mode.SHADOW)
        self._player = ChunkPlayer(config.execution, config.bridge_steps)
        self._gripper = GripperSwitch(config)
        self._sessions = gate.SessionLog()
        # Operator's will and faults; the safety state follows from them.
        self._armed = False
        self._auto_armed = False
        self._latched = ""
        self._stop = ""
        self._faults = Fault.NONE
        self._causes: dict[Fault, str] = {}
        self._detail = "Not armed yet."
        self._publishers: int | None = None
        self._robot_obstacle = ""
        # Episode and step counting.
        self._episode: Episode | None = None
        self._ended: deque[str] = deque(maxlen=_KNOWN_EPISODES)
        self._stash: ActionChunk | None = None
        self._acks: deque[ChunkAck] = deque(maxlen=16)
        self._step = 0
        self._used_stamp_ns: int | None = None
        self._resend = False
        self._last: AppliedAction | None = None
        self._planned: dict[int, PlannedStep] = {}
        # Measured state and time.
        self._robot: RobotState | None = None
        self._now_ns = 0
        self._last_tick_ns: int | None = None
        self._idle_since_ns: int | None = None
        self._played_chunk = False
        self._progress = True
        self._state_came = True
        self._quiet_since_wall_ns: int | None = None
        self._stateless_since_wall_ns: int | None = None
        # Human input.
        self._twist: Float64Array = np.zeros(6)
        self._twist_gripper = 0.0
        self._twist_ns: int | None = None
        self._released_ns: int | None = None
        self._deadman_ns: int | None = None

    # --- operator ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> SafetyState:
        """The safety state."""
        if self._latched:
            return SafetyState.FAULT
        if not self._armed:
            return SafetyState.DISARMED
        if self._stop or self._faults & (STOPPING | Fault.POLICY_LATE):
            return SafetyState.HOLD
        return SafetyState.SHADOW if self._mode is Mode.SHADOW else SafetyState.ARMED

    @property
    def status(self) -> SafetySnapshot:
        """Everything SafetyStatus publishes."""
        robot = self._robot
        return SafetySnapshot(
            state=self.state,
            faults=self._faults,
            estop=bool(self._stop),
            deadman=not self.config.require_deadman or self._deadman_pressed(),
            intervention=self._teleop_active(),
            state_age=max(0.0, (self._now_ns - robot.stamp_ns) / NS_PER_S) if robot else float("inf"),
            last_chunk_seq=self._sessions.last_seq,
            detail=self._detail,
        )

    @property
    def deadman_pressed(self) -> bool:
        """A human holds the deadman, as far as was heard."""
        return self._deadman_pressed()

    @property
    def chunk_loaded(self) -> bool:
        """A chunk is being played, or waits for its episode to be announced."""
        return self._player.active or self._stash is not None

    def set_mode(self, mode: Mode | str) -> Answer:
        """Choose whether arming commands the arm (`armed`) or only computes (`shadow`)."""
        try:
            wanted = Mode(mode)
        except ValueError:
            return False, f"The mode must be armed or shadow, got {mode!r}."
        if wanted is not self._mode:
            self._halt()
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
        self._armed, self._stop = True, ""
        self._faults &= ~(_STICKY | Fault.POLICY_LATE | Fault.CHUNK_REJECTED)
        self._restart_planner()
        self._expect_chunk()
        self._detail = f"{self.state.name}: waiting for a chunk."
        return True, f"The controller is {self.state.name}."

    def auto_arm(self) -> bool:
        """Arm once if the configuration asks for it and the preconditions hold; say whether that happened now."""
        if not self.config.auto_arm or self._auto_armed or self._armed:
            return False
        self._auto_armed, sentence = self.arm()
        if not self._auto_armed and not self._latched:
            self._detail = sentence
        return self._auto_armed

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

    def clear_fault(self) -> Answer:
        """Leave FAULT for DISARMED and forget faults that need an operator."""
        was = self.state
        self._faults &= ~(_STICKY | Fault.INTERNAL | Fault.CHUNK_REJECTED | Fault.GRIPPER)
        if self._latched:
            self._latched, self._armed = "", False
            self._detail = "Fault cleared: arm again to continue."
        return True, f"{was.name} -> {self.state.name}."

    def internal_fault(self, sentence: str) -> None:
        """Latch FAULT: something happened that the code did not expect. Never raises."""
        self._faults |= Fault.INTERNAL
        self._latched = sentence
        self._detail = f"Internal fault, nothing moves: {sentence}"
        self._player.clear()
        self._planned.clear()
        self._stash = None

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
            self._faults &= ~Fault.MULTIPLE_PUBLISHERS

    @guarded
    def on_wall(self, now_steady_ns: int) -> None:
        """Watch on a clock that always runs: a silent policy or robot shows although simulated time stands still."""
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
            self._drop_chunk()
            self._raise(
                Fault.STATE_STALE,
                f"No robot state for {self.config.policy_timeout:g} s: is the robot or the simulator running?",
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
        """Report that a trajectory was ready `late` seconds after its start; returns what to send instead, if anything.

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

    # --- bookkeeping ------------------------------------------------------------------------------------------

    def _advance(self, now_ns: int) -> None:
        """The clock and the states travel on different topics: whichever is ahead is the time."""
        self._now_ns = max(now_ns, self._robot.stamp_ns) if self._robot is not None else now_ns

    def _begin(self, episode: Episode | None) -> None:
        self._halt()
        if episode is not None and self._armed:
            self._restart_planner()
        self._episode, self._step = episode, 0
        self._used_stamp_ns, self._resend, self._last = None, False, None
        self._gripper.reset()
        self._faults &= ~Fault.POLICY_LATE
        self._expect_chunk()
        if self._armed and not self._latched and not self._stop:
            self._detail = f"{self.state.name}: " + (
                "waiting for a chunk." if episode else "between episodes."
            )

    def _expect_chunk(self) -> None:
        self._played_chunk, self._idle_since_ns, self._progress = False, None, True

    def _chunk_expected(self) -> bool:
        # A graph for teleoperation alone has no policy that could be late.
        nobody = self._publishers == 0 and not self.config.require_publisher
        return (self._episode is not None and not nobody) or self._played_chunk

    def _may_move(self) -> bool:
        return self._armed and not self._latched and not self._stop and not self._faults & STOPPING

    def _drop_chunk(self) -> None:
        self._player.clear()
        self._planned.clear()

    def _halt(self) -> None:
        """Drop what is playing and bring the arm to rest."""
        moving = self._player.active or self._teleop_active()
        self._drop_chunk()
        self._twist_ns = None
        if self._planner is not None and moving:
            self._planner.stop(self._robot, self._now_ns)

    def _restart_planner(self) -> None:
        fresh = not gate.stale_sentence(self._robot, self._now_ns, self.config)
        if self._planner is not None and self._robot is not None and fresh:
            self._planner.restart(self._robot, self._now_ns)

    def _raise(self, fault: Fault, sentence: str) -> None:
        self._faults |= fault
        self._detail = self._causes[fault] = sentence

    def _watch_inputs(self) -> None:
        if self._twist_ns is not None and (
            self._now_ns - self._twist_ns > seconds_to_ns(self.config.teleop_timeout)
            or not self._deadman_pressed()
        ):
            self._end_teleop()
        if not self.config.require_deadman or self._deadman_pressed():
            self._faults &= ~Fault.DEADMAN
        elif self._armed and not self._faults & Fault.DEADMAN:
            self._halt()
            self._raise(Fault.DEADMAN, "The deadman is released: press it and send a new chunk.")

    def _watch_tracking(self, robot: RobotState) -> None:
        if self._planner is None or self._mode is Mode.SHADOW or self._faults & Fault.TRACKING:
            return
        # Between episodes, at rest, a person may lead the arm by hand.
        if self._episode is None and not self._player.active and not self._planner.active(self._now_ns):
            return
        error = self._planner.tracking_error(robot)
        if error > self.config.tracking_limit:
            self._halt()
            self._raise(
                Fault.TRACKING,
                f"A joint is {error:.3f} rad from its command, allowed is {self.config.tracking_limit:g} rad: free the "
                "arm and arm again.",
            )

    def _end_teleop(self) -> None:
        """The human let go: come to rest now, not where the last twist would have led."""
        self._twist_ns, self._released_ns = None, self._now_ns
        if self._planner is not None:
            self._planner.stop(self._robot, self._now_ns)

    def _deadman_pressed(self) -> bool:
        timeout_ns = seconds_to_ns(self.config.deadman_timeout)
        return self._deadman_ns is not None and self._now_ns - self._deadman_ns <= timeout_ns

    def _teleop_active(self) -> bool:
        return self._twist_ns is not None

    def _recently_released(self) -> bool:
        release_ns = seconds_to_ns(self.config.teleop_release)
        return self._released_ns is not None and 0 <= self._now_ns - self._released_ns < release_ns
