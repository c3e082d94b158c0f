# SPDX-License-Identifier: Apache-2.0
"""The recorder's parameters: where and how episodes are recorded."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.program.parameter_field import parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class RecorderConfig:
    """Where and how episodes are recorded."""

    bag_dir: str = parameter("bags", description="Folder that gets one bag per episode")
    image_transport: str = parameter(
        "raw",
        description="Images: raw, lossless; compressed, the camera's own JPEG topics; jpeg, encoded by the recorder",
        choices=("raw", "compressed", "jpeg"),
    )
    jpeg_quality: int = parameter(
        95, description="Quality of the recorder's own JPEG encoding, as in libjpeg", ge=1, le=100
    )
    predicted: bool = parameter(
        False, description="Record imagined frames too; the policy then imagines one after every chunk"
    )
    compression: str = parameter(
        "auto",
        description="Lossless compression of the bag file; auto: zstd in simulation, the faster lz4 on the real arm",
        choices=("auto", "zstd", "lz4", "none"),
    )
    pre_roll_s: float = parameter(
        3.0,
        description="How long messages are kept for an episode whose start is still unknown",
        unit="s",
        ge=0.1,
    )
    pre_roll_mb: float = parameter(
        128.0, description="Memory limit of the messages kept that way", unit="MB", ge=1.0
    )
    drain_s: float = parameter(
        1.0, description="Longest wait for late messages after the end of an episode", unit="s", ge=0.0
    )
    min_free_mb: float = parameter(
        500.0,
        description="No new bag is started with less free disk space; at half of it a running one is completed",
        unit="MB",
        ge=0.0,
    )
    queue_mb: float = parameter(
        512.0, description="Memory for messages that wait for the disk; more are dropped", unit="MB", ge=1.0
    )
    camera_rate_hz: float = parameter(
        30.0, description="Image rate that the real cameras should have; 0 = not checked", unit="Hz", ge=0.0
    )
    state_rate_hz: float = parameter(
        100.0,
        description="Rate that joint states and pose of the real arm should have; 0 = not checked",
        unit="Hz",
        ge=0.0,
    )
    health_period_s: float = parameter(
        5.0,
        description="How often the state of a recording on the real arm is printed; 0 = never",
        unit="s",
        ge=0.0,
    )
