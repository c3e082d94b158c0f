# SPDX-License-Identifier: Apache-2.0
"""The predicted path is where the actions lead, and marks what the controller would cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physgen_bringup.viewer.prediction import ActionLimits, limits_of, predicted_path
from physgen_control.controller_config import ControllerConfig
from physgen_control.types import ActionChunk, ActionSpace, DeltaReference, Pose

START = Pose(position=np.array([0.5, 0.0, 0.3]), quaternion=np.array([1.0, 0.0, 0.0, 0.0]))
LIMITS = ActionLimits(
    translation=0.05, rotation=0.1, low=np.array([0.2, -0.5, 0.0]), high=np.array([0.9, 0.5, 0.8])
)


def make_chunk() -> ActionChunk:
    """A prediction that does nothing."""
    return ActionChunk.of(
        np.zeros((3, 8, 7), np.float32),
        session_id="session",
        chunk_seq=0,
        base_step=0,
        stamp_ns=0,
        step_period_ns=50_000_000,
    )


@given(arrays(np.float32, (3, 8, 7), elements=st.floats(-0.03125, 0.03125, width=32)))
def test_translations_add_up_and_chunks_join(data):
    path = predicted_path(replace(make_chunk(), data=data), START, LIMITS)
    assert path is not None
    np.testing.assert_allclose(path.positions[1:, 0], path.positions[:-1, -1])
    total = START.position + data[:, :, :3].astype(np.float64).reshape(-1, 3).sum(axis=0)
    np.testing.assert_allclose(path.positions[-1, -1], total, atol=1e-6)


def test_steps_that_are_too_long_or_lead_outside_are_marked():
    data = np.zeros((3, 8, 7), np.float32)
    data[0, 2, 0] = 0.06  # too long
    data[0, 4, 4] = 0.2  # turns too far
    data[1, :, 2] = -0.045  # leaves the box after the seventh
    path = predicted_path(replace(make_chunk(), data=data), START, LIMITS)
    assert path is not None
    assert np.argwhere(path.cut[0]).ravel().tolist() == [2, 4]
    assert np.argwhere(path.cut[1]).ravel().tolist() == [6, 7]
    assert path.cut[2].all()  # it stays outside
    unlimited = predicted_path(replace(make_chunk(), data=data), START, None)
    assert unlimited is not None
    assert not unlimited.cut.any()


def test_deltas_from_the_observation_do_not_add_up():
    data = np.zeros((1, 3, 7), np.float32)
    data[0, :, 1] = (0.01, 0.02, 0.03)
    chunk = replace(make_chunk(), data=data, delta_reference=DeltaReference.CHUNK_ANCHOR, execute_steps=3)
    path = predicted_path(chunk, START, None)
    assert path is not None
    np.testing.assert_allclose(path.positions[0, :, 1], [0.0, 0.01, 0.02, 0.03], atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"action_space": ActionSpace.JOINT_DELTA}, {"data": np.full((3, 8, 7), np.nan)}]
)
def test_what_the_controller_would_refuse_is_not_drawn(changes):
    assert predicted_path(replace(make_chunk(), **changes), START, LIMITS) is None


def test_limits_are_those_of_one_control_step():
    limits = limits_of(ControllerConfig())
    assert limits.translation == pytest.approx(0.25 * 0.05)  # the speed binds before the step
    assert limits.rotation == pytest.approx(0.05)
