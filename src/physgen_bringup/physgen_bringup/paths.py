# SPDX-License-Identifier: Apache-2.0
"""Where the package's data files lie, in a source tree and in an installation."""

from __future__ import annotations

from pathlib import Path

from physgen_control.errors import UserError
from physgen_control.program.share import share_folders


def share_folder() -> Path:
    """Return the folder that holds config/ and launch/: the source tree, else share/physgen_bringup of a prefix.

    Raises:
        UserError: Neither exists (broken installation).
    """
    source = Path(__file__).resolve().parents[1]
    for folder in (source, *share_folders("physgen_bringup")):
        if (folder / "config" / "fastdds.xml").is_file():
            return folder
    raise UserError("the configuration files of physgen_bringup are missing; install the package again")


def config_file(name: str) -> Path:
    """Return the path of one configuration file of this package."""
    return share_folder() / "config" / name
