# SPDX-License-Identifier: Apache-2.0
r"""Hand-eye calibration: a camera's pose from pictures of a tag and the poses of the hand.

In picture i the camera sees the tag at C_i = X^-1 A_i Y. For a camera on the hand X is hand_from_camera, Y
base_from_tag and A_i the inverse of the hand's pose; for one that stands still, with the tag in the hand, X is
base_from_camera, Y hand_from_tag and A_i the hand's pose. X and Y are found in closed form from all X C_i = A_i Y
(Li et al. 2010) and then moved until the corners of the tag lie where they were seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from physgen_control.errors import UserError
from physgen_control.geometry import matrix_from_rotation_vector, rotation_vector_from_matrix
from physgen_control.types import Float64Array
from physgen_physworld.calibration.tags import Tag, tag_poses

LEAST_VIEWS = 8
LEAST_TURN = np.radians(5.0)
"""Spread of the hand's turns about its second axis [rad], below which the camera's place is not determined."""
OUTLIER_PX, OUTLIER_TIMES = 1.0, 3.0
"""A picture is left out that is worse than so many pixels and so many medians."""


LARGEST_MEDIAN_PX = 2.0
"""Beyond this the pictures are of no one camera and tag."""


class CalibrationError(UserError):
    """The pictures do not determine where the camera is; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One picture of the tag."""

    name: str
    hand: Float64Array
    """base_from_hand when it was taken, [4, 4] in m."""
    pixels: Float64Array
    """Corners of the tag, [4, 2], see find_tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandEye:
    """Where a camera and its tag are."""

    camera: Float64Array
    """Pose of the optical frame in the base (a camera that stands still) or in the hand, [4, 4] in m."""
    tag: Float64Array
    """Pose of the tag in the hand (a camera that stands still) or in the base, [4, 4] in m."""
    errors_px: dict[str, float]
    """Root mean square distance of each picture's corners from where they were expected [pixels]."""
    left_out: tuple[str, ...]
    """Names of pictures that fit nothing."""
    position_sigma_m: float
    """Standard error of the camera's position [m], from the scatter of the corners alone."""
    rotation_sigma: float
    """Standard error of the camera's direction [rad]."""

    @property
    def rms_px(self) -> float:
        """Root mean square reprojection error over all pictures that were used [pixels]."""
        return float(np.sqrt(np.mean(np.square(list(self.errors_px.values())))))


@dataclass(frozen=True, slots=True)
class _Seen:
    """Where corners were seen, and all that is known of where they should be."""

    views: Sequence[View]
    moves: Sequence[Float64Array]
    """A_i of every view."""
    matrix: Float64Array
    """Intrinsic matrix of the camera [3, 3]."""
    tag: Tag

    def only(self, indices: Sequence[int]) -> _Seen:
        """Return some of the views."""
        return replace(self, views=[self.views[i] for i in indices], moves=[self.moves[i] for i in indices])

    def apart(self, camera: Float64Array, held: Float64Array) -> Float64Array:
        """Return how far each corner is from where X and Y say, [n, 4, 2] in pixels."""
        back = np.linalg.inv(camera)
        corners = np.hstack([self.tag.corners, np.ones((4, 1))])
        out = []
        for view, move in zip(self.views, self.moves, strict=True):
            found = (corners @ (back @ move @ held).T)[:, :3] @ self.matrix.T
            # A point behind the camera has no picture; a small depth keeps the search going.
            out.append(found[:, :2] / np.maximum(found[:, 2:], 1e-3) - view.pixels)
        return np.array(out)


def solve_hand_eye(views: Sequence[View], matrix: Float64Array, tag: Tag, *, on_hand: bool) -> HandEye:
    """Find a camera's pose.

    Args:
        views: Pictures of one tag from different poses of the hand.
        matrix: Intrinsic matrix of the camera [3, 3].
        tag: What is seen.
        on_hand: The camera is on the hand and the tag stands still; otherwise the other way round.

    Raises:
        CalibrationError: Too few pictures, a hand that turned too little, or pictures that contradict each other.
    """
    if len(views) < LEAST_VIEWS:
        raise CalibrationError(
            f"the tag was found in {len(views)} usable pictures, at least {LEAST_VIEWS} are needed; show it from more "
            "sides, at rest"
        )
    _check_turns(views)
    hands = np.stack([view.hand for view in views])
    moves: list[Float64Array] = list(np.linalg.inv(hands).astype(np.float64) if on_hand else hands)
    seen = _Seen(views, moves, matrix, tag)
    camera, held = _closed_form([tag_poses(v.pixels, matrix, tag)[0] for v in views], moves)
    used = list(range(len(views)))
    for _ in range(2):
        (camera, held), scatter = _refined(camera, held, seen.only(used))
        errors = np.sqrt(np.square(seen.apart(camera, held)).sum(axis=2).mean(axis=1))
        limit = max(OUTLIER_PX, OUTLIER_TIMES * float(np.median(errors[used])))
        used = [i for i in range(len(views)) if errors[i] <= limit]
        if len(used) < max(LEAST_VIEWS, len(views) // 2) or float(np.median(errors)) > LARGEST_MEDIAN_PX:
            raise CalibrationError(
                f"the {len(views)} pictures do not agree on where the camera is, half of them miss it by more than "
                f"{np.median(errors):.1f} pixels; was the tag or the camera moved, or is the tag of another size?"
            )
    return HandEye(
        camera=camera,
        tag=held,
        errors_px={views[i].name: float(errors[i]) for i in used},
        left_out=tuple(view.name for i, view in enumerate(views) if i not in used),
        position_sigma_m=float(np.linalg.norm(scatter[3:6])),
        rotation_sigma=float(np.linalg.norm(scatter[:3])),
    )


def _check_turns(views: Sequence[View]) -> None:
    first = views[0].hand[:3, :3]
    turns = np.array([rotation_vector_from_matrix(first.T @ view.hand[:3, :3]) for view in views])
    turns -= turns.mean(axis=0)
    second = float(np.linalg.svd(turns, compute_uv=False)[1]) / np.sqrt(len(views))
    if second < LEAST_TURN:
        raise CalibrationError(
            f"the hand turned by {np.degrees(second):.1f} degrees about its second axis, too little to say where "
            "the camera is; tilt it by 20 degrees and more to several sides"
        )


def _closed_form(
    seen: Sequence[Float64Array], moves: Sequence[Float64Array]
) -> tuple[Float64Array, Float64Array]:
    """Solve X C_i = A_i Y for all i in the sense of least squares: turns first, then positions."""
    rows = [
        np.hstack([np.kron(np.eye(3), c[:3, :3].T), -np.kron(a[:3, :3], np.eye(3))])
        for c, a in zip(seen, moves, strict=True)
    ]
    null = np.linalg.svd(np.vstack(rows))[2][-1]
    camera, held = np.eye(4), np.eye(4)
    sign = np.sign(np.linalg.det(null[:9].reshape(3, 3))) or 1.0
    for pose, part in ((camera, null[:9]), (held, null[9:])):
        u, _, v = np.linalg.svd(sign * part.reshape(3, 3))
        pose[:3, :3] = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
    left = np.vstack([np.hstack([np.eye(3), -a[:3, :3]]) for a in moves])
    right = np.concatenate([a[:3, 3] - camera[:3, :3] @ c[:3, 3] for c, a in zip(seen, moves, strict=True)])
    places = np.linalg.lstsq(left, right, rcond=None)[0]
    camera[:3, 3], held[:3, 3] = places[:3], places[3:]
    return camera, held


def _refined(
    camera: Float64Array, held: Float64Array, seen: _Seen
) -> tuple[tuple[Float64Array, Float64Array], Float64Array]:
    """Return both poses with the least distances of corners, and the standard errors of the camera's six numbers."""
    from scipy.optimize import least_squares

    def poses(numbers: Float64Array) -> tuple[Float64Array, Float64Array]:
        return _changed(camera, numbers[:6]), _changed(held, numbers[6:])

    found = least_squares(
        lambda numbers: np.ravel(seen.apart(*poses(numbers))),
        np.zeros(12),
        loss="huber",
        f_scale=1.0,
        x_scale="jac",
    )
    freedom = max(1, len(found.fun) - 12)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * 2.0 * found.cost / freedom
    return poses(found.x), np.sqrt(np.diag(covariance)[:6])


def _changed(pose: Float64Array, numbers: Float64Array) -> Float64Array:
    """Turn a pose by a rotation vector and move it."""
    changed = pose.copy()
    changed[:3, :3] = matrix_from_rotation_vector(numbers[:3]) @ pose[:3, :3]
    changed[:3, 3] += numbers[3:]
    return changed
