# SPDX-License-Identifier: Apache-2.0
"""What SafetyStatus says, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.types import Fault, SafetyState


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySnapshot:
    """What SafetyStatus says: state_age in seconds (infinite before the first state), detail a sentence for people."""

    state: SafetyState
    faults: Fault
    estop: bool
    deadman: bool
    intervention: bool
    state_age: float
    last_chunk_seq: int
    detail: str
