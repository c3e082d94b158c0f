# SPDX-License-Identifier: Apache-2.0
"""Laws of the action adapter; test_maniskill.py checks the same signs against the simulator."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from physgen_control.geometry import matrix_from_rotation_vector
from physgen_sim_bridge.canonical_action import euler_xyz_from_matrix, maniskill_action

finite = st.floats(-10, 10, width=32)
actions = arrays(np.float32, 7, elements=finite)
small_rotations = arrays(np.float64, 3, elements=st.floats(-0.05, 0.05))


def euler_matrix(angles: np.ndarray) -> np.ndarray:
    matrices = []
    for axis, angle in enumerate(angles):
        vector = np.zeros(3)
        vector[axis] = angle
        matrices.append(matrix_from_rotation_vector(vector))
    return matrices[0] @ matrices[1] @ matrices[2]


@given(actions)
def test_output_is_in_the_simulators_range(action):
    """Whatever comes in, the simulator never has to clip."""
    result = maniskill_action(action)
    assert result.dtype == np.float32 and result.shape == (7,)
    assert np.all(np.abs(result) <= 1.0)


@given(actions)
def test_translation_keeps_sign_and_scale(action):
    """0.1 m is 1.0, clipped per axis."""
    np.testing.assert_allclose(maniskill_action(action)[:3], np.clip(action[:3] * 10.0, -1, 1), atol=1e-6)


@given(small_rotations)
def test_rotation_is_the_inverted_euler_form_of_the_rotation_vector(rotation):
    """Undoing sign and scale gives back the rotation, exactly in matrix form."""
    action = np.zeros(7, dtype=np.float32)
    action[3:6] = rotation
    angles = -0.1 * maniskill_action(action)[3:6].astype(np.float64)
    np.testing.assert_allclose(euler_matrix(angles), matrix_from_rotation_vector(rotation), atol=1e-7)


@given(arrays(np.float64, 3, elements=st.floats(-1.0, 1.0)))
def test_euler_angles_rebuild_the_matrix(rotation):
    """Also for large rotations."""
    matrix = matrix_from_rotation_vector(rotation)
    np.testing.assert_allclose(euler_matrix(euler_xyz_from_matrix(matrix)), matrix, atol=1e-9)


def test_a_long_rotation_is_shortened_along_its_axis():
    """Clipping per component would turn about another axis."""
    action = np.array([0, 0, 0, 0.4, 0.0, -0.3, 0], dtype=np.float32)
    angles = -0.1 * maniskill_action(action)[3:6].astype(np.float64)
    expected = matrix_from_rotation_vector(np.array([0.08, 0.0, -0.06]))
    np.testing.assert_allclose(euler_matrix(angles), expected, atol=1e-6)


@pytest.mark.parametrize("bad", [np.zeros(6), np.full(7, np.nan), np.full(7, np.inf), np.zeros((1, 7))])
def test_bad_actions_are_refused_with_a_sentence(bad):
    """Neither shape nor NaN reaches the simulator."""
    with pytest.raises(ValueError, match=r"action"):
        maniskill_action(bad)
