# SPDX-License-Identifier: Apache-2.0
"""A scripted person: demonstrates simulated episodes through teleoperation, as a human with a gamepad would.

What the scripted expert would do becomes twists and gripper buttons, so controller, recorder and bags see a person.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from rclpy.executors import ExternalShutdownException
from std_msgs.msg import String

from physgen_control.messages import topics
from physgen_control.messages.read import json_object_from_msg
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import episode_from_msg, sim_state_from_msg
from physgen_control.nodes.lifetime import run_node
from physgen_control.nodes.teleop_node import TeleopConfig, TeleopNode
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import RELEASED, Button, TeleopCommand
from physgen_control.types import EpisodePhase, SafetyState
from physgen_msgs.msg import EpisodeInfo, SafetyStatus
from physgen_msgs.msg import SimState as SimStateMsg
from physgen_sim_bridge.experts.by_task import make_expert

NAME = "script_teleop_node"
PRESS_NS = 200_000_000
"""How long the start button is down."""

PATIENCE_NS = 30_000_000_000
"""An arm may have to go home first; only then the button is pressed again, because each press asks for a new seed."""

STALE_NS = 500_000_000


@dataclass(frozen=True, kw_only=True)
class ScriptConfig(TeleopConfig):
    """Parameters of the node."""

    sim: str = parameter("fake", description="Simulator name")
    episodes: int = parameter(1, description="Episodes to demonstrate", ge=1)
    record: bool = parameter(False, description="Wait for the recorder between episodes")
    step_period: float = parameter(0.05, description="Control period", unit="s", ge=0.001)


class ScriptTeleopNode(TeleopNode[ScriptConfig]):
    """Starts one episode after the other and acts in each until the world ends it."""

    def __init__(self) -> None:
        super().__init__(NAME, ScriptConfig)
        self._expert = make_expert(self.config.sim, self.config.task)
        self._running = ""
        self._over = 0
        self._successes = 0
        self._command = RELEASED
        self._command_ns = 0
        self._pressed_ns: int | None = None
        self._state_ns = -1
        self._safety: SafetyState | None = None
        self._recorder: dict[str, str] = {}
        self._last = ""
        self.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_info, qos.LATCHED)
        self.create_subscription(SimStateMsg, topics.SIM_STATE, self._on_state, qos.LOCKSTEP_READER)
        self.create_subscription(SafetyStatus, topics.SAFETY_STATUS, self._on_safety, qos.LATCHED)
        self.create_subscription(String, topics.RECORDER_STATUS, self._on_recorder, qos.LATCHED)
        self.start()

    def read(self, now_ns: int) -> TeleopCommand:
        """Act in the running episode; between episodes press start.

        Raises:
            ExternalShutdownException: All episodes are over.
        """
        if self._running:
            fresh = now_ns - self._command_ns < STALE_NS
            return self._command if fresh else RELEASED
        if not self._ready():
            return RELEASED
        if self._over >= self.config.episodes:
            self.say(f"{self._successes} of {self._over} demonstrations succeeded.")
            raise ExternalShutdownException
        if self._pressed_ns is None or now_ns - self._pressed_ns > PATIENCE_NS:
            self._pressed_ns = now_ns
        down = now_ns - self._pressed_ns < PRESS_NS
        return TeleopCommand(buttons=frozenset({Button.START}) if down else frozenset())

    def _ready(self) -> bool:
        """Return whether the controller may move, and the bag of the episode before is complete."""
        if self._safety is not SafetyState.ARMED or not self._episodes.simulated:
            return False
        if not self.config.record:
            return True
        state, episode_id = self._recorder.get("state"), self._recorder.get("episode_id")
        return state == "error" or (state == "ready" and episode_id == self._last)

    def _on_info(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        if episode.phase is EpisodePhase.RUNNING and episode.episode_id != self._running:
            self._running = episode.episode_id
            self._command = RELEASED
            self._expert.reset()
        elif episode.phase is not EpisodePhase.RUNNING and episode.episode_id == self._running:
            self._running, self._last, self._pressed_ns = "", episode.episode_id, None
            self._over += 1
            self._successes += episode.phase is EpisodePhase.SUCCESS

    def _on_state(self, message: SimStateMsg) -> None:
        state = sim_state_from_msg(message)
        if not self._running or state.episode_id != self._running or state.stamp_ns <= self._state_ns:
            return
        self._state_ns = state.stamp_ns
        action = self._expert.act(state.objects, state.tcp_pose, state.gripper_width)
        twist = np.asarray(action[:6], np.float64) / self.config.step_period
        gripper = Button.OPEN if action[6] > 0 else Button.CLOSE
        self._command = TeleopCommand(twist=twist, buttons=frozenset({Button.DEADMAN, gripper}))
        self._command_ns = self.steady_ns()

    def _on_safety(self, message: SafetyStatus) -> None:
        self._safety = SafetyState(message.state)

    def _on_recorder(self, message: String) -> None:
        self._recorder = json_object_from_msg(message, "recorder's status")


def main() -> int:
    """Run the node until its demonstrations are over."""
    return run_node(NAME, ScriptTeleopNode)


if __name__ == "__main__":
    sys.exit(main())
