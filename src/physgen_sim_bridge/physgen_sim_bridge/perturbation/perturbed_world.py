# SPDX-License-Identifier: Apache-2.0
"""A world under a condition: chooses the variant of each episode, changes scene, pictures and words; itself a World."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from physgen_control.errors import UserError
from physgen_control.types import Float32Array, UInt8Image
from physgen_sim_bridge.perturbation.condition import FROZEN_PICTURE, WRONG_INSTRUCTION, Condition
from physgen_sim_bridge.perturbation.frozen_list import FrozenList, frozen_list
from physgen_sim_bridge.perturbation.picture_noise import PictureNoise, spoil
from physgen_sim_bridge.perturbation.scene import SceneChange, change_scene
from physgen_sim_bridge.world import BY_SEED, Observation, World


def perturbed(world: World, condition: Condition, instructions: Sequence[str] = ()) -> World:
    """The world under a condition; the clean condition gives the world itself, whatever was changed in it before.

    Args:
        world: Closing the perturbed world closes it.
        condition: What to change.
        instructions: Those of all tasks of the suite; needed for wrong_instruction.

    Raises:
        UserError: the world cannot do it.
    """
    change_scene(world, SceneChange())
    if condition == Condition():
        return world
    return PerturbedWorld(world, condition, instructions, frozen_list())


class PerturbedWorld(World):
    """See World. Success, state and poses are the world's own; only what the category names differs.

    The variant of an episode follows from its initial state's index, or else from its seed. The instruction in `spec`
    is the one of the episode that was reset last.
    """

    def __init__(
        self, world: World, condition: Condition, instructions: Sequence[str], variants: FrozenList
    ) -> None:
        self._world, self._condition, self._variants = world, condition, variants
        own = world.spec.instruction
        self._wrong = [text for text in dict.fromkeys(instructions) if text != own]
        if condition.category == WRONG_INSTRUCTION and not self._wrong:
            raise UserError(
                f"{WRONG_INSTRUCTION} tells the policy another task of the suite, but {world.spec.name} has no task "
                "with other words than this one's"
            )
        self.spec = world.spec
        self._noise = PictureNoise()
        self._frozen: tuple[UInt8Image, UInt8Image] | None = None
        self._step = 0

    def reset(self, seed: int, init_state: int = BY_SEED) -> Observation:
        """See World."""
        self._prepare(init_state if init_state >= 0 else seed)
        self._step, self._frozen = 0, None
        seen = self._seen(self._world.reset(seed, init_state), rendered=True)
        if self._condition.category == FROZEN_PICTURE:
            self._frozen = seen.rgb_fixed, seen.rgb_wrist
        return seen

    def step(self, action: Float32Array, *, render: bool = True) -> Observation:
        """See World."""
        # Nobody draws what is not looked at.
        draw = render and self._frozen is None
        self._step += 1
        return self._seen(self._world.step(action, render=draw), rendered=render)

    def close(self) -> None:
        """See World."""
        self._world.close()

    def _prepare(self, trial: int) -> None:
        """Choose the trial's variant."""
        condition = self._condition
        if condition.category == WRONG_INSTRUCTION:
            self._instruct(self._wrong[trial % len(self._wrong)])
        if not condition.level:
            return
        variant = self._variants.variant(condition, trial)
        self._noise = variant.noise
        if condition.category == "language":
            own = self._world.spec.instruction
            self._instruct(self._variants.paraphrases.reword(own, variant.level, variant.number))
        change_scene(self._world, variant.scene)

    def _instruct(self, instruction: str) -> None:
        self.spec = replace(self._world.spec, instruction=instruction)

    def _seen(self, observation: Observation, *, rendered: bool) -> Observation:
        if not rendered:
            return observation
        if self._frozen is not None:
            return replace(observation, rgb_fixed=self._frozen[0].copy(), rgb_wrist=self._frozen[1].copy())
        if not self._noise.filter:
            return observation
        return replace(
            observation,
            rgb_fixed=spoil(observation.rgb_fixed, self._noise, 0, self._step),
            rgb_wrist=spoil(observation.rgb_wrist, self._noise, 1, self._step),
        )
