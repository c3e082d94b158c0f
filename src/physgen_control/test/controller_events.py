# SPDX-License-Identifier: Apache-2.0
"""Random events for a ControllerWorld: ordinary ones mostly, so that the arm moves, and all that may go wrong."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from controller_world import CHUNKS, GLITCHES, ControllerWorld

from physgen_control.controller_config import Mode
from physgen_control.types import EpisodePhase, SafetyState

WEIGHTS = {
    "steps": 30.0, "chunk": 10.0, "teleop": 5.0, "pause": 3.0, "glitch": 3.0, "episode": 2.0, "operator": 2.0,
    "report": 2.0, "jump": 1.0, "push": 1.0, "late": 1.0, "mode": 0.3, "deadman": 2.0, "recover": 6.0, "fault": 0.2,
}  # fmt: skip
"""How often each kind of event happens, compared with the others."""


def random_world(rng: np.random.Generator, *, arm: bool) -> ControllerWorld:
    """Return a world whose operator settings and fingers are drawn."""
    return ControllerWorld(
        arm=arm,
        width=float(rng.choice([0.0, 0.02, 0.0402, 0.05, 0.079, 0.08])),
        require_deadman=bool(rng.random() < 0.3),
        require_publisher=bool(rng.random() < 0.7),
    )


def random_event(
    world: ControllerWorld,
    rng: np.random.Generator,
    counts: Counter[str],
    weights: dict[str, float] = WEIGHTS,
) -> int:
    """Let one thing happen; returns how many messages and clock readings that was."""
    shares = np.array(list(weights.values()))
    name = str(rng.choice(list(weights), p=shares / shares.sum()))
    counts[name] += 1
    match name:
        case "steps":
            count = int(rng.integers(1, 9))
            for _ in range(count):
                if world.config.require_deadman:
                    world.deadman(True)
                world.step()
            return 3 * count
        case "chunk":
            if world.episode == "" and rng.random() < 0.5:
                world.begin_episode()
            ack = world.chunk(
                str(rng.choice(CHUNKS)),
                seed=int(rng.integers(1 << 30)),
                gripper=float(rng.choice([-1.0, 1.0, 0.0, 0.3])),
                steps=int(rng.integers(1, 17)),
            )
            counts[f"chunk {ack.result.name}"] += 1
        case "teleop":
            count = int(rng.integers(1, 6))
            for _ in range(count):
                world.deadman(True)
                size = float(rng.choice([0.02, 0.1, 2.0, np.nan]))
                world.twist(size * rng.uniform(-1.0, 1.0, 6), float(rng.choice([0.0, 1.0, -1.0, np.nan])))
                world.step()
            if rng.random() < 0.5:
                world.deadman(False)
            return 5 * count
        case "pause":
            world.pause(int(rng.choice([1_000_000, 20_000_000, 60_000_000, 200_000_000, 2_000_000_000])))
        case "glitch":
            world.glitch(str(rng.choice(GLITCHES)))
        case "episode":
            if world.episode and rng.random() < 0.5:
                world.end_episode(EpisodePhase(int(rng.choice([0, 2, 3, 4, 5]))))
            else:
                world.begin_episode()
        case "operator":
            world.operator(str(rng.choice(["arm", "arm", "disarm", "hold", "clear_fault"])))
        case "report":
            what, values = _REPORTS[int(rng.integers(len(_REPORTS)))]
            world.report(what, values[int(rng.integers(len(values)))])
        case "jump":
            world.jump(float(rng.choice([-60, -3, -0.3, 0.3, 3, 20, 60])), driver=bool(rng.random() < 0.5))
        case "push":
            world.push(int(rng.integers(7)), float(rng.choice([0.0, 0.0, 0.02, 0.1, 0.19, 0.4])))
        case "late":
            world.late_trajectory()
        case "mode":
            world.mode(Mode.SHADOW if rng.random() < 0.3 else Mode.ARMED)
        case "deadman":
            world.deadman(bool(rng.random() < 0.5))
        case "recover":
            return _recover(world)
        case _:
            world.report("internal fault", None)
    return 1


def _recover(world: ControllerWorld) -> int:
    """An operator mends everything that may be wrong and arms again."""
    if world.core.state is SafetyState.ARMED:
        return 0
    world.set_clocks_right()
    world.push(0, 0.0)
    world.mode(Mode.ARMED)
    world.report("publishers", 1)
    world.report("robot mode", "")
    world.step(4)
    world.operator("clear_fault")
    world.operator("arm")
    world.step(8)
    return 40


_REPORTS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("publishers", (0, 1, 1, 2)),
    ("robot mode", ("", "The robot is in reflex.")),
    ("wrench", (0.0, 10.0, 500.0, float("nan"))),
    ("gripper", ("", "A gripper goal failed")),
    ("wall", (None,)),
    ("silence", ((0.0, 0.0), (1.2, 0.0), (0.0, 1.2))),
)
