# SPDX-License-Identifier: Apache-2.0
"""One episode: goals from a video, the live estimate of the object, and a policy that acts in the real world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from physgen_control.types import Float32Array, Pose, UInt8Image
from physgen_physworld.execution.estimator import Estimate, ObjectEstimator
from physgen_physworld.execution.reality import Reality, Seen
from physgen_physworld.plan.base import GoalFollower, Phase
from physgen_physworld.plan.goals import Goals
from physgen_physworld.reconstruction.depth import Depth, PlaneDepth
from physgen_physworld.reconstruction.tracker import find_first
from physgen_physworld.reconstruction.words import things_named

LOOK_EVERY = 4
"""Control steps from one picture to the next while the object is not held: looking costs more than acting."""

AFTER_DONE = 8
"""Control steps after the policy is done, in which things come to rest."""


class Policy(Protocol):
    """What acts: the base policy, naive retargeting, or the base with its residual."""

    @property
    def follower(self) -> GoalFollower:
        """The base below it, whose phase and progress say how far it is."""
        ...

    def act(self, estimate: Estimate, tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the canonical action of this control step."""
        ...


class Following:
    """A goal follower alone, as a Policy."""

    def __init__(self, follower: GoalFollower) -> None:
        self.follower = follower

    def act(self, estimate: Estimate, tcp_pose: Pose, gripper_width: float) -> Float32Array:
        """Return the follower's action."""
        return self.follower.act({"object": estimate.pose}, tcp_pose, gripper_width)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """What happened: control steps, the last phase, goals reached of all, grasps that failed.

    hand is where the hand was before the first of the actions; frames are the pictures if they are wanted, the first
    one and then one every LOOK_EVERY control steps.
    """

    steps: int
    phase: Phase
    progress: int
    goals: int
    held: bool
    failed_grasps: int
    hand: Pose
    actions: list[Float32Array]
    frames: list[UInt8Image] = field(default_factory=list)


def run_episode(
    reality: Reality,
    seed: int,
    goals: Goals,
    make_policy: Callable[[Goals], Policy],
    *,
    depth: Depth | None = None,
    clicks: dict[str, tuple[float, float]] | None = None,
    film: bool = False,
) -> EpisodeResult:
    """Run one episode; the object is looked for in the first picture anew, the goals alone come from the video.

    Raises:
        UserError: an object of the instruction is not in the first picture.
    """
    seen = reality.begin(seed)
    estimator = start_estimator(reality, seen, goals, depth or PlaneDepth(), clicks)
    policy = make_policy(goals)
    frames = [seen.picture] if seen.picture is not None else []
    held = False
    hand, actions = seen.tcp_pose, list[Float32Array]()
    left, steps, estimate = AFTER_DONE, 0, estimator.estimate
    while steps < reality.max_steps and left:
        action = policy.act(estimate, seen.tcp_pose, seen.gripper_width)
        actions.append(action)
        steps += 1
        look = steps % LOOK_EVERY == 0 and (film or not estimate.held)
        seen = reality.step(action, look=look)
        estimate = estimator.update(seen, closing=bool(action[6] < 0))
        held = held or estimate.held
        left -= policy.follower.phase is Phase.DONE
        if film and seen.picture is not None:
            frames.append(seen.picture)
    follower = policy.follower
    return EpisodeResult(
        steps=steps,
        phase=follower.phase,
        progress=follower.progress,
        goals=len(goals.positions),
        held=held,
        failed_grasps=follower.failed_grasps,
        hand=hand,
        actions=actions,
        frames=frames if film else [],
    )


def start_estimator(
    reality: Reality,
    seen: Seen,
    goals: Goals,
    depth: Depth,
    clicks: dict[str, tuple[float, float]] | None = None,
) -> ObjectEstimator:
    """Find the moved object in the first picture.

    Raises:
        UserError: it is not there.
    """
    assert seen.picture is not None
    starts = find_first(seen.picture, reality.camera, things_named(reality.instruction), depth, clicks)
    moved = next(start for start in starts if start.thing.name == goals.name)
    return ObjectEstimator(reality.camera, moved, seen.picture, {start.colour for start in starts})
