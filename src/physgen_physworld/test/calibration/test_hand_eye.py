# SPDX-License-Identifier: Apache-2.0
"""A camera is found from drawn pictures of a tag, to a millimetre; what says too little or contradicts is refused."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_tags import MATRIX, NUMBER, TAG, drawn, hands, pose

from physgen_control.geometry import rotation_vector_from_matrix
from physgen_control.types import Float64Array
from physgen_physworld.calibration.hand_eye import CalibrationError, HandEye, View, solve_hand_eye
from physgen_physworld.calibration.tags import Tag, find_tag, tag_poses


def looking_at(eye: tuple[float, float, float], at: tuple[float, float, float]) -> Float64Array:
    """Pose of an optical frame that looks from one point to another, its top upwards."""
    ahead = np.subtract(at, eye) / np.linalg.norm(np.subtract(at, eye))
    right = np.cross(ahead, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = np.stack([right, np.cross(ahead, right), ahead], axis=1), eye
    return out


def scene(on_hand: bool) -> tuple[Float64Array, Float64Array, Float64Array]:
    """True camera and tag, and the hand around which it moves."""
    hand = pose((np.pi, 0.0, 0.0), (0.5, 0.0, 0.35))
    if on_hand:  # it looks along the hand's z, from beside it, at a tag on the table
        return pose((0.05, -0.08, 1.5), (0.05, 0.01, -0.06)), pose((0.02, 0.0, 0.4), (0.52, 0.03, 0.0)), hand
    camera = looking_at((1.15, 0.15, 0.75), (0.5, 0.0, 0.35))
    facing = np.linalg.inv(hand) @ camera @ pose((np.pi, 0.0, 0.0), (0.0, 0.0, 0.7))
    return camera, facing, hand


def pictures(on_hand: bool, count: int, seed: int, turn: float = 0.45) -> tuple[list[View], HandEye]:
    """Views of drawn pictures, and the truth."""
    rng = np.random.default_rng(seed)
    camera, tag, middle = scene(on_hand)
    views = []
    for index, hand in enumerate(hands(rng, 4 * count, middle, turn)):
        move = np.linalg.inv(hand) if on_hand else hand
        seen = np.linalg.inv(camera) @ move @ tag
        pixels = find_tag(drawn(seen, TAG, rng), TAG)
        if pixels is not None:
            views.append(View(name=str(index), hand=hand, pixels=pixels))
        if len(views) == count:
            break
    assert len(views) == count
    truth = HandEye(
        camera=camera, tag=tag, errors_px={}, left_out=(), position_sigma_m=0.0, rotation_sigma=0.0
    )
    return views, truth


def apart(one: Float64Array, other: Float64Array) -> tuple[float, float]:
    """Millimetres and degrees between two poses."""
    turn = np.linalg.norm(rotation_vector_from_matrix(one[:3, :3].T @ other[:3, :3]))
    return 1000 * float(np.linalg.norm(one[:3, 3] - other[:3, 3])), float(np.degrees(turn))


def test_corners_are_found_to_a_third_of_a_pixel() -> None:
    rng = np.random.default_rng(0)
    seen = pose((2.8, 0.3, 0.2), (0.03, -0.02, 0.5))
    picture = drawn(seen, TAG, rng)
    found = find_tag(picture, TAG)
    assert found is not None
    expected = (np.hstack([TAG.corners, np.ones((4, 1))]) @ seen.T)[:, :3] @ MATRIX.T
    np.testing.assert_allclose(found, expected[:, :2] / expected[:, 2:], atol=0.35)
    assert apart(tag_poses(found, MATRIX, TAG)[0], seen)[0] < 3.0
    assert find_tag(picture, Tag(size_m=0.08, number=NUMBER)) is not None
    assert find_tag(picture, Tag(size_m=0.08, number=NUMBER + 1)) is None
    assert find_tag(np.full_like(picture, 90), TAG) is None
    both = picture.copy()
    both[:, :320] = drawn(pose((3.1, 0.0, 0.0), (-0.15, 0.0, 0.5)), TAG, rng, number=3)[:, :320]
    both[:, 320:] = drawn(pose((3.1, 0.0, 0.0), (0.15, 0.0, 0.5)), TAG, rng)[:, 320:]
    assert find_tag(both, TAG) is None  # which of them is meant?
    assert find_tag(both, Tag(size_m=0.08, number=3)) is not None


@pytest.mark.parametrize("on_hand", [True, False], ids=["wrist", "fixed"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_camera_is_found_within_its_stated_error(on_hand: bool, seed: int) -> None:
    views, truth = pictures(on_hand, 16, seed)
    found = solve_hand_eye(views, MATRIX, TAG, on_hand=on_hand)
    millimetres, degrees = apart(found.camera, truth.camera)
    assert found.rms_px < 0.3 and not found.left_out
    assert millimetres < max(3.0, 4e3 * found.position_sigma_m)
    assert degrees < max(0.3, 4 * np.degrees(found.rotation_sigma))
    assert millimetres < 6.0 and apart(found.tag, truth.tag)[0] < 6.0


def test_a_picture_that_fits_nothing_is_left_out_by_name() -> None:
    views, truth = pictures(True, 16, 3)
    bent = View(
        name="bent", hand=views[4].hand @ pose((0.0, 0.0, 0.3), (0.05, 0.0, 0.0)), pixels=views[4].pixels
    )
    found = solve_hand_eye([*views, bent], MATRIX, TAG, on_hand=True)
    assert found.left_out == ("bent",)
    assert apart(found.camera, truth.camera)[0] < 6.0


def test_what_says_too_little_or_contradicts_is_a_sentence() -> None:
    views, _ = pictures(True, 16, 4)
    with pytest.raises(CalibrationError, match="found in 7 usable pictures, at least 8"):
        solve_hand_eye(views[:7], MATRIX, TAG, on_hand=True)
    still = [View(name=v.name, hand=views[0].hand, pixels=views[0].pixels) for v in views]
    with pytest.raises(CalibrationError, match="tilt it by 20 degrees"):
        solve_hand_eye(still, MATRIX, TAG, on_hand=True)
    shuffled = [
        View(name=v.name, hand=other.hand, pixels=v.pixels)
        for v, other in zip(views, [*views[5:], *views[:5]], strict=True)
    ]
    with pytest.raises(CalibrationError, match="do not agree on where the camera is"):
        solve_hand_eye(shuffled, MATRIX, TAG, on_hand=True)
