# SPDX-License-Identifier: Apache-2.0
"""What is left running after a test."""

import psutil


def children() -> list[psutil.Process]:
    """Living child processes, without multiprocessing's resource tracker, which stays until this process ends."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found
