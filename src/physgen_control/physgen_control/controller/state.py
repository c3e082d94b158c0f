# SPDX-License-Identifier: Apache-2.0
"""What a controller remembers and who may change it: operator's will, faults, watchdogs, and the state they lead to.

`core.ControllerCore` adds chunks, episodes and control steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from physgen_control.controller import gate
from physgen_control.controller.chunk_player import ChunkPlayer
from physgen_control.controller.clock_watch import ClockWatch, Mark
from physgen_control.controller.fault_kinds import STOPPING
from physgen_control.controller.gripper import GripperSwitch
from physgen_control.controller.snapshot import SafetySnapshot
from physgen_control.controller.state_belief import StateBelief
from physgen_control.controller_config import ControllerConfig, Mode, Pacing, seconds_to_ns
from physgen_control.errors import UserError
from physgen_control.motion.motion_planner import MotionPlanner, PlannedStep, PlanRefusedError
from physgen_control.types import (
    NS_PER_S,
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    Fault,
    Float64Array,
    RobotState,
    SafetyState,
)

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="ControllerState")

DEADMAN_RELEASED = "The deadman is released: press it and send a new chunk."
_KNOWN_EPISODES = 64


def guarded(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Latch FAULT_INTERNAL at an unexpected exception, so that nothing moves whatever the caller does next."""

    @wraps(method)
    def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            self.internal_fault(f"{type(error).__name__} in {method.__name__}: {error}")
            raise

    return wrapper


class ControllerState:
    """The safety state and everything that it follows from.

    Args:
        config: Limits, checks and modes.
        planner: Makes trajectories for an arm that is commanded in joint space; None: a world takes applied actions.
        steady: Returns steady time [ns]; left out where ROS time is simulated.
        graph: Sessions of another graph are refused; empty: none is.

    Raises:
        UserError: bridge_steps is set although there is an arm.
    """

    def __init__(
        self,
        config: ControllerConfig,
        planner: MotionPlanner | None = None,
        steady: Callable[[], int] | None = None,
        graph: str = "",
    ) -> None:
        self.config = config
        self._clock = ClockWatch(config.control_period_ns, steady)
        if planner is not None and config.bridge_steps:
            raise UserError("bridge_steps must be 0 with an arm: lookahead actions are not planned.")
        self._mode = config.mode
        self._planner = planner
        if planner is not None:
            planner.set_shadow(config.mode is Mode.SHADOW)
        self._player = ChunkPlayer(config.execution, config.bridge_steps)
        self._gripper = GripperSwitch(config)
        self._sessions = gate.SessionLog(graph)
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
        self._unsent: AppliedAction | None = None
        self._planned: dict[int, PlannedStep] = {}
        # Measured state and time.
        self._robot: RobotState | None = None
        self._now_ns = 0
        self._last_tick: Mark | None = None
        self._heard: Mark | None = None
        self._clock_jumped = False
        self._clock_doubted = False
        self._idle_since_ns: int | None = None
        self._played_chunk = False
        self._progress = True
        self._state_came = True
        self._quiet_since_wall_ns: int | None = None
        self._stateless_since_wall_ns: int | None = None
        # Human input.
        self._twist: Float64Array = np.zeros(6)
        self._twist_gripper = 0.0
        self._belief = StateBelief(config) if planner is not None else None
        self._twisted: Mark | None = None
        self._released: Mark | None = None
        self._deadman: Mark | None = None

    # --- what is known ----------------------------------------------------------------------------------------

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
        """Return everything that SafetyStatus publishes."""
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
        """Whether a human holds the deadman, as far as was heard."""
        return self._deadman_pressed()

    @property
    def gripper_commanded(self) -> bool:
        """Whether a policy or a human asked for the gripper command in force; else nothing may move the fingers."""
        return self._gripper.commanded

    @property
    def chunk_loaded(self) -> bool:
        """Whether a chunk is being played, or waits for its episode to be announced."""
        return self._player.active or self._stash is not None

    def internal_fault(self, sentence: str) -> None:
        """Latch FAULT: something happened that the code did not expect. Never raises."""
        self._faults |= Fault.INTERNAL
        self._latched = sentence
        self._detail = f"Internal fault, nothing moves: {sentence}"
        self._player.clear()
        self._planned.clear()
        self._stash = self._twisted = None
        if self._planner is not None:
            try:
                self._planner.stop(self._robot, self._now_ns)
            except Exception as error:  # noqa: BLE001  (whatever fails, the arm holds)
                # The trajectory that runs was checked and ends at rest by itself.
                self._detail += f" (No stop could be planned: {type(error).__name__}.)"

    # --- bookkeeping ------------------------------------------------------------------------------------------

    def _advance(self, now_ns: int) -> None:
        """Take the newest time: clock and states travel on different topics, and whichever is ahead is the time."""
        if self.config.pacing is Pacing.TIMER:
            jump_ns = self._clock.jump(now_ns)
            if jump_ns:
                self._on_jump(jump_ns, now_ns)
        robot = self._robot
        self._now_ns = max(now_ns, robot.stamp_ns) if robot is not None else now_ns

    def _on_jump(self, jump_ns: int, now_ns: int) -> None:
        """Stop, and hear anew who presses what and where the arm is: all that was known has stamps of another time."""
        self._clock_doubted = True
        self._drop_chunk()
        self._deadman = self._twisted = self._released = None
        self._last_tick = self._idle_since_ns = self._robot = None
        self._heard = self._heard and self._heard.shifted(jump_ns)
        if self._belief is not None:
            self._belief.clock_jumped(jump_ns)
        if self._planner is not None:
            self._planner.clock_jumped(jump_ns)
            self._planner.stop(None, now_ns)
        if self._armed:
            way = "ahead" if jump_ns > 0 else "back"
            # A gap in the states that came before is still a gap.
            self._clock_jumped = self._clock_jumped or not self._faults & Fault.STATE_STALE
            self._raise(
                Fault.STATE_STALE,
                f"The clock went {way} by {abs(jump_ns) / NS_PER_S:.3f} s: holding until states of the new time come.",
            )

    def _end_jump(self) -> None:
        """States of the new time came, without a gap: go on as at the start of an episode."""
        self._clock_jumped = False
        self._faults &= ~Fault.STATE_STALE
        if not self._may_move():
            return
        try:
            self._restart_planner()
        except PlanRefusedError as error:
            self._raise(Fault.TRACKING, f"{error} Arm again when the arm is free.")
            return
        self._expect_chunk()
        self._detail = f"{self.state.name}: the clock is steady again, waiting for a chunk."

    def _begin(self, episode: Episode | None) -> None:
        if self._player.active or self._teleop_active():  # settling after arming goes on
            self._halt()
        self._drop_chunk()
        if episode is not None and self._may_move():
            try:
                self._restart_planner()
            except PlanRefusedError as error:
                self._raise(Fault.TRACKING, f"{error} Arm again when the arm is free.")
        self._episode, self._step = episode, 0
        self._used_stamp_ns, self._resend, self._last = None, False, None
        if episode is not None and (self._planner is None or self._fingers_were_opened()):
            self._gripper.reset()
        self._faults &= ~Fault.POLICY_LATE
        self._expect_chunk()
        if self._may_move():
            self._detail = f"{self.state.name}: " + (
                "waiting for a chunk." if episode else "between episodes."
            )

    def _fingers_were_opened(self) -> bool:
        """Return whether somebody else opened the fingers wider than anything that they could hold."""
        robot = self._robot
        if robot is None or self._gripper.current(robot.gripper_width) > 0:
            return False
        return robot.gripper_width >= 0.95 * self.config.gripper_open_width

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
        """Drop what is playing and bring the arm to rest, whatever it moves for."""
        self._drop_chunk()
        self._twisted = None
        if self._planner is not None:
            self._planner.stop(self._robot, self._now_ns)

    def _restart_planner(self) -> None:
        fresh = not gate.stale_sentence(self._robot, self._now_ns, self.config)
        if self._planner is not None and self._robot is not None and fresh:
            self._planner.restart(self._robot, self._now_ns)

    def _raise(self, fault: Fault, sentence: str) -> None:
        self._faults |= fault
        self._detail = self._causes[fault] = sentence

    def _end(self, fault: Fault) -> None:
        """End a hold whose cause is over by itself."""
        if self._faults & fault:
            self._faults &= ~fault
            if self._may_move():
                self._detail = f"{self.state.name}: waiting for a chunk."

    def _watch_inputs(self) -> None:
        if self._clock_jumped and not self._recent(self._heard, self.config.max_state_age):
            self._clock_jumped = False  # a gap as well: only arming goes on
        if self._teleop_active() and not (
            self._recent(self._twisted, self.config.teleop_timeout) and self._deadman_pressed()
        ):
            self._end_teleop()
        if not self.config.require_deadman or self._deadman_pressed():
            self._end(Fault.DEADMAN)
        elif self._armed and not self._faults & Fault.DEADMAN:
            self._halt()
            self._raise(Fault.DEADMAN, DEADMAN_RELEASED)

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
        """Come to rest now that the human let go, not where the last twist would have led."""
        self._twisted, self._released = None, self._clock.mark(self._now_ns)
        if self._planner is not None:
            self._planner.stop(self._robot, self._now_ns)

    def _deadman_pressed(self) -> bool:
        return self._recent(self._deadman, self.config.deadman_timeout)

    def _teleop_active(self) -> bool:
        return self._twisted is not None

    def _recently_released(self) -> bool:
        release_ns = seconds_to_ns(self.config.teleop_release)
        return self._clock.within(self._released, self._now_ns, release_ns - 1)

    def _recent(self, mark: Mark | None, timeout: float) -> bool:
        """Return whether something was heard within `timeout` seconds, by both clocks."""
        return self._clock.within(mark, self._now_ns, seconds_to_ns(timeout))
