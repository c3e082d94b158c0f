# SPDX-License-Identifier: Apache-2.0
"""Bags of a short episode in which every number follows from seed and step; for conversions and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from physgen_control.bags.serialize import PICTURE_EVERY, CameraSpec, EpisodeBag
from physgen_control.messages.topics import CAMERAS
from physgen_control.types import AppliedAction, Episode, EpisodePhase, Limit, Pose, RobotState, Source

PERIOD_NS = 50_000_000
START_NS = 1_790_000_000_000_000_000  # nanoseconds since 1970 do not fit into a double


def picture(camera: str, step: int, size: int = 32) -> np.ndarray:
    """A smooth picture that tells camera and step by its brightness."""
    y, x = np.mgrid[0:size, 0:size]
    base = 20 + 4 * step + (100 if camera == "wrist" else 0)
    return np.stack([np.full_like(x, base), x * 3, y * 3], axis=-1).astype(np.uint8)


def state(step: int) -> RobotState:
    angle = 0.1 * step
    return RobotState(
        stamp_ns=START_NS + step * PERIOD_NS,
        positions=0.1 * np.arange(7, dtype=np.float64) + step,
        velocities=np.zeros(7),
        gripper_width=0.01 * (step % 8),
        tcp_pose=Pose(
            position=np.array([0.4, 0.01 * step, 0.3]),
            quaternion=np.array([np.sin(angle), 0.0, 0.0, np.cos(angle)]) * (-1) ** step,
        ),
    )


def write_bag(path: Path, steps: int, *, seed: int = 0, instruction: str = "push", **options: Any) -> Path:
    size = options.pop("size", 32)
    scale = options.pop("scale", 1.0)  # of the actions
    outcome = options.pop("outcome", EpisodePhase.SUCCESS)
    every = int(options.get("extra", {}).get(PICTURE_EVERY, 1))
    episode = Episode(
        episode_id=path.name,
        task="PushCube-v1",
        seed=seed,
        instruction=instruction,
        start_ns=START_NS,
        robot=options.pop("robot", "fr3"),
        source="fake",
    )
    cameras = {name: CameraSpec(frame_id=name) for name in CAMERAS}
    with EpisodeBag(path, episode, cameras, joint_prefix="fr3", **options) as bag:
        for step in range(steps + 1):
            now = START_NS + step * PERIOD_NS
            fixed, wrist = (picture(camera, step, size) if step % every == 0 else None for camera in CAMERAS)
            bag.add_observation(now, fixed, wrist, state(step))
            if step < steps:
                numbers = (scale * np.random.default_rng((seed, step)).normal(size=7)).astype(np.float32)
                bag.add_applied(
                    AppliedAction(
                        stamp_ns=now,
                        state_stamp_ns=now,
                        session_id="s",
                        episode_id=path.name,
                        step=step,
                        chunk_seq=step // 8,
                        base_step=step // 8 * 8,
                        step_index=step % 8,
                        chunk_index=0,
                        source=Source.TELEOP if step % 3 == 0 else Source.POLICY,
                        executed=True,
                        raw=numbers,
                        applied=numbers,
                        target_pose=state(step).tcp_pose,
                        gripper_width=0.04,
                        limits=Limit.DISTURBANCE if step == 1 else Limit.NONE,
                    )
                )
        return bag.finish(outcome, step=steps)
