# SPDX-License-Identifier: Apache-2.0
"""Publishes how far pictures are from what was expected, and has the arm hold where that is too far."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import make_header
from physgen_msgs.msg import PredictionError as PredictionErrorMsg
from physgen_policy.runtime.prediction_error import PredictionError

ASK_AGAIN_S = 0.5
"""Steady time after which a request that nobody answered is made again: its server may have died with it."""


class PredictionWatch:
    """Looks at the errors of one policy node.

    Args:
        node: Publishes and calls.
        limit: Of the worst colours of the fixed view [levels of 255]; 0 never holds.
    """

    def __init__(self, node: Node, limit: float) -> None:
        self._node, self.limit = node, limit
        self._publisher = node.create_publisher(PredictionErrorMsg, topics.PREDICTION_ERROR, qos.COMMAND)
        self._hold = node.create_client(Trigger, topics.HOLD)
        self._hold_due = False
        self._asked_s = -math.inf

    def seen(self, errors: Sequence[PredictionError], stamp_ns: int, session_id: str) -> str:
        """Publish the errors of the two views of an observation; return why the arm has to hold, or "".

        Called by the inference thread.
        """
        if len(errors) != 2:
            return ""
        fixed, wrist = errors
        message = PredictionErrorMsg(session_id=session_id)
        message.header = make_header(stamp_ns, "")
        message.fixed_worst, message.fixed_mean = fixed.worst, fixed.mean
        message.wrist_worst, message.wrist_mean = wrist.worst, wrist.mean
        self._publisher.publish(message)
        if not self.limit or fixed.worst <= self.limit:
            return ""
        self._hold_due = True
        return (
            f"the fixed camera sees something else than was expected (error {fixed.worst:.0f} levels, allowed are "
            f"{self.limit:g}): the arm was asked to hold; look at the scene, then arm it again"
        )

    def poll(self) -> None:
        """Ask for the hold that is due until the controller has answered; called again and again by the executor."""
        if not self._hold_due or time.monotonic() - self._asked_s < ASK_AGAIN_S:
            return
        if self._hold.service_is_ready():
            self._asked_s = time.monotonic()
            self._hold.call_async(Trigger.Request()).add_done_callback(self._on_answer)

    def _on_answer(self, future: Future) -> None:
        if future.exception() is None and not future.cancelled():
            self._hold_due = False
