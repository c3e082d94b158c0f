# SPDX-License-Identifier: Apache-2.0
"""Perturbations of LIBERO itself. Needs the extra and a folder of scene files."""

import pytest
from libero_here import why_not
from scene_checks import check_scene_changes

from physgen_sim_bridge.registry import make_world

pytestmark = [
    pytest.mark.sim,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
]


@pytest.mark.parametrize("task", ["libero_spatial/0", "libero_object/0"])
def test_each_category_changes_its_own_part_of_the_scene(task):
    """On a table, and on a floor."""
    world = make_world("libero", task, image_size=64, in_worker=True)
    try:
        check_scene_changes(world, seed=2, displaces=True)
    finally:
        world.close()
