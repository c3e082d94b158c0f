# SPDX-License-Identifier: Apache-2.0
"""The environment of gymnasium in which the residual learns: a twin, the base policy in it, and wrong estimates.

The twin is built from the same estimate that the robot will act on, so an error of that estimate is invisible in it.
Therefore every episode puts the true objects a little beside where the estimate has them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from physgen_control.types import ACTION_DIM, Float32Array, Float64Array, Pose
from physgen_physworld.plan.base import GoalFollower, Phase
from physgen_physworld.plan.goals import Goals
from physgen_physworld.plan.in_hand import InHand
from physgen_physworld.residual.network import with_residual
from physgen_physworld.residual.observation import OBSERVATION_DIM, observe
from physgen_physworld.residual.reward import FollowingReward, RewardConfig
from physgen_physworld.scene.scene import Scene
from physgen_physworld.twin.twin import Properties, Twin
from physgen_physworld.values import yaw_of, yaw_quaternions

LOOK_EVERY = 4
"""Control steps from one picture to the next, as on the robot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomization:
    """What differs from episode to episode; all zeros and properties=False is the twin as it was reconstructed."""

    properties: bool = True  # masses, frictions and the arm's lag from the scene's ranges
    position: float = 0.005  # standard deviation of the estimate's error [m]
    yaw: float = 0.10  # the same of the yaw [rad]
    jitter: float = 0.001  # of each sighting [m]
    dropout: float = 0.2  # share of sightings that are missed
    most_delay: int = 2  # control steps by which actions may come late


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One scene and what its video asks for."""

    scene: Scene
    goals: Goals


class ResidualEnv(gymnasium.Env[Float32Array, Float32Array]):
    """One twin. An action [6] in -1 to 1 is the residual as a share of `scale` ([m], [rad])."""

    def __init__(
        self,
        situations: Sequence[Situation],
        scale: Float64Array,
        randomization: Randomization | None = None,
        reward: RewardConfig | None = None,
        max_steps: int = 160,
    ) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (6,), np.float32)
        self._situations = list(situations)
        self._scale = scale
        self._randomization = randomization or Randomization()
        self._reward_config = reward
        self._max_steps = max_steps
        self._twin_of = -1  # the situation that the twin is made of; there may be hundreds

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32Array, dict[str, Any]]:
        """Begin an episode in one of the situations."""
        super().reset(seed=seed)
        rng, random = self.np_random, self._randomization
        index = int(rng.integers(len(self._situations)))
        situation = self._situations[index]
        if index != self._twin_of:
            self._twin, self._twin_of = Twin(situation.scene), index
        self._moved = situation.scene.moved
        properties = Properties.drawn(situation.scene, rng) if random.properties else None
        spread = np.array([random.position, random.position, random.yaw])
        shifts = {box.name: rng.normal(0.0, 1.0, 3) * spread for box in situation.scene.boxes}
        hand = Pose(
            position=np.array([0.47, 0.0, 0.18]) + rng.normal(0.0, 0.02, 3) * float(random.properties),
            quaternion=np.array([1.0, 0.0, 0.0, 0.0]),
        )
        self._twin.reset(properties or Properties.middle(situation.scene), hand, shifts)
        self._follower = GoalFollower(situation.goals)
        self._in_hand = InHand(situation.goals.size)
        self._reward = FollowingReward(situation.goals, self._reward_config)
        box = next(box for box in situation.scene.boxes if box.name == self._moved)
        self._bias = -shifts[self._moved]
        self._estimate = Pose(position=box.position.copy(), quaternion=yaw_quaternions([box.yaw])[0])
        self._confidence = 0.9
        delay = int(rng.integers(random.most_delay + 1))
        still = np.zeros(ACTION_DIM, np.float32)
        still[6] = 1.0
        self._late = deque([still] * delay)
        self._steps, self._done_steps, self._held = 0, 0, False
        return self._observe(), {}

    def step(self, action: Float32Array) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Add the residual to the base's action and let physics decide."""
        residual = np.clip(np.asarray(action, np.float64), -1.0, 1.0)
        command = with_residual(self._base_action, residual * self._scale)
        self._late.append(command)
        self._twin.step(self._late.popleft())
        self._steps += 1
        thing = self._twin.object_pose(self._moved)
        reward = self._reward.step(thing, residual, self._twin.penetration)
        self._estimate_anew(thing, closing=bool(command[6] < 0))
        self._done_steps += self._follower.phase is Phase.DONE
        terminated = self._done_steps >= 5 or not self._twin.is_finite
        truncated = self._steps >= self._max_steps and not terminated
        if terminated or truncated:
            reward += self._reward.end(thing) if self._twin.is_finite else 0.0
        info = {
            "passed": self._reward.passed,
            "end_error": float(np.linalg.norm(self._follower.goals.positions[-1] - thing.position)),
            "failed_grasps": self._follower.failed_grasps,
        }
        return self._observe(), reward, terminated, truncated, info

    def _observe(self) -> Float32Array:
        hand, width = self._twin.tcp_pose, self._twin.gripper_width
        self._base_action = self._follower.act({"object": self._estimate}, hand, width)
        return observe(self._follower, self._estimate, self._confidence, hand, width, self._base_action)

    def _estimate_anew(self, thing: Pose, *, closing: bool) -> None:
        """As on the robot: carried by the hand, or seen now and then, wrongly by the episode's error."""
        carried = self._in_hand.update(
            self._estimate, self._twin.tcp_pose, self._twin.gripper_width, closing=closing
        )
        self._held = carried is not None
        if carried is not None:
            self._estimate, self._confidence = carried, 0.8
        elif self._steps % LOOK_EVERY == 0:
            if self.np_random.random() < self._randomization.dropout:
                self._confidence *= 0.5
                return
            jitter = self.np_random.normal(0.0, self._randomization.jitter, 2)
            position = thing.position + np.array([*(self._bias[:2] + jitter), 0.0])
            yaw = yaw_of(thing.quaternion) + self._bias[2]
            self._estimate = Pose(position=position, quaternion=yaw_quaternions([yaw])[0])
            self._confidence = 0.9
