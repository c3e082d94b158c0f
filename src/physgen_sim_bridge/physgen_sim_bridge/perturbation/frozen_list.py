# SPDX-License-Identifier: Apache-2.0
"""The frozen list of variants: two files in config/ whose SHA-256 stands here, so that a result says what was run.

The list was drawn once by `variant.draw`; what counts is the file, so that no change of code can move a variant.
`python -m physgen_sim_bridge.perturbation.frozen_list` prints it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

from physgen_control.errors import UserError
from physgen_control.program.plain_values import build, read_json_object
from physgen_sim_bridge.perturbation.condition import Condition
from physgen_sim_bridge.perturbation.variant import CATEGORIES, LEVELS, Variant, draw
from physgen_sim_bridge.perturbation.wording import Paraphrases

FILES = ("perturbations.json", "paraphrases.toml")
SHA256 = "0a9ed531b51dbe6d9c199cb7e02eb07d75318464a4bd59d08ac9927be79581fe"
"""Of both files, one after the other."""
NUMBERS = 20
"""Variants of each category and level."""


@dataclass(frozen=True, slots=True)
class FrozenList:
    """The variants of every condition, and the other words of the language category."""

    variants: dict[tuple[str, int], tuple[Variant, ...]]
    paraphrases: Paraphrases

    def variant(self, condition: Condition, trial: int) -> Variant:
        """The variant of a trial: its initial state's index or seed, modulo how many there are."""
        choices = self.variants[condition.category, condition.level]
        return choices[trial % len(choices)]


def config_folder() -> Path:
    """Folder of the files: config/ of the source tree, else share/physgen_sim_bridge/config of a prefix.

    Raises:
        UserError: neither exists (broken installation).
    """
    source = Path(__file__).resolve().parents[2]
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for folder in (source, *(prefix / "share" / "physgen_sim_bridge" for prefix in prefixes)):
        if (folder / "config" / FILES[0]).is_file():
            return folder / "config"
    raise UserError("the configuration files of physgen_sim_bridge are missing; install the package again")


@cache
def frozen_list() -> FrozenList:
    """Read the list.

    Raises:
        UserError: a file is missing or is not the committed one.
    """
    folder = config_folder()
    try:
        contents = [(folder / name).read_bytes() for name in FILES]
    except OSError as error:
        raise UserError(f"the list of perturbations in {folder} cannot be read: {error.strerror}") from error
    found = hashlib.sha256(b"".join(contents)).hexdigest()
    if found != SHA256:
        raise UserError(
            f"{' and '.join(FILES)} in {folder} have SHA-256 {found[:12]}, but {SHA256[:12]} is expected: results "
            "would not be comparable; restore the files, or change the hash in frozen_list.py with them"
        )
    values = read_json_object(folder / FILES[0])
    variants: dict[tuple[str, int], tuple[Variant, ...]] = {}
    for entry in values["variants"]:
        variant = build(Variant, entry, FILES[0])
        key = (variant.category, variant.level)
        variants[key] = (*variants.get(key, ()), variant)
    return FrozenList(variants, Paraphrases.parse(contents[1].decode()))


def list_text() -> str:
    """The list as `draw` gives it now, one variant a line."""
    lines = [
        json.dumps(plain_values(draw(category, level, number)))
        for category in CATEGORIES
        for level in LEVELS
        for number in range(NUMBERS)
    ]
    return '{"format": 1, "variants": [\n' + ",\n".join(lines) + "\n]}\n"


def plain_values(value: Any) -> dict[str, Any]:
    """A dataclass as nested plain values without the fields that have their default; `build` reads it back."""
    plain: dict[str, Any] = {}
    for f in fields(value):
        part = getattr(value, f.name)
        if part == f.default:
            continue
        if is_dataclass(part):
            plain[f.name] = plain_values(part)
        elif isinstance(part, tuple) and part and is_dataclass(part[0]):
            plain[f.name] = [asdict(item) for item in part]
        else:
            plain[f.name] = part
    return plain


if __name__ == "__main__":
    sys.stdout.write(list_text())
