# SPDX-License-Identifier: Apache-2.0
"""A controller, an arm that follows what it sends, two clocks and everybody who may talk to it; and its laws.

Each method is one event, as the node would pass it on. After each the laws are checked:

1. every trajectory that was sent keeps all limits, at each millisecond, from the first message to the last;
2. the arm is at rest within the smoothing windows after the last reason to move;
3. the fingers' command changes only because a policy or a human asked;
4. no action claims a motion that was not sent;
5. supervision never stops: a step is made each period, and who went silent is noticed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from controller_rig import PERIOD_NS, POSE, S_NS, START_NS, make_chunk, make_config, make_episode, make_state
from motion_audit import MotionAudit

from physgen_control.controller.core import ControllerCore
from physgen_control.controller.fault_kinds import STOPPING
from physgen_control.controller_config import ArmInterface, Mode, RobotType
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.motion.trajectory import TrajectoryPlanner
from physgen_control.types import (
    AckResult,
    AppliedAction,
    ChunkAck,
    EpisodePhase,
    Fault,
    Limit,
    Pose,
    SafetyState,
    Source,
)

ROBOT = RobotType.FR3
GLITCHES = ("near", "far", "beyond", "huge", "nan", "zero stamp", "old", "tomorrow", "other pose")
CHUNKS = (
    "small",
    "small",
    "small",
    "large",
    "still",
    "nan",
    "long",
    "old",
    "ahead",
    "repeated",
    "other session",
)


class ControllerWorld:
    """See the module; `width` is what the fingers measure [m]."""

    def __init__(self, *, arm: bool, width: float = 0.08, **changes: Any) -> None:
        fields: dict[str, Any] = {"robot_type": ROBOT} | changes
        if arm:
            fields["arm_interface"] = ArmInterface.JOINT_TRAJECTORY
        self.config = make_config(**fields)
        self.planner = TrajectoryPlanner(self.config) if arm else None
        self.true_ns = START_NS
        self.jumped_ns = self.driver_jumped_ns = 0
        self.core = ControllerCore(self.config, self.planner, lambda: self.true_ns)
        limits = TrajectoryPlanner(self.config).limits
        self.audit = MotionAudit(limits, HOME.copy(), self.true_ns)
        self.width = width
        self.pushed = np.zeros(7)
        self.memory_ns = round((self.config.smoothing_time + self.config.smoothing_time_jerk + 0.07) * S_NS)
        self.seq = self.episodes = self.session = 0
        self.episode = ""
        self.late = False
        self.broken = False
        self.actions = self.moves = 0
        self._rest_by_ns = self.true_ns
        self._settling_until_ns = self.true_ns
        self._forbidden = True
        self._fingers: float | None = None
        self._heard_ns = self._ticked_ns = self._pressed_ns = -S_NS
        self._chunk_end: np.ndarray | None = None

    # --- time and states --------------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """What the controller's clock shows."""
        return self.true_ns + self.jumped_ns

    @property
    def driver_ns(self) -> int:
        """What the clock of the arm's driver shows."""
        return self.true_ns + self.driver_jumped_ns

    def step(self, count: int = 1) -> None:
        """Let control periods pass in which all is well: a state comes, then a step is made."""
        for _ in range(count):
            self._let(PERIOD_NS)
            self._observe(self.audit.position + self.pushed)
            self.tick()

    def pause(self, time_ns: int) -> None:
        """Let time pass without a state; steps are made."""
        while time_ns > 0:
            part_ns = min(time_ns, PERIOD_NS)
            self._let(part_ns)
            self.tick()
            time_ns -= part_ns

    def jump(self, seconds: float, *, driver: bool) -> None:
        """Somebody sets the controller's clock, and perhaps the driver's too."""
        self.jumped_ns += round(seconds * S_NS)
        if driver:
            self.driver_jumped_ns = self.jumped_ns

    def set_clocks_right(self) -> None:
        """Both clocks show true time again."""
        self.jumped_ns = self.driver_jumped_ns = 0

    def glitch(self, kind: str) -> None:
        """One state that cannot be true comes."""
        positions, stamp_ns, pose = self.audit.position.copy(), self.driver_ns, None
        match kind:
            case "near" | "far" | "beyond" | "huge":
                positions[3] += {"near": 0.06, "far": 0.5, "beyond": 3.0, "huge": 1e6}[kind]
            case "nan":
                positions[2] = np.nan
            case "zero stamp":
                stamp_ns = 0
            case "old":
                stamp_ns -= 10 * S_NS
            case "tomorrow":
                stamp_ns += 86_400 * S_NS
            case _:
                pose = POSE
        self._observe(positions, stamp_ns, pose)

    def push(self, joint: int, away: float) -> None:
        """Somebody pushes the arm, or lets it go (0).

        Before anything was sent, not farther than position control lets it.
        """
        self.pushed = np.zeros(7)
        self.pushed[joint] = away if self.audit.sent else min(away, 0.05)

    def tick(self) -> AppliedAction | None:
        """Make a control step."""
        due = self.true_ns - self._ticked_ns >= PERIOD_NS
        action = self.core.tick(self.now_ns)
        self._take(reason="tick")
        if action is None:
            asleep = self.core.state in (SafetyState.DISARMED, SafetyState.FAULT)
            assert asleep or not due or self.core._robot is None, "a control step was left out"
            self._check()
            return None
        self._ticked_ns = self.true_ns
        action = self.core.as_sent(action)
        self._check_action(action)
        self._check()
        return action

    # --- the policy -------------------------------------------------------------------------------------------

    def chunk(self, kind: str, seed: int = 0, gripper: float = 1.0, steps: int = 8) -> ChunkAck:
        """The policy sends a chunk; every kind but small, large and still is wrong somewhere."""
        self.seq += 1
        size = {"large": 0.02, "still": 0.0}.get(kind, 0.004)
        data = np.random.default_rng(seed).uniform(-size, size, (1, steps, 7)).astype(np.float32)
        data[..., 3:6] *= 2.0
        data[..., 6] = gripper
        changes: dict[str, Any] = {"data": data, "chunk_seq": self.seq, "session_id": f"s{self.session}"}
        changes |= {"episode_id": self.episode, "base_step": self.core._step}
        match kind:
            case "nan":
                data[0, seed % steps, seed % 7] = np.nan
            case "long":
                changes["data"] = np.zeros((1, 700, 7), np.float32)
            case "old":
                changes["observation_stamp_ns"] = self.now_ns - 3600 * S_NS
            case "ahead":
                changes["observation_stamp_ns"] = self.now_ns + 3600 * S_NS
            case "repeated":
                changes["chunk_seq"] = max(1, self.seq - 2)
            case "other session":
                self.session += 1
                changes["session_id"] = f"s{self.session}"
        ack = self.core.on_chunk(make_chunk(self.now_ns, **changes), self.now_ns)
        self._take(reason="chunk")
        if ack.result == AckResult.ACCEPTED and self.core.chunk_loaded:
            self._rest_by_ns = self.true_ns + (steps + 1) * PERIOD_NS + self.memory_ns
        self._check()
        return ack

    def late_trajectory(self) -> None:
        """The machine was busy: the next trajectory is ready too late."""
        self.late = True

    # --- humans -----------------------------------------------------------------------------------------------

    def deadman(self, pressed: bool) -> None:
        """A human presses or releases the deadman."""
        self.core.on_deadman(pressed, self.now_ns)
        self._pressed_ns = self.true_ns if pressed else -S_NS
        self._take(reason="stop")
        self._check()

    def twist(self, values: np.ndarray, gripper: float) -> None:
        """A human moves the arm."""
        self.core.on_teleop(values, gripper, self.now_ns)
        self._check()

    def operator(self, what: str) -> None:
        """An operator calls a service: arm, disarm, hold, clear_fault."""
        self.core.on_time(self.now_ns)
        self._take(reason="stop")
        getattr(self.core, what)()
        if what == "clear_fault":
            self.broken = False
        self._take(reason="arm" if what == "arm" else "stop")
        self._check()

    def mode(self, mode: Mode) -> None:
        """The mode changes."""
        self.core.on_time(self.now_ns)
        self.core.set_mode(mode)
        self._take(reason="stop")
        self._check()

    # --- everybody else ---------------------------------------------------------------------------------------

    def begin_episode(self) -> None:
        """A new episode is announced."""
        self.episodes += 1
        self.episode = f"e{self.episodes}"
        self._announce(EpisodePhase.RUNNING)

    def end_episode(self, phase: EpisodePhase) -> None:
        """The running episode ends."""
        self._announce(phase)
        self.episode = ""

    def report(self, what: str, value: Any) -> None:
        """A watchdog or the driver says something."""
        self.core.on_time(self.now_ns)
        match what:
            case "publishers":
                self.core.on_publisher_count(value)
            case "robot mode":
                self.core.on_robot_mode(value)
            case "wrench":
                self.core.on_wrench(value, 0.0)
            case "gripper":
                self.core.on_gripper(value)
            case "wall":
                self.core.on_wall(self.true_ns)
            case "silence":
                self.core.on_silence(*value)
            case _:
                self.broken = True
                self.core.internal_fault("a bug")
        self._take(reason="stop")
        self._check()

    # --- inside -----------------------------------------------------------------------------------------------

    def _let(self, time_ns: int) -> None:
        self.audit.advance(self.true_ns + time_ns)
        self.true_ns += time_ns

    def _observe(self, positions: np.ndarray, stamp_ns: int | None = None, pose: Pose | None = None) -> None:
        if pose is None:
            pose = forward(positions) if np.all(np.isfinite(positions)) else POSE
        stamp_ns = self.driver_ns if stamp_ns is None else stamp_ns
        state = make_state(stamp_ns, pose=pose, width=self.width, positions=positions)
        self.core.on_state(state, self.now_ns)
        self._heard_ns = self.true_ns
        self._take(reason="settle")
        self._check()

    def _announce(self, phase: EpisodePhase) -> None:
        self.core.on_time(self.now_ns)
        self._take(reason="stop")
        self.core.on_episode(make_episode(self.episode, self.now_ns, phase))
        self._take(reason="settle")
        self._check()

    def _take(self, reason: str) -> None:
        """Send what waits, as the node does; a settling motion is a reason of its own."""
        trajectory = self.core.take_trajectory()
        if trajectory is not None and self.late and trajectory.start_ns:
            self.late = False
            trajectory = self.core.on_late_trajectory(0.2, self.now_ns)
        if trajectory is None:
            return
        resting = self.audit.resting
        start_ns = trajectory.start_ns and trajectory.start_ns - self.driver_jumped_ns
        self.audit.arrive(trajectory, start_ns)
        self._chunk_end = trajectory.positions[-1]
        end_ns = self.true_ns + round((trajectory.times[-1] + 0.01) * S_NS)
        status = self.core.status  # a policy that is late may go on at any time
        waits = status.state is SafetyState.HOLD and not (status.estop or status.faults & STOPPING)
        may = reason == "arm" or status.state is SafetyState.ARMED or waits
        assert may or not resting, f"an arm at rest is moved in {self.core.state.name}"
        if reason in ("settle", "arm") or self.true_ns < self._settling_until_ns:
            self._settling_until_ns = end_ns
            self._rest_by_ns = max(self._rest_by_ns, end_ns)

    def _check_action(self, action: AppliedAction) -> None:
        self.actions += 1
        moves = bool(action.applied[:6].any())
        asked = action.source in (Source.POLICY, Source.TELEOP)
        assert asked or not moves, "a step that holds moves"
        assert np.all(np.isfinite(action.applied))
        if asked and action.executed:
            assert self.core.state is SafetyState.ARMED or not moves, f"moved in {self.core.state.name}"
        if moves and action.executed and self.planner is not None:
            self.moves += 1
            assert np.all(np.isfinite(action.target_positions)), "a motion without joint positions"
            assert self._chunk_end is not None, "a motion of which nothing was sent"
            if action.source == Source.TELEOP:
                np.testing.assert_allclose(action.target_positions, self._chunk_end, atol=1e-9)
        if action.source == Source.TELEOP:
            self._rest_by_ns = max(self._rest_by_ns, self.true_ns + PERIOD_NS + self.memory_ns)
        if action.source == Source.TELEOP or (asked and self.config.require_deadman):
            held_ns = self.true_ns - self._pressed_ns
            assert held_ns <= round(self.config.deadman_timeout * S_NS), "moved without a deadman"
        if self.core.gripper_commanded:
            command = float(action.applied[6])
            changed = self._fingers is not None and command != self._fingers
            assert not changed or asked, "the fingers' command changed and nobody asked"
            self._fingers = command
        elif self.planner is None:
            self._fingers = None  # a world without a hand of its own begins anew with each episode

    def _check(self) -> None:
        core, config = self.core, self.config
        assert not self.audit.violations, self.audit.violations
        assert self.broken or not core.status.faults & Fault.INTERNAL, core.status.detail
        silent_ns = self.true_ns - self._heard_ns
        overdue_ns = round(config.max_state_age * S_NS) + 2 * PERIOD_NS
        if silent_ns > overdue_ns and self.true_ns - self._ticked_ns < PERIOD_NS:
            assert core.state is not SafetyState.ARMED, "nobody noticed that no state comes"
        forbidden = core.state is not SafetyState.ARMED
        # Settling is slow and ends where the arm is; it is braked only where that is safe whatever the arm's controller
        # began it from.
        if forbidden and not self._forbidden and self.true_ns >= self._settling_until_ns:
            self._rest_by_ns = min(self._rest_by_ns, self.true_ns + self.memory_ns)
        self._forbidden = forbidden
        if self.true_ns > self._rest_by_ns + 2 * PERIOD_NS:
            assert self.audit.speed < 1e-9, f"still {self.audit.speed:.4f} rad/s without a reason"


__all__ = ["CHUNKS", "GLITCHES", "STOPPING", "ControllerWorld", "Limit"]
