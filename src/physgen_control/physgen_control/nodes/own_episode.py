# SPDX-License-Identifier: Apache-2.0
"""The episode that a rollout on a real arm announces itself, because there is no recorder that would."""

from __future__ import annotations

from dataclasses import replace

from rclpy.duration import Duration
from rclpy.publisher import Publisher

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import episode_to_msg
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.types import Episode, EpisodePhase
from physgen_msgs.msg import EpisodeInfo


class OwnEpisode:
    """Announces at most one episode at a time; who announces none makes no publisher."""

    def __init__(self, node: GuardedNode) -> None:
        self._node = node
        self._announcer: Publisher | None = None
        self._running: Episode | None = None

    @property
    def running(self) -> bool:
        """Whether an episode was begun here and not ended yet."""
        return self._running is not None

    def begin(self, episode: Episode) -> None:
        """Announce an episode."""
        self._running = episode
        self._say(episode)

    def end(self, detail: str, steps: int) -> None:
        """End the episode, if one runs."""
        episode, self._running = self._running, None
        if episode is not None:
            self._say(replace(episode, phase=EpisodePhase.FAILURE, step=steps, detail=detail))

    def wait_until_heard(self) -> None:
        """Wait, a second at most, until everybody has got what was announced."""
        if self._announcer is not None:
            self._announcer.wait_for_all_acked(Duration(seconds=1))

    def _say(self, episode: Episode) -> None:
        if self._announcer is None:
            self._announcer = self._node.create_publisher(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        self._announcer.publish(episode_to_msg(episode))
