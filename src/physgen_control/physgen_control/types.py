# SPDX-License-Identifier: Apache-2.0
"""Values that travel between policy, controller and world: plain NumPy, no ROS, no torch.

Units are SI, times are integer nanoseconds of ROS time, quaternions are in message order (x, y, z, w), poses are
in the robot base frame. Arrays are float32 where a ROS message carries float32, so that a value is bit-identical
whether it crossed DDS or stayed in one process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Image = NDArray[np.uint8]

NS_PER_S = 1_000_000_000

NUM_JOINTS = 7
"""Joints of the arm, fingers not counted."""

ACTION_DIM = 7
"""EE_DELTA action: dx, dy, dz [m], rotation vector [rad] in the base frame, gripper (+1 open, -1 closed)."""

HORIZON = 8
"""Actions per chunk (PhysGen: L = 8)."""

PICTURE_INTERVALS = tuple(steps for steps in range(1, HORIZON + 1) if HORIZON % steps == 0)
"""Control steps from one picture of a demonstration to the next that give every chunk one at its start."""

NUM_CHUNKS = 3
"""Chunks per prediction: one executed and two lookahead (PhysGen: L-MTP with 3 tokens)."""


class ActionSpace(IntEnum):
    """How the numbers of an action are meant; values equal ActionChunk.msg."""

    EE_DELTA = 1
    EE_ABSOLUTE = 2
    JOINT_DELTA = 3
    JOINT_ABSOLUTE = 4
    JOINT_VELOCITY = 5


class Rotation(IntEnum):
    """How the rotation part of an end-effector action is written; values equal ActionChunk.msg."""

    AXIS_ANGLE = 1
    RPY = 2
    QUAT_XYZW = 3
    SIX_D = 4


class DeltaReference(IntEnum):
    """What a delta is added to; values equal ActionChunk.msg."""

    COMMANDED = 1
    MEASURED = 2
    CHUNK_ANCHOR = 3


class GripperMode(IntEnum):
    """How the gripper number is meant; values equal ActionChunk.msg."""

    WIDTH_M = 1
    CLOSED_FRACTION = 2
    SIGNED_PM1 = 3


class Source(IntEnum):
    """Who commanded an applied action; values equal AppliedAction.msg."""

    NONE = 0
    POLICY = 1
    TELEOP = 2
    HOLD = 3
    HOMING = 4


class Limit(IntFlag):
    """Which limits changed an action; values equal AppliedAction.msg."""

    NONE = 0
    WORKSPACE = 1
    STEP = 2
    SPEED = 4
    ACCEL = 8
    JOINT = 16
    GRIPPER = 32
    SINGULARITY = 64
    DISTURBANCE = 128


class AckResult(IntEnum):
    """The controller's answer to a chunk; values equal ChunkAck.msg."""

    ACCEPTED = 0
    SHADOW = 1
    NOT_ARMED = 2
    BAD_SHAPE = 3
    NONFINITE = 4
    STALE_OBSERVATION = 5
    EXPIRED = 6
    OUT_OF_ORDER = 7
    WORKSPACE = 8
    STEP = 9
    IK = 10
    JOINT_LIMIT = 11
    STATE_STALE = 12
    TELEOP_ACTIVE = 13


class SafetyState(IntEnum):
    """Controller states; values equal SafetyStatus.msg."""

    DISARMED = 0
    SHADOW = 1
    ARMED = 2
    HOLD = 3
    FAULT = 4


class Fault(IntFlag):
    """Active faults; values equal SafetyStatus.msg."""

    NONE = 0
    POLICY_LATE = 1
    STATE_STALE = 2
    MULTIPLE_PUBLISHERS = 4
    CHUNK_REJECTED = 8
    TRACKING = 16
    WRENCH = 32
    ROBOT_MODE = 64
    INTERNAL = 128
    DEADMAN = 256
    GRIPPER = 512


class EpisodePhase(IntEnum):
    """Phase of an episode; values equal EpisodeInfo.msg."""

    IDLE = 0
    RUNNING = 1
    SUCCESS = 2
    FAILURE = 3
    DISCARDED = 4
    CRASHED = 5


@dataclass(frozen=True, slots=True)
class Pose:
    """Position [m] and unit quaternion (x, y, z, w), float64; in the robot base frame unless something else is said."""

    position: Float64Array
    quaternion: Float64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotState:
    """One measured state of the arm."""

    stamp_ns: int
    positions: Float64Array
    """float64 [7], arm joints in rad."""
    velocities: Float64Array
    """float64 [7], arm joints in rad/s."""
    gripper_width: float
    """Opening between the fingers [m]."""
    tcp_pose: Pose
    """Tool centre point in the base frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFrame:
    """One RGB image of one camera, stamped with its acquisition."""

    stamp_ns: int
    rgb: UInt8Image
    """uint8 [height, width, 3]."""
    frame_id: str
    """Optical frame of the camera."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """What every node knows of the current episode (EpisodeInfo.msg without transport)."""

    episode_id: str
    task: str
    """Environment id or suite/index."""
    seed: int
    """Simulator seed; -1 on the real arm."""
    instruction: str
    start_ns: int
    """Stamp of the first observation."""
    phase: EpisodePhase = EpisodePhase.RUNNING
    step: int = 0
    max_steps: int = 0
    """Step limit; 0 = none."""
    robot: str = ""
    source: str = ""
    bag_path: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionChunk:
    """A prediction of the policy: one chunk to execute, and the lookahead; `of` makes one and explains its fields."""

    session_id: str
    episode_id: str
    chunk_seq: int
    base_step: int
    stamp_ns: int
    observation_stamp_ns: int
    inference_start_ns: int
    inference_end_ns: int
    step_period_ns: int
    data: Float32Array
    """float32 [num_chunks, horizon, action_dim] in SI units, never normalised."""
    execute_steps: int
    """How many actions of the first chunk to execute before the next observation."""
    valid_until_ns: int = 0
    """Execution must not start later than this; 0 = no limit."""
    action_space: ActionSpace = ActionSpace.EE_DELTA
    rotation: Rotation = Rotation.AXIS_ANGLE
    delta_reference: DeltaReference = DeltaReference.MEASURED
    gripper_mode: GripperMode = GripperMode.SIGNED_PM1
    instruction: str = ""
    policy_id: str = ""
    frame_id: str = "base"

    @classmethod
    def of(
        cls,
        data: Float32Array,
        *,
        session_id: str,
        chunk_seq: int,
        base_step: int,
        stamp_ns: int,
        step_period_ns: int,
        episode_id: str = "",
        observation_ns: int | None = None,
        inference_ns: int | None = None,
        instruction: str = "",
        policy_id: str = "",
    ) -> ActionChunk:
        """Return a chunk in the conventions of every policy here: it has no time limit, all of its first part is meant.

        Args:
            data: Actions in SI units, [chunks, horizon, 7], or [horizon, 7] for a chunk without lookahead.
            session_id: Who sends it; sequence numbers restart with it.
            chunk_seq: Its number in the session.
            base_step: Control step of its first action.
            stamp_ns: When its first action is meant to start [ns].
            step_period_ns: Time from an action to the next [ns].
            episode_id: Episode it belongs to; empty outside episodes.
            observation_ns: Stamp of the observation it answers [ns]; as a rule `stamp_ns`.
            inference_ns: When it was computed [ns]; `stamp_ns` where that takes no time.
            instruction: What it follows.
            policy_id: Which policy made it.
        """
        actions = np.asarray(data, np.float32)
        actions = actions if actions.ndim == 3 else actions[None]
        computed_ns = stamp_ns if inference_ns is None else inference_ns
        return cls(
            session_id=session_id,
            episode_id=episode_id,
            chunk_seq=chunk_seq,
            base_step=base_step,
            stamp_ns=stamp_ns,
            observation_stamp_ns=stamp_ns if observation_ns is None else observation_ns,
            inference_start_ns=computed_ns,
            inference_end_ns=computed_ns,
            step_period_ns=step_period_ns,
            data=actions,
            execute_steps=actions.shape[1],
            instruction=instruction,
            policy_id=policy_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAction:
    """What the controller commanded in one control step; the label of training and the policy's context.

    session_id, chunk_seq, base_step, step_index and chunk_index say which action of which chunk it is, if any.
    """

    stamp_ns: int
    state_stamp_ns: int
    """Of the robot state that it was computed from."""
    session_id: str
    episode_id: str
    step: int
    """Control steps since the start of the episode, from 0."""
    chunk_seq: int
    base_step: int
    step_index: int
    chunk_index: int
    source: Source
    executed: bool
    """False in SHADOW: not sent to the arm."""
    raw: Float32Array
    """float32 [action_dim], before the limits."""
    applied: Float32Array
    """float32 [action_dim], after the limits."""
    target_pose: Pose
    gripper_width: float
    """Commanded opening [m]."""
    limits: Limit = Limit.NONE
    latency: float = 0.0
    """From the observation to the command [s]; 0 while holding."""
    action_space: ActionSpace = ActionSpace.EE_DELTA
    target_positions: Float64Array = field(default_factory=lambda: np.full(7, np.nan))
    """float64 [7] in rad; NaN where the arm is not commanded in joint space."""
    frame_id: str = "base"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkAck:
    """The controller's answer to one chunk."""

    stamp_ns: int
    session_id: str
    episode_id: str
    chunk_seq: int
    result: AckResult
    detail: str
    """A sentence: what was wrong, what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimState:
    """Privileged simulator state (SimState.msg): poses in `frame_id`, and whether the task is solved."""

    stamp_ns: int
    episode_id: str
    objects: dict[str, Pose]
    tcp_pose: Pose
    gripper_width: float
    """Measured opening [m]."""
    success: bool
    frame_id: str = "base"
