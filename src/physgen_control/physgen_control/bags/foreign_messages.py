# SPDX-License-Identifier: Apache-2.0
"""Messages of another graph in the same DDS domain, which must not get into a bag of this one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from physgen_control.bags.typestore import typestore
from physgen_control.messages import topics
from physgen_control.messages.graph_identity import is_foreign

NAMES: dict[str, tuple[str, ...]] = {
    topics.EPISODE_INFO: ("episode_id",),
    topics.ACTION_CHUNK: ("session_id", "episode_id"),
    topics.APPLIED_ACTION: ("session_id", "episode_id"),
    topics.CHUNK_ACK: ("session_id", "episode_id"),
    topics.SIM_STATE: ("episode_id",),
}
"""Fields that name a graph, by topic. Images and states of a robot name none."""


class ForeignMessages:
    """Knows the messages that name another graph, and says so about the first of them.

    Args:
        graph: The graph whose messages are not foreign; empty: none is foreign.
        say: Gets a sentence about the first foreign message.
    """

    def __init__(self, graph: str, say: Callable[[str], None]) -> None:
        self._graph = graph
        self._say = say
        self.count = 0

    def holds(self, topic: str, kind: str, data: bytes) -> bool:
        """Return whether a message is of another graph.

        One that cannot be read is not foreign: whoever reads it next says what is wrong with it.

        Args:
            topic: The topic that it came on.
            kind: Its type, such as physgen_msgs/msg/EpisodeInfo.
            data: Its CDR bytes.
        """
        if not self._graph or topic not in NAMES:
            return False
        try:
            message: Any = typestore().deserialize_cdr(data, kind)
            names = [str(getattr(message, field)) for field in NAMES[topic]]
        except Exception:  # noqa: BLE001  (bytes from anywhere; the next reader complains)
            return False
        foreign = [name for name in names if is_foreign(name, self._graph)]
        if foreign and not self.count:
            self._say(
                f"A message on {topic} belongs to another graph in the same DDS domain ({foreign[0]}) and is not "
                "recorded: give each graph a ROS_DOMAIN_ID of its own."
            )
        self.count += bool(foreign)
        return bool(foreign)
