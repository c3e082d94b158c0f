# SPDX-License-Identifier: Apache-2.0
"""The picture that a fixed camera had in most demonstrations: what moved from one to the next is not in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physgen_control.bags.errors import BagError
from physgen_control.bags.reader import read_episode
from physgen_policy.contract.splice import UInt8Image, resize_view
from physgen_policy.data.dataset import DatasetError

MOST = 64
"""More recordings make no better median."""


def reference_picture(
    bags: Sequence[Path], camera: str, view: tuple[int, int]
) -> tuple[UInt8Image, list[str]]:
    """Return the median of the first pictures of some recordings.

    Args:
        bags: Of which MOST, evenly spread, are read.
        camera: Its name.
        view: Rows and columns of the result [pixels].

    Returns:
        uint8 [rows, columns, 3] RGB, and one sentence per recording that could not be read.

    Raises:
        DatasetError: None could be read.
    """
    chosen = [bags[i] for i in np.unique(np.linspace(0, len(bags) - 1, min(MOST, len(bags))).astype(int))]
    pictures, left_out = [], []
    for bag in chosen:
        try:
            stream = read_episode(bag).images[camera]
            pictures.append(resize_view(stream.rgb(0), *view))
        except (BagError, KeyError, IndexError) as error:
            left_out.append(f"{bag.name}: {str(error) or 'no picture'}")
    if not pictures:
        raise DatasetError(f"none of the {len(chosen)} recordings has a picture of the {camera} camera")
    return np.median(np.stack(pictures), axis=0).round().astype(np.uint8), left_out
