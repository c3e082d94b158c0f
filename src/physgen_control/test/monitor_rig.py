# SPDX-License-Identifier: Apache-2.0
"""A motion monitor beside an arm at rest, and a motion to show it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from physgen_control.controller_config import RobotType
from physgen_control.monitor.config import ArmLimits, MotionMonitorConfig
from physgen_control.monitor.monitor import MotionMonitor
from physgen_control.monitor.segments import Knots
from physgen_control.motion.kinematics import HOME, joint_range, joint_top_speed

LIMITS = ArmLimits(*joint_range(RobotType.FR3), joint_top_speed(RobotType.FR3))
CONFIG = MotionMonitorConfig()
REST = np.zeros(7)
PERIOD = 0.01


def monitor_at(q: np.ndarray = HOME, now: float = 0.0, **changes: Any) -> MotionMonitor:
    """A monitor that has seen the arm rest at `q` and the controller live."""
    monitor = MotionMonitor(replace(CONFIG, **changes), LIMITS)
    monitor.watch(now)
    monitor.on_status(now)
    assert monitor.on_state(q, REST, 0.0, now) is None
    return monitor


def swing(size: float = 0.1, seconds: float = 1.0, start: np.ndarray = HOME) -> Knots:
    """From rest to rest in five knots, joint 1 alone."""
    times = np.linspace(0.2, 1.0, 5) * seconds
    share = times / seconds
    position = np.tile(start, (5, 1))
    velocity, acceleration = np.zeros((5, 7)), np.zeros((5, 7))
    position[:, 0] += size * (10 * share**3 - 15 * share**4 + 6 * share**5)
    velocity[:, 0] = size * 30 * (share**2 - 2 * share**3 + share**4) / seconds
    acceleration[:, 0] = size * 60 * (share - 3 * share**2 + 2 * share**3) / seconds**2
    velocity[-1], acceleration[-1] = 0.0, 0.0
    return Knots(times, position, velocity, acceleration)
