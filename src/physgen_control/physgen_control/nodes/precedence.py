# SPDX-License-Identifier: Apache-2.0
"""Processes that stand between a command and the arm ask for the processor before others."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

ARM = -10
"""Niceness of a simulated arm, which stands for hardware: that waits for nobody."""
CONTROL = -6
"""Niceness of the controller and of its monitor: before policies, cameras and recorders, behind the arm."""
_AUTOGROUP = Path("/proc/self/autogroup")


def come_first(niceness: int) -> None:
    """Take the niceness for this thread and those that it starts; call it before rclpy is initialised.

    Without the right (root, CAP_SYS_NICE, or `nice` in limits.conf) the process takes its turn as all others.
    """
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    # Desktop kernels share the processor between sessions first, and each node has a session of its own: there the
    # niceness of the session counts (sched(7), "The autogroup feature"). A shared one, as a terminal's, is left alone.
    if os.getsid(0) == os.getpid() and _AUTOGROUP.exists():
        with suppress(OSError):
            _AUTOGROUP.write_text(str(niceness))
