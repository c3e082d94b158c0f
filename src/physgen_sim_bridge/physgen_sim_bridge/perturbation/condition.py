# SPDX-License-Identifier: Apache-2.0
"""Under which condition an episode runs, as people write it: `camera:3`, a control, or nothing for the clean world."""

from __future__ import annotations

import re
from dataclasses import dataclass

from physgen_control.errors import UserError
from physgen_sim_bridge.perturbation.variant import CATEGORIES, LEVELS

WRONG_INSTRUCTION = "wrong_instruction"
FROZEN_PICTURE = "frozen_picture"
CONTROLS = (WRONG_INSTRUCTION, FROZEN_PICTURE)
"""The policy is told another task of the suite; it sees the episode's first pictures for ever."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A category with its level, or a control (level 0); the default is the clean world."""

    category: str = ""
    level: int = 0

    def __str__(self) -> str:
        return f"{self.category}:{self.level}" if self.level else self.category

    @property
    def folder(self) -> str:
        """Name of a folder for its results."""
        return str(self).replace(":", "_") or "clean"


CLEAN = Condition()


def parse_condition(text: str) -> Condition:
    """Read `camera:3`, `wrong_instruction` or "".

    Raises:
        UserError: anything else.
    """
    category, _, level = text.partition(":")
    if text in ("", *CONTROLS):
        return Condition(text)
    if category in CATEGORIES and re.fullmatch(r"[1-5]", level):
        return Condition(category, int(level))
    raise UserError(
        f"a perturbation is a category with its level from 1 to 5, such as camera:3, or {' or '.join(CONTROLS)}, but "
        f"it is {text!r}; the categories are {', '.join(CATEGORIES)}"
    )


def parse_conditions(categories: str, levels: str) -> list[Condition]:
    """Every condition that lists of categories and levels ask for, the clean world first.

    Args:
        categories: names and controls, separated by commas; `all` for the seven categories.
        levels: `3`, `1,3,5` or `1..5`.

    Raises:
        UserError: a name that is none, or a level outside 1 to 5.
    """
    chosen: list[Condition] = [CLEAN]
    for word in (word.strip() for word in categories.split(",") if word.strip()):
        names = CATEGORIES if word == "all" else (word,)
        for name in names:
            if name in CONTROLS:
                chosen.append(Condition(name))
            elif name in CATEGORIES:
                chosen += [Condition(name, level) for level in _parse_levels(levels)]
            else:
                raise UserError(
                    f"there is no perturbation {name!r}; choose of {', '.join((*CATEGORIES, *CONTROLS))}, or all"
                )
    return list(dict.fromkeys(chosen))


def _parse_levels(text: str) -> list[int]:
    levels: list[int] = []
    for word in text.split(","):
        found = re.fullmatch(r"\s*([1-5])(?:\.\.([1-5]))?\s*", word)
        if not found or (found[2] and found[2] < found[1]):
            raise UserError(f"--level must be of 1 to {LEVELS[-1]}, such as 3, 1,3,5 or 1..5, got {text!r}")
        levels += range(int(found[1]), int(found[2] or found[1]) + 1)
    return sorted(set(levels))
