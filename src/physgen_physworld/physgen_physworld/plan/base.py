# SPDX-License-Identifier: Apache-2.0
"""The base policy: grasp the object and bring it through its goals by progress, or push it; and naive retargeting.

Both decide from the estimated pose of the object and the robot's own state. The base follows the object: a goal is
reached when the object is there, never by the clock. Naive retargeting moves the hand rigidly along the way of the
video from the moment of the grasp on and never looks at the object again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, Float64Array, Pose
from physgen_physworld.plan.goals import Goals
from physgen_physworld.plan.grasp import WIDEST, grasp_proposals
from physgen_physworld.values import square_turn, yaw_of
from physgen_sim_bridge.experts.expert import StateExpert
from physgen_sim_bridge.experts.motion import CLOSED, OPEN, hand_action, reaching, shorten
from physgen_sim_bridge.experts.push import PushExpert, PushGeometry

Kind = Literal["base", "naive"]


class Phase(IntEnum):
    """What the hand is doing; in this order where nothing goes wrong."""

    APPROACH = 0
    DESCEND = 1
    CLOSE = 2
    CARRY = 3
    RELEASE = 4
    RETREAT = 5
    DONE = 6
    PUSH = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseConfig:
    """Distances [m], shares of the remaining way per control step, and waits [control steps]."""

    hover: float = 0.10  # of the hand above the object before it comes down
    over: float = 0.010  # it comes down when sideways this near
    aligned: float = 0.12  # and turned to the faces within this [rad]
    down: float = 0.006  # it closes when this near to the object's middle
    gain: float = 0.5
    descent: float = 0.02  # longest step down onto the object
    carry: float = 0.04  # longest step while holding
    tolerance: float = 0.014  # a goal is reached
    last_tolerance: float = 0.005  # the last goal is reached
    close_steps: int = 5
    release_steps: int = 4
    patience: int = 12  # the last goal is as good as reached
    push_end: float = 0.008  # a push ends this near to the last goal
    push_near: float = 0.075  # a hand this near beside the object, and this little above it, touches it soon
    push_low: float = 0.03
    push_pace: tuple[float, float] = (0.015, 0.03)  # shortest and longest step then


class GoalFollower(StateExpert):
    """One episode's base policy or naive retargeting; `progress` and `phase` are for looking at.

    `act` takes the estimated object under the name "object". Making one raises UserError where the object has to be
    lifted and is wider than the hand.
    """

    def __init__(self, goals: Goals, kind: Kind = "base", config: BaseConfig | None = None) -> None:
        super().__init__()
        if goals.lifted and min(goals.size[:2]) > WIDEST:
            raise UserError(
                f"The {goals.name.replace('_', ' ')} is {1000 * min(goals.size[:2]):.0f} mm wide, and the hand opens "
                f"{1000 * WIDEST:.0f} mm: it cannot be lifted; take a video that pushes it."
            )
        self.goals = goals
        self._naive = kind == "naive"
        self._config = config or BaseConfig()
        self._push = PushExpert(PushGeometry(overshoot=self._config.push_end, straight=0.0))
        self.reset()

    def reset(self) -> None:
        """Start an episode."""
        super().reset()
        self._push.reset()
        self.phase = Phase.PUSH if self._pushes else Phase.APPROACH
        self.progress = 0
        self.failed_grasps = 0
        self._waited = 0
        self._turn_left: float | None = None
        self._hand_goals: list[Float64Array] = []
        self._grasp_width = self.goals.size[0]

    def _decide(self, objects: Mapping[str, Pose], tcp_pose: Pose, gripper_width: float) -> Float32Array:
        thing = objects["object"]
        match self.phase:
            case Phase.PUSH:
                return self._pushing(thing, tcp_pose, gripper_width)
            case Phase.APPROACH | Phase.DESCEND | Phase.CLOSE:
                return self._grasping(thing, tcp_pose, gripper_width)
            case Phase.CARRY:
                return self._carrying(thing, tcp_pose, gripper_width)
            case _:
                return self._leaving(tcp_pose)

    def holds(self, gripper_width: float) -> bool:
        """Say whether the fingers are about as far apart as the object is wide."""
        return 0.5 * self._grasp_width < gripper_width < self._grasp_width + 0.008

    def _pushing(self, thing: Pose, tcp_pose: Pose, gripper_width: float) -> Float32Array:
        goals = self.goals.positions
        while (
            self.progress < len(goals) - 1
            and float(np.linalg.norm((goals[self.progress] - thing.position)[:2])) < 0.045
        ):
            self.progress += 1
        if float(np.linalg.norm((goals[-1] - thing.position)[:2])) < self._config.push_end:
            self.phase = Phase.DONE
            return self._leaving(tcp_pose)
        goal = Pose(position=goals[self.progress], quaternion=thing.quaternion)
        action = self._push.act({"cube": thing, "goal": goal}, tcp_pose, gripper_width)
        away = tcp_pose.position - thing.position
        if away[2] < self._config.push_low and float(np.hypot(away[0], away[1])) < self._config.push_near:
            # Slow enough not to knock it on: what is let go of slides by itself.
            left = float(np.linalg.norm((goals[-1] - thing.position)[:2]))
            pace = float(np.clip(self._config.gain * left, *self._config.push_pace))
            action[:3] = shorten(action[:3].astype(np.float64), pace)
        return action

    def _grasping(self, thing: Pose, tcp_pose: Pose, gripper_width: float) -> Float32Array:
        config = self._config
        turn = reaching(tcp_pose)
        grasps = grasp_proposals(
            thing.position, yaw_of(thing.quaternion), self.goals.size, tcp_pose, self.goals.obstacles
        )
        yaw = grasps[0].turn if grasps else 0.0
        to_thing = thing.position - tcp_pose.position
        sideways = float(np.hypot(to_thing[0], to_thing[1]))
        if self.phase is Phase.CLOSE:
            self._waited += 1
            if self._waited >= config.close_steps:
                self._waited = 0
                if self.holds(gripper_width):
                    self._begin_carry(thing, tcp_pose)
                    return self._carrying(thing, tcp_pose, gripper_width)
                self.failed_grasps += 1
                self.phase = Phase.APPROACH
            return hand_action(np.zeros(3), turn, CLOSED)
        turn[2] += 0.7 * yaw
        if self.phase is Phase.APPROACH:
            if sideways < config.over and abs(yaw) < config.aligned and gripper_width > 0.07:
                self.phase = Phase.DESCEND
            else:
                rise = thing.position[2] + config.hover - tcp_pose.position[2]
                near_and_low = rise > 0.04 and sideways < 0.12
                move = np.array([0.0, 0.0, rise]) if near_and_low else np.array([*to_thing[:2], rise])
                return hand_action(0.7 * move, turn, OPEN)
        if sideways > 3 * config.over:
            self.phase = Phase.APPROACH  # it has been pushed away
        if abs(to_thing[2]) < config.down and sideways < config.over:
            self.phase = Phase.CLOSE
            self._grasp_width = grasps[0].width if grasps else self._grasp_width
            return hand_action(to_thing, turn, CLOSED)
        return hand_action(shorten(to_thing, config.descent), turn, OPEN)

    def _begin_carry(self, thing: Pose, tcp_pose: Pose) -> None:
        """The hand's way is the object's, from here on; T_hand[t] = T_object[t] (T_object^-1 T_hand)."""
        self.phase = Phase.CARRY
        goals = self.goals.positions
        start = int(np.argmin(np.linalg.norm(goals - thing.position, axis=1) + 1e-3 * np.arange(len(goals))))
        self.progress = max(self.progress, start)
        offset = tcp_pose.position - thing.position
        self._hand_goals = [goal + offset for goal in goals]
        self._waited = 0

    def _carrying(self, thing: Pose, tcp_pose: Pose, gripper_width: float) -> Float32Array:
        config, goals = self._config, self.goals.positions
        if not self._naive and not self.holds(gripper_width):
            self.failed_grasps += 1
            self.phase = Phase.APPROACH  # lost: again, from where it lies now
            return hand_action(np.array([0.0, 0.0, 0.02]), reaching(tcp_pose), OPEN)
        targets = self._hand_goals if self._naive else goals
        here = tcp_pose.position if self._naive else thing.position
        last = len(goals) - 1
        while (
            self.progress < last and float(np.linalg.norm(targets[self.progress] - here)) < config.tolerance
        ):
            self.progress += 1
        ahead = targets[min(self.progress + 1, last)]
        gap = ahead - here
        turn = reaching(tcp_pose)
        if not self._naive:
            turn[2] += 0.3 * square_turn(float(self.goals.yaws[self.progress]) - yaw_of(thing.quaternion))
        if self.progress == last:
            self._waited += 1
            if float(np.linalg.norm(gap)) < config.last_tolerance or self._waited > config.patience:
                self._waited = 0
                self.phase = Phase.RELEASE if self._lets_go else Phase.DONE
        return hand_action(shorten(config.gain * gap, config.carry), turn, CLOSED)

    @property
    def _pushes(self) -> bool:
        return not self.goals.lifted and not self._naive

    @property
    def _lets_go(self) -> bool:
        return self.goals.released or not self.goals.lifted

    def _leaving(self, tcp_pose: Pose) -> Float32Array:
        turn = np.zeros(3)
        if self.phase is Phase.RELEASE:
            self._waited += 1
            if self._waited >= self._config.release_steps:
                self.phase, self._waited = Phase.RETREAT, 0
            return hand_action(np.zeros(3), turn, OPEN)
        if self.phase is Phase.RETREAT:
            self._waited += 1
            if self._waited > 4:
                self.phase = Phase.DONE
            return hand_action(np.array([0.0, 0.0, 0.025]), turn, OPEN)
        # After a push, too, the fingers stay closed: opening, they would push once more.
        opened = self._lets_go and not self._pushes
        return hand_action(np.zeros(3), turn, OPEN if opened else CLOSED)
