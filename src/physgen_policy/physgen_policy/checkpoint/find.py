# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints lie: by folder, by name, or the one shipped for a task."""

from __future__ import annotations

import os
from pathlib import Path

from physgen_control.program.share import share_folders
from physgen_policy.checkpoint.folder import PICKLE_SUFFIXES, CheckpointError, read_json, require_complete
from physgen_policy.contract.embodiment import WITHOUT_ACTIONS


def checkpoint_roots() -> list[Path]:
    """Return folders with named checkpoints, in search order.

    They are those of $PHYSGEN_CHECKPOINT_PATH, of the source tree and of installed shares.
    """
    roots = [Path(p) for p in os.environ.get("PHYSGEN_CHECKPOINT_PATH", "").split(os.pathsep) if p]
    roots.append(Path(__file__).resolve().parents[2] / "checkpoints")
    roots += [folder / "checkpoints" for folder in share_folders("physgen_policy")]
    return [root for root in roots if root.is_dir()]


def shipped_checkpoints() -> dict[str, Path]:
    """Return the folder of every named checkpoint that can be found, by name."""
    found: dict[str, Path] = {}
    for root in checkpoint_roots():
        for folder in sorted(root.iterdir()):
            if (folder / "config.json").is_file():
                found.setdefault(folder.name, folder)
    return found


def shipped_policies() -> dict[str, Path]:
    """Return those of them that act; a video model does not."""
    return {name: folder for name, folder in shipped_checkpoints().items() if _acts(folder)}


def _acts(folder: Path) -> bool:
    return read_json(folder / "embodiment.json").get("action_space") != WITHOUT_ACTIONS


def resolve_checkpoint(name_or_folder: str, task: str) -> Path:
    """Find a checkpoint folder by path or name; an empty string means the one shipped for `task`.

    Raises:
        CheckpointError: Nothing fits, the folder is incomplete, or a pickle was given.
    """
    shipped = shipped_checkpoints()
    if not name_or_folder:
        for folder in shipped_policies().values():
            if task in read_json(folder / "embodiment.json").get("tasks", []):
                return folder
        raise CheckpointError(
            f"no checkpoint is shipped for task {task!r} (shipped: {', '.join(shipped_policies()) or 'none'}); "
            "train one with `physgen train` and pass its folder with checkpoint:=FOLDER"
        )
    path = Path(name_or_folder).expanduser()
    if path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{name_or_folder} is a pickle checkpoint ({path.suffix}), which can run code when loaded and is refused; "
            "pass a checkpoint folder with model.safetensors"
        )
    if path.is_dir():
        require_complete(path)
        return path
    if path.is_file():
        raise CheckpointError(f"{name_or_folder} is a file; pass the checkpoint folder that contains it")
    if name_or_folder in shipped:
        return shipped[name_or_folder]
    raise CheckpointError(
        f"there is no checkpoint folder or shipped checkpoint called {name_or_folder!r} "
        f"(shipped: {', '.join(shipped) or 'none'})"
    )
