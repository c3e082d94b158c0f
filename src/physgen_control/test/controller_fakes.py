# SPDX-License-Identifier: Apache-2.0
"""Builders of the values that a controller sees, for tests."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from physgen_control.controller_config import ArmInterface, ControllerConfig, Mode, Pacing, RobotType
from physgen_control.types import ActionChunk, Episode, Pose, RobotState

DT = 50_000_000
START = 2_000_000_000
HOME = np.array([0.0, np.pi / 8, 0.0, -5 * np.pi / 8, 0.0, 3 * np.pi / 4, np.pi / 4])


def config(**changes: Any) -> ControllerConfig:
    """A controller that commands a simulated arm with generous, but finite, limits."""
    values: dict[str, Any] = {
        "mode": Mode.ARMED,
        "pacing": Pacing.STATE,
        "arm_interface": ArmInterface.APPLIED_ACTION,
        "robot_type": RobotType.PANDA,
        "workspace_min": (0.2, -0.5, 0.0),
        "workspace_max": (0.95, 0.5, 0.8),
        "tilt_limit": 3.15,
        "step_translation": 0.1,
        "step_rotation": 0.2,
        "speed_translation": 2.0,
        "speed_rotation": 4.0,
        "gripper_hysteresis": 0.0,
        "gripper_min_interval": 0.0,
        "hold_grace": 0.0,
        "require_publisher": False,
    }
    return ControllerConfig(**(values | changes))


def state(stamp_ns: int = START, position: Sequence[float] = (0.6, 0.0, 0.3)) -> RobotState:
    return RobotState(
        stamp_ns=stamp_ns,
        positions=HOME.copy(),
        velocities=np.zeros(7),
        gripper_width=0.04,
        tcp_pose=Pose(position=np.array(position, float), quaternion=np.array([1.0, 0.0, 0.0, 0.0])),
    )


def episode(name: str = "e", start_ns: int = START) -> Episode:
    return Episode(episode_id=name, task="t", seed=0, instruction="i", start_ns=start_ns)


def chunk(seq: int = 0, base_step: int = 0, stamp_ns: int = START, **changes: Any) -> ActionChunk:
    data = np.zeros((3, 8, 7), np.float32)
    data[..., 0] = 0.01
    data[..., 1] = np.linspace(-0.02, 0.02, 24, dtype=np.float32).reshape(3, 8)
    data[..., 6] = -1.0
    values = ActionChunk.of(
        data,
        session_id="s",
        episode_id="e",
        chunk_seq=seq,
        base_step=base_step,
        stamp_ns=stamp_ns,
        step_period_ns=DT,
    )
    return replace(values, **changes)
