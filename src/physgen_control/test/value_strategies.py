# SPDX-License-Identifier: Apache-2.0
"""Hypothesis strategies for the shared values, and a small recorded episode, for the tests of this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_control.bags.serialize import CameraSpec, EpisodeBag
from physgen_control.types import (
    AckResult,
    ActionChunk,
    ActionSpace,
    AppliedAction,
    ChunkAck,
    DeltaReference,
    Episode,
    EpisodePhase,
    GripperMode,
    Limit,
    Pose,
    RobotState,
    Rotation,
    SimState,
    Source,
)

STAMP_NS = st.integers(0, 2**31 * 10**9 - 1)
# CDR strings cannot hold NUL, UTF-8 cannot hold surrogates.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
UINT64 = st.integers(0, 2**64 - 1)
METRES = st.floats(-10, 10)
FLOAT32 = st.floats(width=32, allow_nan=False)
SMALL_FLOAT32 = st.floats(-10, 10, width=32)


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    """A pose with a unit quaternion."""
    quaternion = np.array(draw(st.tuples(*[st.floats(-1, 1)] * 4)))
    norm = np.linalg.norm(quaternion)
    quaternion = quaternion / norm if norm > 1e-3 else np.array([0.0, 0.0, 0.0, 1.0])
    return Pose(position=np.array(draw(st.tuples(METRES, METRES, METRES))), quaternion=quaternion)


def vectors(length: int) -> st.SearchStrategy[np.ndarray]:
    """Finite float64 vectors."""
    return hnp.arrays(np.float64, length, elements=st.floats(-100, 100))


robot_states = st.builds(
    RobotState,
    stamp_ns=STAMP_NS,
    positions=vectors(7),
    velocities=vectors(7),
    gripper_width=st.floats(0, 0.08, allow_subnormal=False),
    tcp_pose=poses(),
)

sim_states = st.builds(
    SimState,
    stamp_ns=STAMP_NS,
    episode_id=TEXT,
    objects=st.dictionaries(TEXT, poses(), max_size=3),
    tcp_pose=poses(),
    gripper_width=SMALL_FLOAT32,
    success=st.booleans(),
    frame_id=TEXT,
)

episodes = st.builds(
    Episode,
    episode_id=TEXT,
    task=TEXT,
    seed=st.integers(-(2**63), 2**63 - 1),
    instruction=TEXT,
    start_ns=STAMP_NS,
    phase=st.sampled_from(EpisodePhase),
    step=st.integers(0, 2**32 - 1),
    max_steps=st.integers(0, 2**32 - 1),
    robot=TEXT,
    source=TEXT,
    bag_path=TEXT,
    detail=TEXT,
)


@st.composite
def chunks(draw: st.DrawFn) -> ActionChunk:
    """A prediction of any shape, with any float32 in it (NaN is the controller's business)."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 8)), draw(st.integers(1, 8)))
    return ActionChunk(
        session_id=draw(TEXT),
        episode_id=draw(TEXT),
        chunk_seq=draw(UINT64),
        base_step=draw(UINT64),
        stamp_ns=draw(STAMP_NS),
        observation_stamp_ns=draw(STAMP_NS),
        inference_start_ns=draw(STAMP_NS),
        inference_end_ns=draw(STAMP_NS),
        valid_until_ns=draw(STAMP_NS),
        step_period_ns=draw(st.integers(-(2**31) * 10**9, 2**31 * 10**9 - 1)),
        data=draw(hnp.arrays(np.float32, shape, elements=st.floats(width=32))),
        execute_steps=draw(st.integers(1, shape[1])),
        action_space=draw(st.sampled_from(ActionSpace)),
        rotation=draw(st.sampled_from(Rotation)),
        delta_reference=draw(st.sampled_from(DeltaReference)),
        gripper_mode=draw(st.sampled_from(GripperMode)),
        instruction=draw(TEXT),
        policy_id=draw(TEXT),
        frame_id=draw(TEXT),
    )


@st.composite
def applied_actions(draw: st.DrawFn) -> AppliedAction:
    """A commanded action of any length."""
    length = draw(st.integers(1, 8))
    return AppliedAction(
        stamp_ns=draw(STAMP_NS),
        state_stamp_ns=draw(STAMP_NS),
        session_id=draw(TEXT),
        episode_id=draw(TEXT),
        step=draw(UINT64),
        chunk_seq=draw(UINT64),
        base_step=draw(UINT64),
        step_index=draw(st.integers(0, 65535)),
        chunk_index=draw(st.integers(0, 255)),
        source=draw(st.sampled_from(Source)),
        executed=draw(st.booleans()),
        raw=draw(hnp.arrays(np.float32, length, elements=st.floats(width=32))),
        applied=draw(hnp.arrays(np.float32, length, elements=FLOAT32)),
        target_pose=draw(poses()),
        gripper_width=draw(SMALL_FLOAT32),
        limits=Limit(draw(st.integers(0, 127))),
        latency=draw(SMALL_FLOAT32),
        action_space=draw(st.sampled_from(ActionSpace)),
        target_positions=draw(hnp.arrays(np.float64, 7, elements=st.floats())),
        frame_id=draw(TEXT),
    )


acks = st.builds(
    ChunkAck,
    stamp_ns=STAMP_NS,
    session_id=TEXT,
    episode_id=TEXT,
    chunk_seq=UINT64,
    result=st.sampled_from(AckResult),
    detail=TEXT,
)


def assert_equal(left: object, right: object) -> None:
    """Fail unless two values are equal in every field, arrays bit by bit and of one dtype."""
    assert type(left) is type(right)
    for name in left.__dataclass_fields__:  # type: ignore[attr-defined]
        a, b = getattr(left, name), getattr(right, name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, name
            np.testing.assert_array_equal(a, b, err_msg=name)
        elif isinstance(a, Pose):
            assert_equal(a, b)
        elif isinstance(a, dict):
            assert list(a) == list(b)
            for key in a:
                assert_equal(a[key], b[key])
        else:
            assert a == b, name


PERIOD_NS = 50_000_000
START_NS = 5_000_000_000
POSE = Pose(position=np.array([0.4, 0.0, 0.3]), quaternion=np.array([0.0, 1.0, 0.0, 0.0]))


def make_episode(seed: int = 3, episode_id: str = "PickCube-3", start_ns: int = START_NS) -> Episode:
    """A running episode."""
    return Episode(
        episode_id=episode_id,
        task="PickCube-v1",
        seed=seed,
        instruction="pick up the cube",
        start_ns=start_ns,
        max_steps=100,
        robot="panda",
        source="fake",
    )


def make_image(step: int, size: int = 16) -> np.ndarray:
    """An image that differs at every step."""
    return np.random.default_rng(step).integers(0, 255, (size, size, 3), np.uint8)


def make_action(episode: Episode, step: int, session_id: str = "session") -> AppliedAction:
    """The applied action of a step; its numbers depend on seed and step."""
    stamp_ns = episode.start_ns + step * PERIOD_NS
    numbers = np.random.default_rng((episode.seed, step)).normal(size=7).astype(np.float32)
    return AppliedAction(
        stamp_ns=stamp_ns,
        state_stamp_ns=stamp_ns,
        session_id=session_id,
        episode_id=episode.episode_id,
        step=step,
        chunk_seq=step // 8,
        base_step=step // 8 * 8,
        step_index=step % 8,
        chunk_index=0,
        source=Source.POLICY,
        executed=True,
        raw=numbers,
        applied=numbers,
        target_pose=POSE,
        gripper_width=0.0625,
    )


def make_state(stamp_ns: int) -> RobotState:
    """A robot state at a stamp."""
    return RobotState(
        stamp_ns=stamp_ns,
        positions=np.arange(7) / 3.0,
        velocities=np.zeros(7),
        gripper_width=0.0625,
        tcp_pose=POSE,
    )


def write_bag(
    path: Path,
    episode: Episode | None = None,
    steps: int = 10,
    size: int = 16,
    late_actions: int = 0,
    change_action: Callable[[AppliedAction], AppliedAction] = lambda action: action,
    change_state: Callable[[RobotState], RobotState] = lambda state: state,
    **options: Any,
) -> Path:
    """Write the bag of an episode with `steps` actions (and late ones that no world took), one more observation."""
    episode = episode or make_episode()
    cameras = {name: CameraSpec(frame_id=f"camera_{name}_color_optical_frame") for name in ("fixed", "wrist")}
    with EpisodeBag(path, episode, cameras, joint_prefix="panda", **options) as bag:
        for step in range(steps + 1):
            stamp_ns = episode.start_ns + step * PERIOD_NS
            state = SimState(
                stamp_ns=stamp_ns,
                episode_id=episode.episode_id,
                objects={"cube": POSE},
                tcp_pose=POSE,
                gripper_width=0.0625,
                success=step == steps,
            )
            bag.add_observation(
                stamp_ns,
                make_image(step, size),
                make_image(1000 + step, size),
                change_state(make_state(stamp_ns)),
                state,
            )
            if step < steps + late_actions:
                bag.add_applied(change_action(make_action(episode, step)))
        return bag.finish(EpisodePhase.SUCCESS, step=steps)
