# SPDX-License-Identifier: Apache-2.0
"""Chunks for the graph: the twin, put where the objects are now, is rolled forward under the policy.

One look gives many control steps. What the policy would decide in them it decides in the twin; at the next look the
world says what became of it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import ACTION_DIM, HORIZON, NUM_CHUNKS, Float32Array, Pose, RobotState, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.execution.episode import Policy
from physgen_physworld.execution.estimator import ObjectEstimator
from physgen_physworld.execution.reality import Seen
from physgen_physworld.plan.goals import Goals
from physgen_physworld.reconstruction.tracker import Start
from physgen_physworld.scene.scene import Scene
from physgen_physworld.twin.twin import Twin
from physgen_physworld.values import yaw_quaternions

SAME_SCENE = 0.05
"""Where the moved thing is farther [m] from where its video begins, the video is of another scene."""

PLANNED = NUM_CHUNKS * HORIZON
"""Control steps that are planned at each look."""


class LivePlan:
    """One episode. Not thread-safe.

    Args:
        camera: of the pictures.
        starts: the things as they were found in the first picture.
        picture: the first one, uint8 [y, x, 3].
        goals: where the moved object shall go.
        scene: what the twin is made of; its boxes have the things' names.
        make_policy: who decides.
        executed: control steps from one look to the next.

    Raises:
        UserError: the picture, the goals and the scene are not of the same things, or not in the same place.
    """

    def __init__(
        self,
        camera: Camera,
        starts: list[Start],
        picture: UInt8Image,
        goals: Goals,
        scene: Scene,
        make_policy: Callable[[Goals], Policy],
        executed: int,
    ) -> None:
        moved = next((start for start in starts if start.thing.name == goals.name), None)
        if moved is None or {start.thing.name for start in starts} != {box.name for box in scene.boxes}:
            raise UserError("the video is of other things than the instruction names")
        away = float(np.linalg.norm(moved.fit.position - goals.positions[0]))
        if away > SAME_SCENE:
            raise UserError(
                f"the video begins in another scene: the {goals.name.replace('_', ' ')} is {1000 * away:.0f} mm away "
                "from where it begins"
            )
        self._estimator = ObjectEstimator(camera, moved, picture, {start.colour for start in starts})
        self._twin = Twin(scene)
        self._others = {start.thing.name: _pose(start) for start in starts if start is not moved}
        self._policy = self._after = make_policy(goals)
        self._name, self._executed = goals.name, executed
        self._closing = self._closing_after = False
        self._step = 0

    @property
    def policy(self) -> Policy:
        """Who decides, as it is at this look."""
        return self._policy

    def actions(self, picture: UInt8Image, state: RobotState, step: int) -> Float32Array:
        """Return the canonical actions of the next PLANNED control steps, float32 [PLANNED, 7].

        Args:
            picture: of now, uint8 [y, x, 3].
            state: of the arm, measured when the picture was taken.
            step: control steps that were executed before; the same one again means that nothing was, as when a chunk
                came too late.
        """
        if step != self._step:
            self._policy, self._closing, self._step = self._after, self._closing_after, step
        seen = Seen(
            picture=picture,
            positions=state.positions,
            gripper_width=state.gripper_width,
            tcp_pose=state.tcp_pose,
        )
        estimate = self._estimator.update(seen, closing=self._closing)
        twin, policy = self._twin, deepcopy(self._policy)
        objects = self._others | {self._name: estimate.pose}
        twin.place(state.tcp_pose, state.gripper_width, objects, closing=self._closing)
        planned = np.zeros((PLANNED, ACTION_DIM), np.float32)
        planned[:, 6] = -1.0 if self._closing else 1.0
        self._after = self._policy
        for number in range(PLANNED):
            if not twin.is_finite:
                break  # what the twin no longer knows is left to the next look: the hand waits
            estimate = replace(estimate, pose=twin.object_pose(self._name))
            planned[number] = policy.act(estimate, twin.tcp_pose, twin.gripper_width)
            twin.step(planned[number])
            if number + 1 == self._executed:
                self._after = deepcopy(policy)
        self._closing_after = bool(planned[self._executed - 1, 6] < 0)
        return planned


def _pose(start: Start) -> Pose:
    return Pose(position=start.fit.position, quaternion=yaw_quaternions([start.fit.yaw])[0])
