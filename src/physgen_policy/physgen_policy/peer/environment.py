# SPDX-License-Identifier: Apache-2.0
"""Where the lerobot package lies and under which environment its processes run; it never enters this process.

lerobot brings torchvision, whose mere presence changes what transformers and diffusers do, and older versions of what
we use. So it has a folder of its own, which only its child processes have on their module path.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from physgen_control.errors import UserError

PATH_VARIABLE = "PHYSGEN_LEROBOT_PATH"
FOLDER = "lerobot"
"""Below PHYSGEN_HOME; tools/physgen_setup fills it from requirements/peer.lock."""


def find_lerobot(environment: Mapping[str, str]) -> str:
    """Return the folder that holds the lerobot package, "" where this interpreter has it anyway.

    Raises:
        UserError: There is none.
    """
    chosen = environment.get(PATH_VARIABLE, "")
    home = environment.get("PHYSGEN_HOME", "")
    default = str(Path(home) / FOLDER) if home else ""
    for folder in (chosen, default):
        if folder and (Path(folder).expanduser() / "lerobot").is_dir():
            return str(Path(folder).expanduser().resolve())
    if chosen:
        raise UserError(f"{PATH_VARIABLE}={chosen} holds no package lerobot; name the folder that does")
    if importlib.util.find_spec("lerobot") is not None:
        return ""
    raise UserError(
        "the lerobot package is not installed: run `./physgen setup --peer`, or name a folder that holds it in "
        f"{PATH_VARIABLE}"
    )


def lerobot_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process that imports lerobot, starting from ours; offline, nothing is uploaded.

    Raises:
        UserError: The package is not installed.
    """
    folder = find_lerobot(environment)
    path = [folder, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    if PACKAGE_ROOT not in path:
        path.append(PACKAGE_ROOT)
    wanted = {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": os.pathsep.join(part for part in path if part),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "TOKENIZERS_PARALLELISM": "false",
    }
    home = environment.get("PHYSGEN_HOME", "")
    if home and not environment.get("HF_DATASETS_CACHE"):
        wanted["HF_DATASETS_CACHE"] = str(Path(home) / "cache" / "datasets")
    return {**environment, **wanted}


def lerobot_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs one of our modules as such a process."""
    return [sys.executable, "-P", "-m", f"physgen_policy.peer.{module}", *arguments]


PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
