# SPDX-License-Identifier: Apache-2.0
"""The services of a graph that people call by hand."""

from __future__ import annotations

from std_srvs.srv import SetBool, Trigger

from physgen_bringup.nodes.graph_client import GraphClient
from physgen_control.messages import topics
from physgen_msgs.srv import SetInstruction

FIND_S = 5.0
TRIGGERS = {
    "hold": topics.HOLD,
    "recover": topics.RECOVER,
    "clear_fault": topics.CLEAR_FAULT,
    "home": topics.HOME,
}
ANSWER_S = {"recover": 60.0, "home": 60.0}
"""Longest wait for an answer [s] where the arm does something before it."""


def call(what: str, value: str) -> tuple[bool, str]:
    """Call a service by its short name; return whether it did what was asked, and its sentence.

    Raises:
        UserError: nobody serves it, or it does not answer.
    """
    with GraphClient() as client:
        wait_s = ANSWER_S.get(what, 10.0)
        if what == "set_armed":
            request = SetBool.Request(data=value == "true")
            answer = client.call(SetBool, topics.SET_ARMED, request, find_s=FIND_S, answer_s=wait_s)
        elif what == "set_instruction":
            asked = SetInstruction.Request(instruction=value)
            answer = client.call(
                SetInstruction, topics.SET_INSTRUCTION, asked, find_s=FIND_S, answer_s=wait_s
            )
        else:
            answer = client.call(Trigger, TRIGGERS[what], Trigger.Request(), find_s=FIND_S, answer_s=wait_s)
    return bool(answer.success), str(answer.message)
