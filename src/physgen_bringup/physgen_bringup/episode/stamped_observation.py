# SPDX-License-Identifier: Apache-2.0
"""What the bridge would publish for one observation of a world, as values: for the loops in one process."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.messages import topics
from physgen_control.types import CameraFrame, RobotState, SimState
from physgen_sim_bridge.world import Observation

CAMERA_FRAME = "camera_{}_color_optical_frame"


@dataclass(frozen=True, slots=True)
class StampedObservation:
    """What the bridge would publish for one observation, as values."""

    frames: dict[str, CameraFrame]
    """Image of each camera; empty where nothing was drawn."""
    robot: RobotState
    sim: SimState


def stamp_observation(
    observation: Observation, stamp_ns: int, episode_id: str, rendered: bool = True
) -> StampedObservation:
    """Give an observation its stamp, in the number formats of the messages (SimState: float32 opening).

    One that was not rendered has no frames, so that nobody can take the black images for what the cameras saw.
    """
    images = {"fixed": observation.rgb_fixed, "wrist": observation.rgb_wrist}
    return StampedObservation(
        frames={
            name: CameraFrame(stamp_ns=stamp_ns, rgb=images[name], frame_id=CAMERA_FRAME.format(name))
            for name in (topics.CAMERAS if rendered else ())
        },
        robot=observation.robot_state(stamp_ns),
        sim=observation.sim_state(stamp_ns, episode_id),
    )
