# SPDX-License-Identifier: Apache-2.0
"""PolicyStatus from the values of the policy and its session."""

from __future__ import annotations

from physgen_msgs.msg import PolicyStatus
from physgen_policy.runtime.served_policy import ServedPolicy
from physgen_policy.runtime.session import PolicySession


def status_message(
    policy: ServedPolicy | None, session: PolicySession | None, missing: list[str]
) -> PolicyStatus:
    """Return the status without its header; it is ready when nothing is missing."""
    message = PolicyStatus(ready=not missing)
    if policy is not None:
        message.policy_id, message.gpu_memory = policy.policy_id, policy.gpu_memory
    if session is not None:
        status = session.status
        message.session_id, message.instruction = status.session_id, status.instruction
        message.latency_last, message.latency_mean = status.latency_last, status.latency_mean
        message.latency_p95, message.sync_skew = status.latency_p95, status.sync_skew
        message.observations_used = message.predictions = status.predictions
        message.observations_dropped, message.detail = status.dropped, status.detail
    if missing:
        message.detail = f"waiting for {', '.join(missing)}"
    return message
