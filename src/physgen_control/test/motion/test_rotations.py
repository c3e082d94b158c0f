# SPDX-License-Identifier: Apache-2.0
"""The rotations of physgen_control.geometry are those of SciPy, which the controller's process does without."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from physgen_control import geometry
from physgen_control.types import Float64Array, Pose

VECTORS = hnp.arrays(np.float64, 3, elements=st.floats(-3.0, 3.0))
QUATERNIONS = hnp.arrays(np.float64, 4, elements=st.floats(-2.0, 2.0)).filter(
    lambda q: np.linalg.norm(q) > 1e-3
)
NEAR = 1e-12


def same_rotation(left: Float64Array, right: Float64Array) -> bool:
    """Whether two unit quaternions mean the same rotation, as q and -q do."""
    return bool(np.isclose(abs(left @ right), 1.0, rtol=0.0, atol=NEAR))


@given(VECTORS)
def test_of_rotation_vectors(vector: Float64Array) -> None:
    theirs = Rotation.from_rotvec(vector)
    assert same_rotation(geometry.quaternion_from_rotation_vector(vector), theirs.as_quat())
    np.testing.assert_allclose(
        geometry.matrix_from_rotation_vector(vector), theirs.as_matrix(), rtol=0.0, atol=NEAR
    )


@given(QUATERNIONS)
def test_of_quaternions(quaternion: Float64Array) -> None:
    theirs = Rotation.from_quat(quaternion)
    matrix = geometry.matrix_from_quaternion(quaternion)
    np.testing.assert_allclose(matrix, theirs.as_matrix(), rtol=0.0, atol=NEAR)
    unit = geometry.quaternion_from_matrix(matrix)
    assert unit[3] >= 0.0 and same_rotation(unit, theirs.as_quat())
    steady = geometry.steady_quaternion_from_matrix(matrix)
    assert same_rotation(steady, unit) and steady[np.argmax(np.abs(steady))] > 0.0
    # At half a turn either sign of the vector is right.
    vector = geometry.rotation_vector_from_matrix(matrix)
    assert np.linalg.norm(vector) <= np.pi + 1e-12
    assert same_rotation(Rotation.from_rotvec(vector).as_quat(), theirs.as_quat())


@given(QUATERNIONS, QUATERNIONS)
def test_of_products(left: Float64Array, right: Float64Array) -> None:
    ours = geometry.quaternion_product(geometry.normalized(left), geometry.normalized(right))
    assert same_rotation(ours, (Rotation.from_quat(left) * Rotation.from_quat(right)).as_quat())
    inverse = geometry.conjugate(geometry.normalized(left))
    assert same_rotation(inverse, Rotation.from_quat(left).inv().as_quat())


@given(QUATERNIONS, VECTORS)
def test_of_poses(quaternion: Float64Array, vector: Float64Array) -> None:
    pose = Pose(position=np.zeros(3), quaternion=quaternion)
    moved = geometry.moved(pose, np.concatenate([np.ones(3), vector]))
    turned = Rotation.from_rotvec(vector) * Rotation.from_quat(quaternion)
    assert same_rotation(moved.quaternion, turned.as_quat())
    down = turned.as_matrix()[:, 2] @ np.array([0.0, 0.0, -1.0])
    assert np.isclose(np.cos(geometry.tilt(moved.quaternion)), down, rtol=0.0, atol=NEAR)
