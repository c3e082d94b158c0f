# SPDX-License-Identifier: Apache-2.0
"""The simulator's camera is where the calibration says, its arm can be left out, its depth is in metres."""

import importlib.util

import numpy as np
import pytest

from physgen_physworld.reconstruction.colours import colour_mask, grey_mask
from physgen_physworld.reconstruction.depth import SensorDepth
from physgen_physworld.video.oracle import maniskill_camera


# The simulator runs in this process, with what its libraries warn of each other.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mani_skill") is None, reason="mani-skill is not installed")
def test_camera_depth_and_hidden_arm_of_the_simulator() -> None:
    from physgen_sim_bridge.maniskill.world import ManiSkillWorld

    world = ManiSkillWorld("StackCube-v1", image_size=256)
    seen = world.reset(7)
    camera = maniskill_camera("StackCube-v1", 256)
    depth = world.fixed_depth()
    for name, colour in (("cubeA", "red"), ("cubeB", "green")):
        middle = seen.objects[name].position
        column, row = camera.project(middle[None])[0]
        assert colour_mask(seen.rgb_fixed, colour)[int(row), int(column)]
        # The seen face is up to half a diagonal before the middle.
        assert 0.0 < camera.depth_of(middle[None])[0] - depth[int(row), int(column)] < 0.036
    red = colour_mask(seen.rgb_fixed, "red")
    normal, offset = SensorDepth(depth=depth).table_plane(camera, red | grey_mask(seen.rgb_fixed))
    assert np.degrees(np.arccos(normal[2])) < 1.0 and abs(offset) < 0.005
    world.show_objects_only()
    still = np.array([0.0, 0, 0, 0, 0, 0, 1], np.float32)
    bare = world.step(still)
    hidden = grey_mask(seen.rgb_fixed).sum() - grey_mask(bare.rgb_fixed).sum()
    assert hidden > 500, "the arm is grey and gone"
    assert grey_mask(world.reset(7).rgb_fixed).sum() > grey_mask(bare.rgb_fixed).sum() + 500, (
        "and back after a reset"
    )
    world.close()
