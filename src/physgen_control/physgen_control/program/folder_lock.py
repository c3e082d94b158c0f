# SPDX-License-Identifier: Apache-2.0
"""One command at a time writes into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from physgen_control.errors import UserError

LOCK_FILE = ".physgen.lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Own a folder, which is created if it is not there, until the block ends or the process does.

    Raises:
        UserError: Another command owns it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # The kernel drops the lock with its process, so that none is left behind by a kill; the file stays.
        lock = FileLock(folder / LOCK_FILE)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(
            f"{folder} is in use by another command: wait until it has ended, or choose another folder"
        ) from error
    except OSError as error:
        raise UserError(f"{folder} cannot be used as an output folder: {error}") from error
    try:
        yield
    finally:
        lock.release()
