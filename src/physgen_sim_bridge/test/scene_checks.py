# SPDX-License-Identifier: Apache-2.0
"""What must hold of a changed scene in every real simulator; the tests of each simulator call it."""

import numpy as np

from physgen_control.types import UInt8Image
from physgen_sim_bridge.perturbation.condition import parse_condition
from physgen_sim_bridge.perturbation.frozen_list import frozen_list
from physgen_sim_bridge.perturbation.perturbed_world import perturbed
from physgen_sim_bridge.perturbation.scene import ChangeableWorld
from physgen_sim_bridge.world import Observation, World


def difference(a: UInt8Image, b: UInt8Image) -> float:
    """Mean absolute difference of two pictures, in grey levels."""
    return float(np.abs(a.astype(np.float64) - b).mean())


def moved(a: Observation, b: Observation) -> dict[str, float]:
    """How far each object is elsewhere [m], those that are not left out."""
    assert a.objects.keys() == b.objects.keys()
    distances = {n: float(np.abs(a.objects[n].position - b.objects[n].position).max()) for n in a.objects}
    return {name: distance for name, distance in distances.items() if distance > 0.0}


def equal(a: Observation, b: Observation) -> bool:
    """Whether everything is the same, to the last bit."""
    arrays = [(getattr(a, n), getattr(b, n)) for n in ("rgb_fixed", "rgb_wrist", "positions", "velocities")]
    return not moved(a, b) and all(np.array_equal(x, y) for x, y in arrays)


def check_scene_changes(world: World, seed: int, displaces: bool) -> None:
    """Each category changes what it is named after and nothing else, and the clean world comes back bit by bit.

    Args:
        world: With pictures.
        seed: Of the episode.
        displaces: The layout category displaces the task's objects, else it adds things.
    """
    push = np.array([0.02, 0.01, 0.0, 0.0, 0.0, 0.0, 1.0], np.float32)
    clean, clean_next = world.reset(seed), world.step(push)
    for category in ("camera", "light", "texture"):
        seen = perturbed(world, parse_condition(f"{category}:5"))
        changed = seen.reset(seed)
        assert not moved(clean, changed), category
        np.testing.assert_array_equal(changed.positions, clean.positions)
        assert difference(changed.rgb_fixed, clean.rgb_fixed) > 3.0, category
        wrist = difference(changed.rgb_wrist, clean.rgb_wrist)
        assert (wrist == 0.0) == (category == "camera"), category
        # Looks change no motion.
        after = seen.step(push, render=False)
        np.testing.assert_array_equal(after.positions, clean_next.positions)
    layout = perturbed(world, parse_condition("layout:5")).reset(seed)
    np.testing.assert_allclose(layout.positions, clean.positions, atol=1e-9)
    assert difference(layout.rgb_fixed, clean.rgb_fixed) > 0.1
    shift = frozen_list().variants["layout", 5][seed].scene.layout.shift
    assert bool(moved(clean, layout)) == displaces
    assert max(moved(clean, layout).values(), default=0.0) <= shift + 1e-6
    robot = perturbed(world, parse_condition("robot:5")).reset(seed)
    assert max(moved(clean, robot).values(), default=0.0) < 1e-5
    offsets = np.array(frozen_list().variants["robot", 5][seed].scene.joints)
    # LIBERO's controller draws the joints back towards home while the scene settles.
    went = robot.positions - clean.positions
    assert went @ offsets > 0.1 * (offsets @ offsets)
    # The fixed camera of a changed one would be somewhere else; here it must be the clean one, and so must all.
    again = perturbed(world, parse_condition(""))
    assert again is world
    assert equal(again.reset(seed), clean)
    assert isinstance(world, ChangeableWorld)
