# SPDX-License-Identifier: Apache-2.0
"""An observation gate and what reaches it: images and applied actions of an episode, recognisable by their numbers."""

from typing import Any

import numpy as np

from physgen_control.types import ActionSpace, AppliedAction, CameraFrame, Episode, Pose, Source
from physgen_policy.contract.observation import GateConfig, ObservationGate, PolicyObservation

DT = 50_000_000
START = 7_000_000_000
IMAGE = np.zeros((2, 2, 3), np.uint8)
POSE = Pose(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))
EPISODE = Episode(episode_id="e", task="PushCube-v1", seed=3, instruction="push", start_ns=START)


def frame(n: int, offset_ns: int = 0) -> CameraFrame:
    return CameraFrame(stamp_ns=START + n * DT + offset_ns, rgb=IMAGE, frame_id="camera")


def applied(
    step: int, base: int, source: Source = Source.POLICY, session: str = "s", **changes
) -> AppliedAction:
    """The action of control step `step`, recognisable by its first number."""
    vector = np.zeros(7, np.float32)
    vector[0], vector[6] = step + 1, -1.0 if step % 2 else 1.0
    values: dict[str, Any] = {
        "stamp_ns": START + step * DT,
        "state_stamp_ns": START + step * DT,
        "session_id": session if source is Source.POLICY else "",
        "episode_id": "e",
        "step": step,
        "chunk_seq": 0,
        "base_step": base,
        "step_index": max(0, step - base),
        "chunk_index": 0,
        "source": source,
        "executed": True,
        "raw": vector,
        "applied": vector,
        "target_pose": POSE,
        "gripper_width": 0.08,
        "action_space": ActionSpace.EE_DELTA,
    }
    return AppliedAction(**(values | changes))


def gate(**changes: Any) -> ObservationGate:
    result = ObservationGate(GateConfig(step_period_ns=DT, **changes))
    result.start_episode(EPISODE, "s")
    return result


def show(g: ObservationGate, n: int, offset_ns: int = 0) -> None:
    g.put_frame("fixed", frame(n, offset_ns))
    g.put_frame("wrist", frame(n, offset_ns))


def expect(g: ObservationGate, now_step: float) -> PolicyObservation:
    observation = g.take(START + round(now_step * DT))
    assert isinstance(observation, PolicyObservation), observation
    return observation


def lockstep_events(num_chunks: int, execute_steps: int) -> list[list[tuple[str, Any]]]:
    """Batches between two observations of the policy: everything in a batch may arrive in any order."""
    batches: list[list[tuple[str, Any]]] = [[("start", None), ("fixed", frame(0)), ("wrist", frame(0))]]
    step = 0
    for _ in range(num_chunks):
        base = step
        batch: list[tuple[str, Any]] = []
        for _ in range(execute_steps):
            batch.append(("action", applied(step, base)))
            step += 1
            batch += [("fixed", frame(step)), ("wrist", frame(step))]
        batches.append(batch)
    return batches
