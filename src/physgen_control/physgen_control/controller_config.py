# SPDX-License-Identifier: Apache-2.0
"""Every number of the controller, once: the defaults are the cautious ones for a real FR3.

The controller node declares these fields as its ROS parameters; YAML files only override them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from physgen_control.errors import UserError
from physgen_control.program.parameter_field import parameter
from physgen_control.types import NS_PER_S


class Mode(Enum):
    """What arming leads to."""

    ARMED = "armed"
    SHADOW = "shadow"


class Execution(Enum):
    """Where a chunk starts to play."""

    SYNC = "sync"
    PIPELINED = "pipelined"


class Pacing(Enum):
    """What makes a control step."""

    STATE = "state"
    TIMER = "timer"


class ArmInterface(Enum):
    """How the arm is commanded."""

    APPLIED_ACTION = "applied_action"
    JOINT_TRAJECTORY = "joint_trajectory"


class GripperInterface(Enum):
    """How the fingers are commanded."""

    AUTO = "auto"
    FRANKA = "franka"
    GRIPPER_COMMAND = "gripper_command"
    NONE = "none"


class RobotType(Enum):
    """Which arm: its kinematics are the same, its joint limits are not."""

    FR3 = "fr3"
    PANDA = "panda"


@dataclass(frozen=True, kw_only=True, slots=True)
class ControllerConfig:
    """Limits, checks and modes of the controller. Poses are in the robot base frame."""

    mode: Mode = parameter(
        Mode.SHADOW, description="armed commands the arm, shadow computes and publishes only"
    )
    execution: Execution = parameter(
        Execution.SYNC,
        description="sync plays a chunk from its first action, pipelined skips actions already late",
    )
    pacing: Pacing = parameter(
        Pacing.TIMER,
        description="state: one control step per new robot state (the world waits); timer: every period",
    )
    arm_interface: ArmInterface = parameter(
        ArmInterface.JOINT_TRAJECTORY,
        description="applied_action: a world consumes AppliedAction; joint_trajectory: one trajectory per chunk",
    )
    robot_type: RobotType = parameter(
        RobotType.FR3, description="fr3 or panda: selects joint limits and joint names"
    )
    auto_arm: bool = parameter(
        False,
        description="arm once, as soon as the preconditions hold, and after a gap in the states (simulation only)",
    )
    arm_without_state: bool = parameter(
        False,
        description="allow arming before the first robot state (simulators publish none before a reset)",
    )
    require_publisher: bool = parameter(
        True, description="arming needs exactly one publisher of chunks; false allows none (teleoperation)"
    )
    control_period: float = parameter(0.05, description="one control step", unit="s", ge=0.005, le=1.0)

    workspace_min: tuple[float, ...] = parameter(
        (0.25, -0.45, 0.02),
        description="lower corner of the box for the tool centre point",
        unit="m",
        ge=-2,
        le=2,
    )
    workspace_max: tuple[float, ...] = parameter(
        (0.75, 0.45, 0.70),
        description="upper corner of the box for the tool centre point",
        unit="m",
        ge=-2,
        le=2,
    )
    tilt_limit: float = parameter(
        0.8, description="largest angle between the tool and straight down", unit="rad", ge=0.0, le=3.15
    )
    step_translation: float = parameter(
        0.05, description="largest translation per action", unit="m", ge=0, le=1
    )
    step_rotation: float = parameter(
        0.15, description="largest rotation per action", unit="rad", ge=0, le=3.15
    )
    speed_translation: float = parameter(0.25, description="largest TCP speed", unit="m/s", ge=0, le=10)
    speed_rotation: float = parameter(1.0, description="largest TCP turn rate", unit="rad/s", ge=0, le=30)
    gross_factor: float = parameter(
        2.0, description="an action beyond this multiple of a limit refuses the whole chunk", ge=1, le=1000
    )
    gross_workspace: float = parameter(
        0.05,
        description="a target farther than this outside the box refuses the chunk",
        unit="m",
        ge=0,
        le=10,
    )
    max_clipped_steps: int = parameter(
        4, description="a chunk with more clipped actions than this is refused", ge=0, le=1000
    )

    max_observation_age: float = parameter(
        0.5,
        description="oldest observation a chunk may be based on when it arrives",
        unit="s",
        ge=0.0,
        le=3600,
    )
    max_state_age: float = parameter(
        0.15, description="oldest robot state to act on (timer pacing)", unit="s", ge=0.0, le=3600
    )
    max_future_stamp: float = parameter(
        0.1,
        description="a robot state stamped later than now by more than this is refused",
        unit="s",
        ge=0,
        le=1e6,
    )
    hold_grace: float = parameter(
        0.0,
        description="time without action before the status says HOLD (motion stops at once)",
        unit="s",
        ge=0,
        le=60,
    )
    policy_timeout: float = parameter(
        5.0,
        description="wall time without a valid chunk before the status says POLICY_LATE",
        unit="s",
        ge=0.01,
        le=3600,
    )
    max_horizon: int = parameter(
        16,
        description="a chunk with more actions than this is refused: planning them may not take a control period",
        ge=1,
        le=1000,
    )
    max_chunks: int = parameter(
        8, description="a prediction with more chunks than this is refused", ge=1, le=100
    )
    bridge_steps: int = parameter(
        0, description="lookahead actions to play while the next chunk is late", ge=0, le=16
    )

    gripper_hysteresis: float = parameter(
        0.2, description="dead band around 0 in which the gripper keeps its command", ge=0, le=0.95
    )
    gripper_min_interval: float = parameter(
        0.5, description="shortest time between two gripper commands", unit="s", ge=0, le=10
    )
    gripper_open_width: float = parameter(0.08, description="opening commanded by +1", unit="m", ge=0, le=0.1)
    gripper_closed_width: float = parameter(
        0.0, description="opening commanded by -1", unit="m", ge=0, le=0.1
    )
    gripper_speed: float = parameter(0.1, description="speed of the fingers", unit="m/s", ge=0.001, le=0.2)
    gripper_force: float = parameter(20.0, description="grasping force", unit="N", ge=1, le=70)
    gripper_timeout: float = parameter(
        5.0, description="a goal without a result for so long counts as failed", unit="s", ge=0.5, le=60
    )

    require_deadman: bool = parameter(False, description="policy motion needs a pressed deadman too")
    deadman_timeout: float = parameter(
        0.2, description="a deadman not repeated counts as released", unit="s", ge=0.01, le=10
    )
    deadman_button: int = parameter(0, description="index of the deadman in Joy.buttons", ge=0, le=63)
    open_button: int = parameter(1, description="index of the button that opens the gripper", ge=0, le=63)
    close_button: int = parameter(2, description="index of the button that closes the gripper", ge=0, le=63)
    teleop_timeout: float = parameter(
        0.25, description="a twist not repeated stops", unit="s", ge=0.01, le=10
    )
    teleop_release: float = parameter(
        0.5, description="chunks stay refused this long after the human lets go", unit="s", ge=0, le=60
    )

    joint_speed_fraction: float = parameter(
        0.25, description="share of the datasheet's rectangular joint speed limits", ge=0.01, le=1.0
    )
    joint_margin: float = parameter(
        0.1, description="distance kept from joint limits", unit="rad", ge=0, le=0.5
    )
    smoothing_time: float = parameter(
        0.15, description="window of the acceleration filter of a trajectory", unit="s", ge=0.02, le=1.0
    )
    smoothing_time_jerk: float = parameter(
        0.10, description="window of the jerk filter of a trajectory", unit="s", ge=0.02, le=1.0
    )
    stamp_trajectories: bool = parameter(
        True,
        description="trajectories say when they start; false: on arrival, for robot clocks that are not synchronised",
    )
    pose_tolerance: float = parameter(
        0.05,
        description="a robot state whose pose is farther than this from what its joints say is not believed",
        unit="m",
        ge=0.001,
        le=1.0,
    )
    tracking_limit: float = parameter(
        0.2,
        description="measured joints farther than this from the commanded ones mean HOLD",
        unit="rad",
        ge=0.01,
        le=3,
    )

    max_force: float = parameter(
        40.0,
        description="external force at the tool above this means HOLD (real arm)",
        unit="N",
        ge=1,
        le=1000,
    )
    max_torque: float = parameter(
        15.0,
        description="external torque at the tool above this means HOLD (real arm)",
        unit="Nm",
        ge=1,
        le=1000,
    )
    gripper_interface: GripperInterface = parameter(
        GripperInterface.AUTO,
        description="who moves the fingers: franka: Move and Grasp actions, gripper_command: GripperCommand action, "
        "none: nobody (a world takes AppliedAction), auto: what is installed, none without an arm",
    )

    def __post_init__(self) -> None:
        """Check what no single range says.

        Raises:
            UserError: Two settings contradict each other; one sentence names them.
        """
        if len(self.workspace_min) != 3 or len(self.workspace_max) != 3:
            raise UserError(
                "workspace_min and workspace_max need three numbers each (x, y, z), got "
                f"{list(self.workspace_min)} and {list(self.workspace_max)}."
            )
        if not all(low < high for low, high in zip(self.workspace_min, self.workspace_max, strict=True)):
            raise UserError(
                "Every number of workspace_min must be below that of workspace_max, got "
                f"{list(self.workspace_min)} and {list(self.workspace_max)}."
            )
        if self.gripper_closed_width >= self.gripper_open_width:
            raise UserError(
                f"gripper_closed_width ({self.gripper_closed_width} m) must be below gripper_open_width "
                f"({self.gripper_open_width} m)."
            )
        if self.bridge_steps and self.arm_interface is ArmInterface.JOINT_TRAJECTORY:
            raise UserError(
                f"bridge_steps is {self.bridge_steps}, but lookahead actions are not planned for an arm: set "
                "bridge_steps:=0 or arm_interface:=applied_action."
            )
        if self.pacing is Pacing.STATE and self.arm_interface is ArmInterface.JOINT_TRAJECTORY:
            raise UserError(
                "pacing:=state is for a world that waits and arm_interface:=joint_trajectory for an arm that does not: "
                "set pacing:=timer or arm_interface:=applied_action."
            )

    @property
    def control_period_ns(self) -> int:
        """One control step in nanoseconds."""
        return round(self.control_period * NS_PER_S)

    @property
    def translation_limit(self) -> float:
        """Largest translation of one action [m], by step and by speed."""
        return min(self.step_translation, self.speed_translation * self.control_period)

    @property
    def rotation_limit(self) -> float:
        """Largest rotation of one action [rad], by step and by speed."""
        return min(self.step_rotation, self.speed_rotation * self.control_period)


def seconds_to_ns(seconds: float) -> int:
    """Return a duration of a parameter [s] in nanoseconds."""
    return round(seconds * NS_PER_S)
