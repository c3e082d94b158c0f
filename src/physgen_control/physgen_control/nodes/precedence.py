# SPDX-License-Identifier: Apache-2.0
"""Processes that stand between a command and the arm ask for the processor before others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

NICENESS = -10
"""Before policies, cameras and recorders. A simulated arm stands for hardware, which waits for nobody, and the monitor
has to be as prompt as the arm."""
_AUTOGROUP = Path("/proc/self/autogroup")


def come_first() -> None:
    """Take NICENESS for this thread and those that it starts; call it before rclpy is initialised.

    Without the right (root, CAP_SYS_NICE, or `nice` in limits.conf) the process takes its turn as all others.
    """
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    # Desktop kernels share the processor between sessions first, and each node has a session of its own: there the
    # niceness of the session counts (sched(7), "The autogroup feature"). A shared one, as a terminal's, is left alone.
    if os.getsid(0) == os.getpid() and _AUTOGROUP.exists():
        with suppress(OSError):
            _AUTOGROUP.write_text(str(NICENESS))
