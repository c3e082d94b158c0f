# SPDX-License-Identifier: Apache-2.0
"""Which things an instruction speaks of: its nouns with the colours that they may have."""

from __future__ import annotations

import re

from physgen_control.errors import UserError
from physgen_physworld.reconstruction.colours import COLOURS
from physgen_physworld.values import Thing

SIZES: dict[str, tuple[float, float, float]] = {"cube": (0.04, 0.04, 0.04)}
"""Edges of the things that are known by name [m]: the cubes of the tabletop tasks."""

NOT_THINGS = frozenset({"goal", "table"})
"""Nouns that name a place. Where to is what the video says, not the sentence."""


def things_named(instruction: str, sizes: dict[str, tuple[float, float, float]] | None = None) -> list[Thing]:
    """Return the things that an instruction names, in its order, each once.

    A noun with a colour before it has that colour; one without may have any. "stack the red cube on the green cube"
    gives red_cube and green_cube.

    Args:
        instruction: the sentence.
        sizes: edges [m] by noun, in place of SIZES.

    Raises:
        UserError: the instruction names nothing that is known.
    """
    known = SIZES if sizes is None else sizes
    found: dict[str, Thing] = {}
    colour = ""
    for word in re.findall(r"[a-z]+", instruction.lower()):
        if word in COLOURS:
            colour = word
        elif word in known:
            name = f"{colour}_{word}" if colour else word
            found.setdefault(
                name, Thing(name=name, colours=(colour,) if colour else tuple(COLOURS), size=known[word])
            )
            colour = ""
        elif word in NOT_THINGS:
            colour = ""
    if not found:
        raise UserError(
            f"The instruction {instruction!r} names nothing that can be looked for: use one of "
            f"{', '.join(sorted(known))} with a colour ({', '.join(COLOURS)}), or point at the thing: "
            "--object NAME=COLUMN,ROW."
        )
    return list(found.values())
