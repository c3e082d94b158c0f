# SPDX-License-Identifier: Apache-2.0
"""Draws the picture of docs/robustness.md: a world's fixed camera, clean and under each category at levels 1, 3 and 5.

Run as `PYTHON tools/perturbation_pictures.py maniskill PushCube-v1 docs/images/perturbations_maniskill.png`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from physgen_sim_bridge.perturbation.condition import CLEAN, Condition
from physgen_sim_bridge.perturbation.perturbed_world import perturbed
from physgen_sim_bridge.registry import make_world

CATEGORIES = ("camera", "robot", "light", "noise", "layout", "texture")
LEVELS = (1, 3, 5)
COLOURS = 96
MARGIN = 12


def main() -> None:
    """Draw and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sim")
    parser.add_argument("task")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=3, help="of the episode; it chooses the variants too")
    parser.add_argument("--size", type=int, default=112, help="edge of one picture [px]")
    options = parser.parse_args()
    world = make_world(options.sim, options.task)
    width, height = (len(LEVELS) + 1) * options.size, len(CATEGORIES) * (options.size + MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for row, category in enumerate(CATEGORIES):
        for column, level in enumerate((0, *LEVELS)):
            condition = Condition(category, level) if level else CLEAN
            seen = perturbed(world, condition).reset(options.seed)
            place = (column * options.size, row * (options.size + MARGIN))
            pen.text((place[0] + 2, place[1]), f"{category} {level}" if level else "clean", "black")
            picture = Image.fromarray(np.asarray(seen.rgb_fixed)).resize((options.size, options.size))
            sheet.paste(picture, (place[0], place[1] + MARGIN))
    world.close()
    sheet.quantize(COLOURS).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
