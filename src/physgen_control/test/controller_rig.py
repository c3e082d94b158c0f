# SPDX-License-Identifier: Apache-2.0
"""Values for tests of the controller, and a rig that plays robot, policy and time around one ControllerCore."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from physgen_control.controller.core import ControllerCore, MotionPlanner
from physgen_control.controller_config import ArmInterface, ControllerConfig, Mode, Pacing, RobotType
from physgen_control.motion.kinematics import HOME, forward
from physgen_control.types import (
    ActionChunk,
    AppliedAction,
    ChunkAck,
    Episode,
    EpisodePhase,
    Pose,
    RobotState,
    SafetyState,
    Source,
)

PERIOD_NS = 50_000_000
START_NS = 5_000_000_000
S_NS = 1_000_000_000
DOWN = np.array([1.0, 0.0, 0.0, 0.0])
"""Tool straight down."""
POSE = Pose(position=np.array([0.5, 0.0, 0.3]), quaternion=DOWN)


def make_config(**changes: Any) -> ControllerConfig:
    """The cautious defaults, but armed and for a simulated Panda."""
    fields: dict[str, Any] = {
        "mode": Mode.ARMED,
        "pacing": Pacing.TIMER,
        "arm_interface": ArmInterface.APPLIED_ACTION,
        "robot_type": RobotType.PANDA,
    } | changes
    return ControllerConfig(**fields)


def make_state(stamp_ns: int, pose: Pose = POSE, width: float = 0.08, **changes: Any) -> RobotState:
    """An arm at rest above the table, gripper open."""
    fields: dict[str, Any] = {"positions": np.zeros(7), "velocities": np.zeros(7)} | changes
    return RobotState(stamp_ns=stamp_ns, gripper_width=width, tcp_pose=pose, **fields)


def make_actions(steps: int = 8, chunks: int = 1, seed: int = 0, size: float = 0.004) -> np.ndarray:
    """Small different motions, gripper open: float32[chunks, steps, 7]."""
    data = np.random.default_rng(seed).uniform(-size, size, (chunks, steps, 7)).astype(np.float32)
    data[..., 6] = 1.0
    return data


def make_episode(
    episode_id: str = "e0", start_ns: int = START_NS, phase: EpisodePhase = EpisodePhase.RUNNING
) -> Episode:
    """An episode."""
    return Episode(
        episode_id=episode_id,
        task="T",
        seed=0,
        instruction="go",
        start_ns=start_ns,
        phase=phase,
        max_steps=100,
    )


def make_chunk(now_ns: int, **changes: Any) -> ActionChunk:
    """A prediction from an observation of this moment."""
    data = changes.get("data", make_actions())
    chunk = ActionChunk.of(
        data if data.ndim == 3 else make_actions(),
        session_id="s0",
        episode_id="e0",
        chunk_seq=1,
        base_step=0,
        stamp_ns=now_ns,
        step_period_ns=PERIOD_NS,
    )
    return replace(chunk, **changes)


def assert_hold(action: AppliedAction | None) -> None:
    """A step was made, it does not move the arm, and it claims to be of no chunk."""
    assert action is not None
    assert action.source == Source.HOLD
    assert (action.session_id, action.latency) == ("", 0.0)
    assert (action.chunk_seq, action.base_step, action.step_index, action.chunk_index) == (0, 0, 0, 0)
    assert not action.applied[:6].any()


def state_of(core: ControllerCore) -> SafetyState:
    """core.state; by a call, because a type checker takes it that a property stays what it was."""
    return core.state


class Rig:
    """One core, one clock. `begin` arms and announces an episode; `step` lets one control period pass."""

    def __init__(self, planner: MotionPlanner | None = None, **changes: Any) -> None:
        self.config = make_config(**changes)
        self.steady_ns = START_NS // 3
        self.core = ControllerCore(self.config, planner, lambda: self.steady_ns)
        self.arm = planner is not None
        self._now_ns = START_NS

    @property
    def now_ns(self) -> int:
        """ROS time; setting it lets time pass."""
        return self._now_ns

    @now_ns.setter
    def now_ns(self, value: int) -> None:
        self.steady_ns += value - self._now_ns
        self._now_ns = value

    def jump(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self._now_ns += round(seconds * S_NS)

    def begin(self) -> Rig:
        self.core.on_publisher_count(1)
        self.observe()
        ok, sentence = self.core.arm()
        assert ok, sentence
        self.core.on_episode(make_episode())
        return self

    def observe(self, **changes: Any) -> None:
        if self.arm:  # an arm's state must agree with its kinematics
            changes = {"positions": HOME, "pose": forward(HOME)} | changes
        self.core.on_state(make_state(self.now_ns, **changes), self.now_ns)

    def send(self, **changes: Any) -> ChunkAck:
        return self.core.on_chunk(make_chunk(self.now_ns, **changes), self.now_ns)

    def tick(self) -> AppliedAction | None:
        return self.core.tick(self.now_ns)

    def step(self) -> AppliedAction | None:
        self.now_ns += PERIOD_NS
        self.observe()
        return self.tick()
