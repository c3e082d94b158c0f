# SPDX-License-Identifier: Apache-2.0
"""Which faults stop motion, and which of them only an operator ends."""

from __future__ import annotations

from physgen_control.types import Fault

# Faults that stop motion while they last. POLICY_LATE ends with the next valid chunk, the others with their cause.
STOPPING = (
    Fault.STATE_STALE
    | Fault.MULTIPLE_PUBLISHERS
    | Fault.TRACKING
    | Fault.WRENCH
    | Fault.ROBOT_MODE
    | Fault.DEADMAN
)
# Ended only by an operator: the arm may have been moved or blocked.
STICKY = Fault.TRACKING | Fault.WRENCH | Fault.ROBOT_MODE
