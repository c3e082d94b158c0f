# SPDX-License-Identifier: Apache-2.0
"""What nodes say of themselves becomes values, or one sentence."""

from __future__ import annotations

from types import SimpleNamespace as Message
from typing import Any

import pytest

from physgen_control.messages import status
from physgen_control.messages.read import ConversionError
from physgen_control.types import Fault, SafetyState

HEADER = Message(stamp=Message(sec=2, nanosec=5), frame_id="camera")


def safety(**changes: Any) -> Message:
    values = {
        "header": HEADER,
        "state": 2,
        "faults": 0,
        "estop": False,
        "deadman": True,
        "intervention": False,
    }
    return Message(**(values | {"state_age": 0.1, "detail": "fine"} | changes))


def test_a_safety_state_keeps_its_meaning():
    report = status.safety_report_from_msg(safety(faults=17))
    assert report.state == SafetyState.ARMED
    assert report.faults == Fault.POLICY_LATE | Fault.TRACKING
    assert report.stamp_ns == 2_000_000_005


def test_a_state_that_does_not_exist_is_refused():
    with pytest.raises(ConversionError, match="2 ARMED"):
        status.safety_report_from_msg(safety(state=9))


@pytest.mark.parametrize(
    "changes", [{"width": 0}, {"k": [0.0] * 9}, {"k": [float("nan")] * 9}, {"k": [1.0] * 4}]
)
def test_a_calibration_without_focal_lengths_or_size_is_refused(changes):
    good = {"header": HEADER, "width": 64, "height": 48, "k": [50.0, 0, 32, 0, 50.0, 24, 0, 0, 1]}
    assert status.intrinsics_from_msg(Message(**good)).matrix[0, 2] == 32
    with pytest.raises(ConversionError, match="focal lengths"):
        status.intrinsics_from_msg(Message(**(good | changes)))
