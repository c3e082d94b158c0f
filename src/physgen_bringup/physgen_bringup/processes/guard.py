# SPDX-License-Identifier: Apache-2.0
"""Small programs that make orphans impossible; standard library only.

`guard.py exec PARENT COMMAND...` becomes COMMAND, which then receives SIGINT when its parent dies, however it
dies. `guard.py tie PARENT COMMAND...` does the same for a program that is not ours: it receives SIGTERM, at any time.
`guard.py reap` reads process-group ids from its input; when the input closes (the runner is gone,
killed perhaps), it interrupts and then kills the groups that are left.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
REAP_GRACE_S = 6.0


def main(arguments: list[str]) -> None:
    """Run one of the programs."""
    if arguments[0] == "exec":
        _exec(int(arguments[1]), arguments[2:])
    elif arguments[0] == "tie":
        die_with(int(arguments[1]), signal.SIGTERM)
        os.execv(arguments[2], arguments[2:])
    else:
        _reap()


def die_with(parent: int, number: int) -> None:
    """Have this process receive a signal when its parent dies; ends it if that has happened already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number) != 0:
        sys.exit("guard: prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # the parent died before the line above
        sys.exit(0)


def _exec(parent: int, command: list[str]) -> None:
    die_with(parent, signal.SIGINT)  # survives exec (not fork), so it holds for the node itself
    # A shell ignores SIGINT for its background jobs and children inherit that; a node must hear it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Loading a node's libraries takes seconds; a request to stop waits until the node can answer it in order.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    os.execv(command[0], command)


def _reap() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    deadline = time.monotonic() + REAP_GRACE_S
    for sent in (signal.SIGINT, signal.SIGKILL):
        alive = [group for group in groups if _signal(group, sent)]
        while alive and sent == signal.SIGINT and time.monotonic() < deadline:
            time.sleep(0.05)
            alive = [group for group in alive if _signal(group, 0)]
        groups = set(alive)


def _signal(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1:])
