# SPDX-License-Identifier: Apache-2.0
"""A folder of this user alone, for locks and caches: nothing lies under a name in /tmp that somebody else can take."""

from __future__ import annotations

import os
from pathlib import Path

from physgen_control.errors import UserError


def user_folder(name: str) -> Path:
    """Return `$XDG_CACHE_HOME/physgen/NAME` (default ~/.cache), made if needed with access for its owner only.

    Raises:
        UserError: It cannot be made, or it belongs to somebody else.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "physgen"
    folder = base / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be used ({error.strerror or error}); set XDG_CACHE_HOME to one that can."
        ) from error
    if owner != os.getuid():
        raise UserError(
            f"The folder {folder} belongs to another user; set XDG_CACHE_HOME to one of your own."
        )
    return folder
