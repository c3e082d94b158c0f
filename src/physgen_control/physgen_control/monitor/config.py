# SPDX-License-Identifier: Apache-2.0
"""The limits of the motion monitor: its own, and wider than the controller's, which shall act first."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.program.parameter_field import parameter
from physgen_control.types import Float64Array


@dataclass(frozen=True, slots=True)
class ArmLimits:
    """What the data sheet says of the arm, each float64 [7]."""

    lower: Float64Array
    """Lowest joint positions [rad]."""
    upper: Float64Array
    """Highest joint positions [rad]."""
    speed: Float64Array
    """Highest joint speeds [rad/s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionMonitorConfig:
    """Parameters of the node."""

    robot_type: str = parameter(
        "fr3", description="Whose joint range and top speeds count", choices=("fr3", "panda")
    )
    speed_share: float = parameter(
        1.0, description="Share of the data sheet's top speed that a trajectory may use", ge=0.05, le=1.0
    )
    acceleration_limit: float = parameter(
        10.0,
        description="Highest joint acceleration of a trajectory; the data sheet's by default",
        unit="rad/s^2",
        ge=1,
        le=20,
    )
    join_slack: float = parameter(
        0.02,
        description="How far a first knot may be from where limited motion leads; the arm's own reflex begins here",
        unit="rad",
        ge=0.001,
        le=0.2,
    )
    measured_speed_share: float = parameter(
        0.9, description="Share of the top speed above which measured joints are stopped", ge=0.05, le=1.0
    )
    tracking_limit: float = parameter(
        0.3,
        description="Measured joints farther than this from a running command are stopped",
        unit="rad",
        ge=0.01,
        le=3,
    )
    state_timeout: float = parameter(
        0.3, description="No joint state for so long while the arm moves", unit="s", ge=0.05, le=10
    )
    status_timeout: float = parameter(
        1.0, description="No SafetyStatus for so long while the arm moves", unit="s", ge=0.3, le=30
    )
    moving_speed: float = parameter(
        0.02, description="An arm with a joint faster than this moves", unit="rad/s", ge=0.001, le=0.5
    )
    stop_acceleration: float = parameter(
        5.0, description="Highest joint acceleration of a stop", unit="rad/s^2", ge=0.5, le=10
    )
