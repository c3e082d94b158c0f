# SPDX-License-Identifier: Apache-2.0
"""Where the moved object is while the robot acts: seen by the camera, or carried by the hand that has closed on it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from physgen_control.types import Pose, UInt8Image
from physgen_physworld.camera import Camera
from physgen_physworld.execution.reality import Seen
from physgen_physworld.plan.in_hand import InHand
from physgen_physworld.reconstruction.colours import COLOURS, colour_mask
from physgen_physworld.reconstruction.tracker import Start, doubts, follow
from physgen_physworld.values import yaw_quaternions

LEAST_TRUSTED = 0.45
"""Agreement times visible share from which a sighting replaces the last one."""

CARRIED_CONFIDENCE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The object's pose in the base frame, how sure it is (0 to 1), and whether the hand holds it."""

    pose: Pose
    confidence: float
    held: bool


class ObjectEstimator:
    """Follows one object through an episode, from where the first picture shows it."""

    def __init__(self, camera: Camera, start: Start, first: UInt8Image, named_colours: set[str]) -> None:
        self._camera = camera
        self._start = start
        self._first = first
        self._unnamed = set(COLOURS) - named_colours
        self._fit = start.fit
        self._in_hand = InHand(start.thing.size)
        self._estimate = Estimate(pose=_pose(start), confidence=start.fit.agreement, held=False)

    @property
    def estimate(self) -> Estimate:
        """The newest estimate."""
        return self._estimate

    def update(self, seen: Seen, *, closing: bool) -> Estimate:
        """Take in what the robot has seen and felt; closing: the gripper was told to close."""
        carried = self._in_hand.update(
            self._estimate.pose, seen.tcp_pose, seen.gripper_width, closing=closing
        )
        if carried is not None:
            self._estimate = Estimate(pose=carried, confidence=CARRIED_CONFIDENCE, held=True)
            self._fit = replace(self._fit, position=self._estimate.pose.position)
        elif seen.picture is not None:
            self._look(seen.picture)
        else:
            self._estimate = replace(self._estimate, held=False)
        return self._estimate

    def _look(self, picture: UInt8Image) -> None:
        mask = colour_mask(picture, self._start.colour)
        doubt = doubts(picture, (self._first,), self._unnamed)
        # It lies where it was last put: its height is that of its support.
        resting = replace(self._start, fit=self._fit)
        fit = follow(self._camera, resting, self._fit, mask, doubt).supported
        trust = 0.0 if fit is None else fit.agreement * fit.visible
        if fit is None or trust < LEAST_TRUSTED:
            self._estimate = replace(self._estimate, confidence=0.5 * self._estimate.confidence, held=False)
            return
        self._fit = fit
        pose = Pose(position=fit.position, quaternion=yaw_quaternions([fit.yaw])[0])
        self._estimate = Estimate(pose=pose, confidence=trust, held=False)


def _pose(start: Start) -> Pose:
    return Pose(position=start.fit.position, quaternion=yaw_quaternions([start.fit.yaw])[0])
