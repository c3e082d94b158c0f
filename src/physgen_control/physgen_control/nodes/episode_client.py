# SPDX-License-Identifier: Apache-2.0
"""Starts and ends episodes by a teleoperation device's buttons: the recorder's services, or a simulation's reset."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from rclpy.client import Client

from physgen_control.messages import topics
from physgen_control.nodes import qos
from physgen_control.nodes.conversions import episode_from_msg
from physgen_control.nodes.guarded_node import GuardedNode
from physgen_control.program.parameter_field import parameter
from physgen_control.teleop.command import Button
from physgen_control.teleop.episode_buttons import OUTCOMES, EpisodeButtons
from physgen_control.types import EpisodePhase
from physgen_msgs.msg import EpisodeInfo
from physgen_msgs.srv import ResetEnv, StartEpisode, StopEpisode


# Without slots: a teleoperation node's configuration inherits from this and from its device's, and Python joins no two
# bases with slots.
@dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
    """Whether a person starts episodes, and what those are."""

    episode_buttons: bool = parameter(True, description="Start and end episodes; false where a program does")
    instruction: str = parameter("", description="Instruction of the episodes that are started (real arm)")
    operator: str = parameter("", description="Who demonstrates")
    task: str = parameter("", description="Task name of the episodes that are started")
    seed: int = parameter(0, description="Seed of the first simulated episode; each start adds one", ge=0)
    max_steps: int = parameter(
        0, description="Control steps of a simulated episode, 0 for the task's own limit", ge=0
    )


class EpisodeClient:
    """Calls at most one service at a time and says in words how it ended.

    A simulation announces its episodes itself: there a start asks it for the next seed, discarding asks for the same
    seed again, and success or failure is its own judgement. On a real arm the recorder's services do all of it.
    """

    def __init__(self, node: GuardedNode, config: EpisodeConfig, say: Callable[[str], None]) -> None:
        self._node, self._config, self._say = node, config, say
        self._buttons = EpisodeButtons()
        self._reset = node.create_client(ResetEnv, topics.RESET_ENV)
        self._start = node.create_client(StartEpisode, topics.START_EPISODE)
        self._stop = node.create_client(StopEpisode, topics.STOP_EPISODE)
        self._busy = False
        self._next_seed = config.seed
        self._running = ""
        node.create_subscription(EpisodeInfo, topics.EPISODE_INFO, self._on_episode, qos.LATCHED)

    @property
    def simulated(self) -> bool:
        """Whether a simulation is there and starts episodes."""
        return bool(self._reset.service_is_ready())

    def update(self, buttons: Set[Button]) -> None:
        """Take the buttons that are down now."""
        button = self._buttons.pressed(buttons)
        if button is None:
            return
        if not self._config.episode_buttons:
            self._say("Episodes are started by a program here; the episode keys do nothing.")
        elif self._busy:
            self._say("The last episode request is not answered yet.")
        elif self.simulated:
            self._simulated(button)
        else:
            self._recorded(button)

    def _simulated(self, button: Button) -> None:
        if button in (Button.SUCCESS, Button.FAILURE):
            self._say("The simulation judges its episodes itself; discard this one (or wait for its end).")
            return
        if button is Button.DISCARD and self._next_seed > self._config.seed:
            self._next_seed -= 1
        seed, self._next_seed = self._next_seed, self._next_seed + 1
        request = ResetEnv.Request(
            task=self._config.task, seed=seed, init_state=-1, max_steps=self._config.max_steps
        )
        self._call(self._reset, request, f"episode with seed {seed}", seed)

    def _recorded(self, button: Button) -> None:
        if button is Button.START:
            request: Any = StartEpisode.Request(
                instruction=self._config.instruction,
                operator_name=self._config.operator,
                task=self._config.task,
            )
            self._call(self._start, request, "start of an episode")
            return
        outcome = OUTCOMES[button]
        self._call(self._stop, StopEpisode.Request(outcome=int(outcome)), f"end as {outcome.name}")

    def _call(self, client: Client, request: Any, what: str, seed: int | None = None) -> None:
        if not client.service_is_ready():
            self._say(f"The {what} is not possible: nobody serves {client.srv_name} (is record:=true set?).")
            return
        self._busy = True
        future = client.call_async(request)

        def answered(done: Any) -> None:
            self._busy = False
            response = done.result()
            good = response is not None and response.success
            if not good and seed is not None:
                self._next_seed = seed  # nothing was started with it
            words = response.message if response is not None else "no answer"
            self._say(
                f"The {what} {'was accepted' if good else 'was refused'}{': ' + words if words else '.'}"
            )

        self._node.when_done(future, answered)

    def _on_episode(self, message: EpisodeInfo) -> None:
        episode = episode_from_msg(message)
        if episode.phase is EpisodePhase.RUNNING:
            if episode.episode_id != self._running:
                self._say(f"Episode {episode.episode_id} runs: {episode.instruction}")
            self._running = episode.episode_id
        elif self._running == episode.episode_id:
            self._running = ""
            self._say(f"Episode {episode.episode_id} ended: {episode.phase.name}. {episode.detail}".rstrip())
