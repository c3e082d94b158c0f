# SPDX-License-Identifier: Apache-2.0
"""Eyes on a running graph: reads its topics, draws them in a viewer or into a file, and commands nothing.

It runs beside the path from camera to arm: images are read best effort and the newest only, messages are decoded when
they are drawn, and the process has a low priority. A viewer that is too slow misses pictures; nobody waits for it.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.serialization import deserialize_message

from physgen_bringup.viewer.blueprint import blueprint
from physgen_bringup.viewer.feed import FEEDS, Feed
from physgen_bringup.viewer.prediction import ActionLimits
from physgen_bringup.viewer.scene import Scene
from physgen_bringup.viewer.sink import open_sink
from physgen_control.messages import topics
from physgen_control.messages.read import ConversionError
from physgen_control.nodes import qos
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.parameters import declare_from
from physgen_control.program.parameter_field import parameter

NAME = "viewer_node"
NICENESS = 10
"""Whoever computes a chunk or commands an arm comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewerConfig:
    """Parameters of the node."""

    viewer: str = parameter(
        "rerun",
        choices=("rerun", "rerun_web"),
        description="A window of Rerun, or its pages for a browser; a window needs a display",
    )
    save_to: str = parameter(
        "viewer.rrd", description="File that is written instead of a window where there is no display"
    )
    rate_hz: float = parameter(10.0, description="Pictures per second", unit="Hz", ge=0.5, le=60.0)
    predicted: bool = parameter(
        True, description="Show imagined frames; the policy then imagines one after every chunk"
    )
    keys: bool = parameter(False, description="Show what the keys of the keyboard teleoperation do")
    robot: str = parameter("fr3", choices=("fr3", "panda"), description="Whose links are drawn")
    step_translation: float = parameter(
        0.0, description="Limit of an action's translation; 0 draws no limits", unit="m", ge=0
    )
    step_rotation: float = parameter(0.0, description="Limit of an action's rotation", unit="rad", ge=0)
    workspace_min: tuple[float, ...] = parameter(
        (0.25, -0.45, 0.02), description="Lower corner of the workspace", unit="m"
    )
    workspace_max: tuple[float, ...] = parameter(
        (0.75, 0.45, 0.70), description="Upper corner of the workspace", unit="m"
    )

    def limits(self) -> ActionLimits | None:
        """Return the controller's limits that are drawn."""
        if not self.step_translation:
            return None
        return ActionLimits(
            translation=self.step_translation,
            rotation=self.step_rotation,
            low=np.array(self.workspace_min, np.float64),
            high=np.array(self.workspace_max, np.float64),
        )


class ViewerNode(GuardedNode):
    """Holds the newest messages of each topic and hands them to a Scene at its own pace."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.config = config = declare_from(self, ViewerConfig)
        self.sink = open_sink(config.viewer, Path(config.save_to), os.environ)
        self.sink.show_layout(blueprint(keys=config.keys))
        self._scene = Scene(self.sink.recording, limits=config.limits(), keys=config.keys, robot=config.robot)
        self._waiting: dict[str, deque[bytes]] = {}
        self._types: dict[str, Any] = {}
        for feed in FEEDS:
            if feed.topic != topics.PREDICTED_IMAGE or config.predicted:
                self._listen(feed)
        self.create_timer(1.0 / config.rate_hz, self._draw, clock=Clock(clock_type=ClockType.STEADY_TIME))
        _say(self.sink.said)

    def _listen(self, feed: Feed) -> None:
        package, _, name = feed.type.split("/")
        try:
            kind = getattr(importlib.import_module(f"{package}.msg"), name)
        except ImportError:  # not every installation has tf2_msgs
            return
        self._types[feed.topic] = kind
        waiting = self._waiting[feed.topic] = deque(maxlen=feed.keep)
        profile = qos.LATCHED if feed.latched else qos.SENSOR_READER if feed.keep <= 4 else qos.STATE_READER

        def take(data: bytes) -> None:
            waiting.append(data)

        self.create_subscription(kind, feed.topic, take, profile, raw=True)

    def _draw(self) -> None:
        """Decode and draw what has come since the last time.

        Raises:
            ExternalShutdownException: The window was closed.
        """
        if not self.sink.alive:
            _say("the window is closed; the graph goes on without it")
            raise ExternalShutdownException
        for feed in FEEDS:
            waiting = self._waiting.get(feed.topic)
            while waiting:
                message = deserialize_message(waiting.popleft(), self._types[feed.topic])
                try:
                    value = feed.to_value(message)
                except ConversionError as error:
                    self.get_logger().info(f"not drawn: {error}", throttle_duration_sec=5.0)
                    continue
                self._scene.show(feed.topic, value)


def _say(text: str) -> None:
    """Tell the person who started the graph; the local runner shows such lines."""
    sys.stdout.write(f"Viewer: {text}\n")
    sys.stdout.flush()


def _close(node: ViewerNode) -> None:
    node.sink.close()
    node.destroy_node()


def main() -> int:
    """Run the node until it is asked to stop or its window is closed; 2 with one sentence when it cannot start."""
    os.nice(NICENESS)
    return run_node(NAME, ViewerNode, close=_close)


if __name__ == "__main__":
    sys.exit(main())
