# SPDX-License-Identifier: Apache-2.0
"""Whether LIBERO and its scene files are here."""

import importlib.util

from physgen_control.errors import UserError
from physgen_sim_bridge.libero.assets import VARIABLE, find_assets


def why_not() -> str:
    """Why these tests cannot run here; empty when they can."""
    if importlib.util.find_spec("libero") is None:
        return "LIBERO is not installed (`physgen setup --sim libero`)"
    try:
        find_assets()
    except UserError:
        return f"no folder of LIBERO's scene files ({VARIABLE})"
    return ""
