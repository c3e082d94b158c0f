# SPDX-License-Identifier: Apache-2.0
"""The fake cell: follower, joints, fingers, cube and injected faults advance together in control cycles. No ROS."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physgen_control.errors import UserError
from physgen_control.motion.joint_path import quintic
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.program.parameter_field import parameter
from physgen_control.types import NS_PER_S, Float64Array, Pose
from physgen_sim_bridge.fake_franka.arm import STEP, RobotMode, SimulatedArm
from physgen_sim_bridge.fake_franka.follower import TrajectoryCommand, TrajectoryFollower, in_arm_order
from physgen_sim_bridge.fake_franka.table import Fingers, Table

JOINTS = tuple(f"fr3_joint{index}" for index in range(1, 8))
_STEP_NS = round(STEP * NS_PER_S)
_BATCH = 20
_FORCE_PER_RADIAN = 1200.0
"""Franka's joint gain of 600 Nm/rad at a lever of half a metre [N/rad]."""

_REST_NS = 100_000_000
"""After homing, the joints' servo has come to rest within this time."""

# Homing is a rest-to-rest quintic at these shares of the limits.
_HOMING_SPEED, _HOMING_ACCELERATION = 0.8, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultConfig:
    """Faults present from the start; the node's services add more."""

    noise: float = parameter(
        0.0, description="Noise of joint positions (standard deviation)", unit="rad", ge=0, le=0.1
    )
    state_latency: float = parameter(
        0.0, description="States and images arrive this late", unit="s", ge=0, le=5
    )
    command_latency: float = parameter(
        0.0, description="Trajectories take effect this late", unit="s", ge=0, le=5
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement of the arm."""

    stamp_ns: int
    """When [ns of ROS time]."""
    positions: Float64Array
    """float64 [7] in rad."""
    velocities: Float64Array
    """float64 [7] in rad/s."""
    gripper_width: float
    """Opening [m]."""
    tcp_pose: Pose
    """Of hand_tcp in the base frame."""


class FakeFranka:
    """Everything behind the driver's topics. One thread calls it; time is ROS time in ns and never goes back."""

    def __init__(self, task: str, faults: FaultConfig, now_ns: int, seed: int = 0) -> None:
        self.table = Table(task)
        self.table.reset(seed)
        self.fingers = Fingers()
        self.arm = SimulatedArm(HOME)
        self.follower = TrajectoryFollower(HOME, now_ns)
        self.controller_active = True
        self.driver_active = True
        self.frozen = False
        self.drop_goals = False
        self.fail_goals = False
        self.refused = ""
        self._faults = faults
        self._rng = np.random.default_rng(seed)
        self._now_ns = now_ns
        self._late: deque[tuple[int, TrajectoryCommand]] = deque()
        self._homing: tuple[int, Float64Array, tuple[Float64Array, Float64Array, Float64Array]] | None = None

    # --- commands ---------------------------------------------------------------------------------------------

    def command(self, names: Sequence[str], command: TrajectoryCommand, now_ns: int) -> str:
        """Take a joint trajectory; return why the controller refuses it, or an empty text."""
        order = in_arm_order(names, JOINTS)
        if order is None:
            return f"the joints must be {', '.join(JOINTS)}"
        if not self.controller_active:
            return "the controller is not active"
        parts = (command.positions, command.velocities, command.accelerations)
        if any(part is not None and part.shape != (len(command.times), len(JOINTS)) for part in parts):
            return f"every point needs {len(JOINTS)} numbers"
        ordered = TrajectoryCommand(
            start_ns=command.start_ns,
            times=command.times,
            positions=command.positions[:, order],
            velocities=None if command.velocities is None else command.velocities[:, order],
            accelerations=None if command.accelerations is None else command.accelerations[:, order],
        )
        latency_ns = round(self._faults.command_latency * NS_PER_S)
        if latency_ns:
            self._late.append((now_ns + latency_ns, ordered))
            return ""
        self.advance(now_ns)
        return self.follower.accept(ordered, self._now_ns)

    def reflex(self, error: str = "cartesian_reflex") -> None:
        """Stop the arm as a collision would."""
        self.arm.reflex = error
        self._fail()

    def set_user_stop(self, pressed: bool) -> None:
        """Press or release the user stop; releasing does not start the controller again."""
        self.arm.user_stop = pressed
        if pressed:
            self._fail()

    def recover(self) -> None:
        """Error recovery alone, as the action does: the hardware and its controllers stay inactive."""
        self.arm.recover()

    def activate_hardware(self) -> str:
        """Activate the driver's hardware component, so that states come again; return why not, or an empty text."""
        if not self.arm.may_move:
            return f"the robot is in {self.arm.mode.name}: {self.arm.reflex or 'user stop'}"
        self.driver_active = True
        return ""

    def activate(self) -> str:
        """Activate the motion controller, which then holds the measured joints; return why not, or an empty text."""
        if not self.driver_active:
            return "the hardware component is not active"
        self.follower.hold(self.arm.positions, self._now_ns)
        self.arm.begin_motion()
        self.controller_active = True
        return ""

    def home(self) -> float:
        """Move to the start configuration without the motion controller; return the duration [s].

        Raises:
            UserError: A reflex, a user stop or an inactive driver keeps the arm from moving.
        """
        if not self.arm.may_move or not self.driver_active:
            raise UserError("The fake arm cannot go home: release the user stop and recover it first.")
        start = self.desired()  # possibly in motion
        self.controller_active = False
        self._late.clear()
        away = np.abs(HOME - start[0])
        seconds = max(
            0.5,
            float(np.max(1.875 * away / _HOMING_SPEED)),
            float(np.max(np.sqrt(5.774 * away / _HOMING_ACCELERATION))),
        )
        rest = np.zeros(7)
        knots = (np.stack([start[0], HOME]), np.stack([start[1], rest]), np.stack([start[2], rest]))
        self._homing = (self._now_ns, np.array([0.0, seconds]), knots)
        self.fingers.command(0.08, 0.1)
        return seconds

    @property
    def homing(self) -> bool:
        """Whether the arm is on the way to the start configuration."""
        return self._homing is not None

    @property
    def reporting(self) -> bool:
        """Whether joint states and poses are published."""
        return self.driver_active and not self.frozen

    # --- time -------------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> None:
        """Run control cycles until `now_ns`; after a long pause of the process at most ten seconds are made up."""
        self._now_ns = max(self._now_ns, now_ns - 10 * NS_PER_S)
        while now_ns - self._now_ns >= _STEP_NS:  # a time in the past changes nothing
            if self._late and self._late[0][0] <= self._now_ns:
                self.refused = self.follower.accept(self._late.popleft()[1], self._now_ns)
            count = min(_BATCH, (now_ns - self._now_ns) // _STEP_NS)
            offsets = np.arange(1, count + 1) * np.float64(STEP)
            for position, velocity, acceleration in zip(*self._desired(offsets), strict=True):
                self.arm.step(position, velocity, acceleration)
            self.table.step(forward(self.arm.positions), self.fingers, count * STEP)
            self._now_ns += count * _STEP_NS
            if not self.arm.may_move:
                self._fail()
            if (
                self._homing is not None
                and self._now_ns - self._homing[0] > self._homing[1][-1] * NS_PER_S + _REST_NS
            ):
                self._homing = None
                self.activate()

    def _desired(self, offsets: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        if self._homing is None:
            return self.follower.sample(offsets, self._now_ns)
        start_ns, times, knots = self._homing
        at = offsets + (self._now_ns - start_ns) / NS_PER_S
        position, velocity, acceleration, _ = quintic(times, knots, at)
        ended = at >= times[-1]
        velocity[ended], acceleration[ended] = 0.0, 0.0
        return position, velocity, acceleration

    def _fail(self) -> None:
        """Make the driver's hardware component inactive, and with it every controller, as a reflex or a stop does."""
        self.controller_active = self.driver_active = False
        self._homing = None
        self._late.clear()
        self.follower.hold(self.arm.positions, self._now_ns)

    # --- measurements -----------------------------------------------------------------------------------------

    @property
    def mode(self) -> RobotMode:
        """Robot mode as the driver reports it."""
        return self.arm.mode

    @property
    def now_ns(self) -> int:
        """Time of the last control cycle [ns]."""
        return self._now_ns

    def desired(self) -> tuple[Float64Array, Float64Array, Float64Array]:
        """Return the reference of the joints now: position, velocity, acceleration, each [7] in rad, rad/s, rad/s^2."""
        position, velocity, acceleration = self._desired(np.array([0.0]))
        return position[0], velocity[0], acceleration[0]

    def external_force(self) -> float:
        """Return the magnitude [N] that whatever blocks the arm exerts at the tool."""
        if not self.arm.blocked:
            return 0.0
        return _FORCE_PER_RADIAN * float(np.max(np.abs(self.desired()[0] - self.arm.positions)))

    def measure(self) -> Measured:
        """Measure now, with the configured noise."""
        positions = self.arm.positions + self._rng.normal(0.0, 1.0, 7) * self._faults.noise
        return Measured(
            stamp_ns=self._now_ns,
            positions=positions,
            velocities=self.arm.velocities.copy(),
            gripper_width=self.fingers.width,
            tcp_pose=forward(positions),
        )
