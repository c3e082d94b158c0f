# SPDX-License-Identifier: Apache-2.0
"""The twin's picture shows its boxes where the camera has them, in the colours that the real picture gave them."""

import numpy as np
import pytest
from drawn_scene import RED, camera, draw

from physgen_physworld.scene.scene import Scene, SceneBox

pytest.importorskip("mujoco", reason="the extra physworld is not installed")

from physgen_physworld.twin.drawing import draw_twin, seen_colours
from physgen_physworld.twin.twin import Twin

MIDDLE = np.array([0.6, 0.1, 0.02])


def test_a_cube_is_where_the_camera_sees_it() -> None:
    box = SceneBox(
        name="red_cube",
        position=MIDDLE,
        yaw=0.3,
        size=(0.04, 0.04, 0.04),
        mass=(0.03, 0.1),
        friction=(0.5, 1.0),
    )
    scene = Scene(boxes=(box,), moved="red_cube", gravity=np.array([0.0, 0.0, -9.81]))
    seen = camera()
    real = draw(seen, [(MIDDLE, 0.3, RED)], None)
    colours = seen_colours(real, seen, scene)
    assert colours["red_cube"] == RED
    picture = draw_twin(Twin(scene), seen, colours).astype(int)
    red = (picture[..., 0] > 80) & (picture[..., 1] < 40) & (picture[..., 2] < 40)
    rows, columns = np.nonzero(red)
    expected = seen.project(MIDDLE[None])[0]
    assert np.hypot(columns.mean() + 0.5 - expected[0], rows.mean() + 0.5 - expected[1]) < 2.0
    grey = np.ptp(picture, axis=2) < 8
    assert grey.sum() > 100, "the gripper is drawn"
