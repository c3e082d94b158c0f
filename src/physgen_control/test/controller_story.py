# SPDX-License-Identifier: Apache-2.0
"""What a controller decides in one long random story, in words: a line for every answer, step, trajectory and change.

The stories in `stories/` were written by `python controller_story.py` and read; a change of behaviour shows in their
difference.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from controller_events import WEIGHTS, random_event
from controller_world import ControllerWorld

from physgen_control.controller_config import Execution
from physgen_control.motion.joint_path import JointTrajectory
from physgen_control.types import AppliedAction, ChunkAck, Source

FOLDER = Path(__file__).parent / "stories"
REPORTS = WEIGHTS | {"report": 20.0, "late": 4.0, "mode": 3.0, "pause": 6.0, "glitch": 0.5, "jump": 0.3}
"""Watchdogs, drivers and operators have much to say."""

STORIES: dict[str, dict[str, Any]] = {
    "arm": {"arm": True, "seed": 1, "events": 120},
    "arm with a deadman": {"arm": True, "seed": 2, "events": 90, "require_deadman": True, "width": 0.03},
    "arm pipelined": {
        "arm": True,
        "seed": 3,
        "events": 90,
        "execution": Execution.PIPELINED,
        "require_publisher": False,
    },
    "arm reported on": {"arm": True, "seed": 6, "events": 130, "weights": REPORTS},
    "world reported on": {"arm": False, "seed": 7, "events": 130, "weights": REPORTS},
    "world": {"arm": False, "seed": 4, "events": 120},
}
"""Name -> which world, which seed, how many events, which settings."""

_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+|nan|inf")


class _Told:
    """A controller whose answers are written down; everything else passes through."""

    def __init__(self, world: ControllerWorld) -> None:
        self._world, self._core = world, world.core
        self._told_status = self._told_hold = ""
        self.lines: list[str] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._core, name)
        if name.startswith("_") or not callable(value):
            return value

        def called(*arguments: Any) -> Any:
            answer = value(*arguments)
            self._tell(name, answer)
            return answer

        return called

    def _say(self, text: str) -> None:
        self.lines.append(f"{self._world.true_ns / 1e9:.3f} {text}")

    def _tell(self, name: str, answer: Any) -> None:
        if isinstance(answer, ChunkAck):
            self._say(f"chunk {answer.chunk_seq}: {answer.result.name} {answer.detail}")
        elif isinstance(answer, AppliedAction):
            self._tell_step(answer)
        elif isinstance(answer, JointTrajectory):
            self._say(f"{name}: {_trajectory(answer, self._world.now_ns)}")
        elif isinstance(answer, tuple):
            self._say(f"{name}: {answer[0]} {answer[1]}")
        status = self._core.status
        words = (
            f"{status.state.name} {status.faults!r} deadman {status.deadman} teleop {status.intervention} "
        )
        words += f"estop {status.estop} seq {status.last_chunk_seq} loaded {self._core.chunk_loaded}: {status.detail}"
        if words != self._told_status:
            self._say(f"{words} (state {status.state_age:.3f} s old)")
            self._told_status = words

    def _tell_step(self, action: AppliedAction) -> None:
        done = f"executed {action.executed}, gripper {action.applied[6]:.0f}, {action.gripper_width:.4f} m"
        if action.source is Source.HOLD:
            if done != self._told_hold:
                self._say(f"step {action.step}: HOLD {done}")
            self._told_hold = done
            return
        self._told_hold = ""
        origin = f"chunk {action.chunk_seq} from {action.base_step}, action {action.chunk_index}/{action.step_index}"
        asked = f"{action.limits!r} of {_numbers(action.raw)}, {action.latency:.4f} s old"
        goal = f"{_numbers(action.applied[:6])} to {_numbers(action.target_pose.position)}"
        joints = _numbers(action.target_positions)
        self._say(f"step {action.step}: {action.source.name} {origin} {done}, {goal} joints {joints} {asked}")


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in np.asarray(values) + 0.0)


def _trajectory(trajectory: JointTrajectory, now_ns: int) -> str:
    starts = "on arrival" if trajectory.start_ns == 0 else f"in {(trajectory.start_ns - now_ns) / 1e9:.3f} s"
    middle = len(trajectory.times) // 2
    return (
        f"{len(trajectory.times)} knots {starts}, ends after {trajectory.times[-1]:.4f} s at "
        f"{_numbers(trajectory.positions[-1])} over {_numbers(trajectory.positions[middle])}"
    )


def path_of(story: str) -> Path:
    """Where a story is written down."""
    return FOLDER / f"{story.replace(' ', '_')}.txt"


def tell(name: str) -> list[str]:
    """Return the story's lines as the code of now tells it."""
    plan = dict(STORIES[name])
    rng = np.random.default_rng(plan.pop("seed"))
    events, weights = plan.pop("events"), plan.pop("weights", WEIGHTS)
    world = ControllerWorld(**plan)
    told = _Told(world)
    world.core = told  # type: ignore[assignment]
    counts: Counter[str] = Counter()
    for _ in range(events):
        random_event(world, rng, counts, weights)
    return told.lines


def differs(told: str, written: str, tolerance: float = 2e-6) -> bool:
    """Other words, or a number that is farther away than rounding on another machine explains."""
    if _NUMBER.sub("#", told) != _NUMBER.sub("#", written):
        return True
    pairs = zip(_NUMBER.findall(told), _NUMBER.findall(written), strict=True)
    return any(a != b and not abs(float(a) - float(b)) <= tolerance for a, b in pairs)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for story in STORIES:
        path_of(story).write_text("\n".join(tell(story)) + "\n")
