# SPDX-License-Identifier: Apache-2.0
"""One process prepares what the others read, without a barrier: they would time out long before a codec is trained."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

MARK = "prepared"
POLL_S = 0.2


@contextmanager
def main_process_prepares(accelerator: Accelerator, folder: Path) -> Iterator[None]:
    """Run the block in the main process, and then, when it has left a mark in the folder, in the others.

    Where the main process fails, whoever started the processes (torchrun, accelerate) ends the others.
    """
    if accelerator.num_processes == 1:
        yield
        return
    [token] = broadcast_object_list([uuid.uuid4().hex])
    mark = folder / MARK
    if not accelerator.is_main_process:
        while not (mark.is_file() and mark.read_text() == token):
            time.sleep(POLL_S)
    yield
    if accelerator.is_main_process:
        mark.write_text(token)
