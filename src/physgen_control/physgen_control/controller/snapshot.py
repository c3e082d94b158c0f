# SPDX-License-Identifier: Apache-2.0
"""What SafetyStatus says, as a value."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.types import Fault, SafetyState


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySnapshot:
    """What SafetyStatus says, without its header."""

    state: SafetyState
    faults: Fault
    """Those that are active now."""
    estop: bool
    """A software stop was requested."""
    deadman: bool
    """The deadman is pressed, or not required."""
    intervention: bool
    """A human is in command."""
    state_age: float
    """Age of the newest robot state [s]; infinite before the first."""
    last_chunk_seq: int
    """Newest accepted chunk."""
    detail: str
    """A sentence for people."""
