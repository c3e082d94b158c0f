# SPDX-License-Identifier: Apache-2.0
"""What must follow a hazard, whichever it was: the arm stays held, or it goes on."""

from __future__ import annotations

from physgen_bringup.chaos.nodes.rig import Rig
from physgen_bringup.chaos.row import must
from physgen_control.types import Fault, SafetyState


def stays_held(rig: Rig, seconds: float = 0.5) -> None:
    """Check that only arming goes on, whatever comes: the policy keeps sending and the arm keeps holding.

    Raises:
        RowFailedError: The arm did not stay held.
    """
    rig.probe.spin(seconds)
    must(rig.probe.state is SafetyState.HOLD, f"the arm went on by itself: {rig.probe.said}")


def goes_on(rig: Rig, since_s: float) -> None:
    """Check that no fault stopped the arm since then, and it moves; a chunk that came too late stops nothing.

    Raises:
        RowFailedError: It was stopped.
    """
    faults = Fault.POLICY_LATE | Fault.CHUNK_REJECTED
    stops = [said for said in rig.probe.statuses if said.time_s > since_s and said.faults & ~faults]
    must(not stops, f"the arm stopped: {stops[:1]}")
    rig.probe.wait_for(rig.moving, "motion", 3.0)
