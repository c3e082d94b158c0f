# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of a recording."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from physgen_control.recording.health import Health
from physgen_control.recording.status_board import RecorderStatus


def recorder_diagnostics(status: RecorderStatus, health: Health | None) -> DiagnosticArray:
    """Return the message, without its stamp.

    Args:
        status: What /physgen/recorder_status says.
        health: Of the open bag; None when none is open.
    """
    bad = status.state == "error" or (health is not None and bool(health.problems))
    values = {"state": status.state, "episode_id": status.episode_id, "bag_path": status.bag_path}
    if health is not None:
        values |= {
            "bag_mb": f"{health.bag_mb:.0f}",
            "mb_per_s": f"{health.mb_per_s:.1f}",
            "waiting_mb": f"{health.waiting_mb:.1f}",
            "minutes_left": f"{health.minutes_left:.0f}",
        }
        for name, topic in health.topics.items():
            values[name] = (
                f"{topic.rate_hz:.1f} Hz, missing {topic.missing}, lost {topic.lost}, dropped {topic.dropped}"
            )
    return DiagnosticArray(
        status=[
            DiagnosticStatus(
                level=DiagnosticStatus.WARN if bad else DiagnosticStatus.OK,
                name="recorder_node: recording",
                message=" ".join(health.problems) if health and health.problems else status.detail,
                hardware_id="recorder",
                values=[KeyValue(key=key, value=value) for key, value in values.items()],
            )
        ]
    )
