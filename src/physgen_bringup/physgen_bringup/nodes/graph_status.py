# SPDX-License-Identifier: Apache-2.0
"""What a running graph says of itself: who is alive, safety state, policy and its checkpoint, episode, recorder."""

from __future__ import annotations

from dataclasses import dataclass, field

from std_msgs.msg import String

from physgen_bringup.nodes.graph_client import NAME, GraphClient
from physgen_control.errors import UserError
from physgen_control.messages import topics
from physgen_control.messages.read import json_object_from_msg
from physgen_control.nodes import qos
from physgen_control.nodes.heartbeat import BEATS, TIMEOUT_S
from physgen_control.types import EpisodePhase
from physgen_msgs.msg import EpisodeInfo, PolicyStatus, SafetyStatus

HELPERS = (NAME, "physgen_probe")
"""Nodes that look at a graph and belong to none."""
STATES = ("DISARMED", "SHADOW", "ARMED", "HOLD", "FAULT")


@dataclass(slots=True)
class GraphStatus:
    """One look. Texts are "" for what nobody said.

    Attributes:
        nodes: Full names that DDS lists, killed ones for up to twenty seconds.
        alive: Roles whose heartbeat was heard.
    """

    nodes: list[str] = field(default_factory=list)
    alive: list[str] = field(default_factory=list)
    safety: str = ""
    policy: str = ""
    checkpoint: str = ""
    episode: str = ""
    recorder: str = ""


def look(look_s: float = TIMEOUT_S + 3.0) -> GraphStatus:
    """Listen to the graph in the domain of the environment.

    Args:
        look_s: How long [s]. Participants that DDS missed at the first announcement are found at the next, three
            seconds later.
    """
    with GraphClient() as client:
        beats = client.listen(String, topics.HEARTBEAT, BEATS)
        safety = client.listen(SafetyStatus, topics.SAFETY_STATUS, qos.LATCHED)
        policy = client.listen(PolicyStatus, topics.POLICY_STATUS, qos.LATCHED)
        episode = client.listen(EpisodeInfo, topics.EPISODE_INFO, qos.LATCHED)
        recorder = client.listen(String, topics.RECORDER_STATUS, qos.LATCHED)
        client.spin_until(lambda: False, look_s)
        names = client.node.get_node_names_and_namespaces()
        return GraphStatus(
            nodes=sorted(f"{space.rstrip('/')}/{name}" for name, space in names if name not in HELPERS),
            alive=sorted({beat.data.split()[0] for beat in beats if beat.data.split()}),
            safety=_safety_text(safety[-1]) if safety else "",
            policy=_policy_text(policy[-1]) if policy else "",
            checkpoint=policy[-1].policy_id if policy else "",
            episode=_episode_text(episode[-1]) if episode else "",
            recorder=_recorder_text(recorder[-1]) if recorder else "",
        )


def _safety_text(message: SafetyStatus) -> str:
    state = STATES[message.state] if message.state < len(STATES) else f"unknown state {message.state}"
    stop = ", software stop" if message.estop else ""
    human = ", a person is in command" if message.intervention else ""
    return f"{state}{stop}{human}" + (f": {message.detail}" if message.detail else "")


def _policy_text(message: PolicyStatus) -> str:
    ready = "ready" if message.ready else "not ready"
    latency = f", {1e3 * message.latency_mean:.0f} ms per chunk" if message.predictions else ""
    return f"{ready}{latency}" + (f": {message.detail}" if message.detail else "")


def _episode_text(message: EpisodeInfo) -> str:
    try:
        phase = EpisodePhase(message.phase).name.lower()
    except ValueError:
        phase = f"unknown phase {message.phase}"
    limit = f" of {message.max_steps}" if message.max_steps else ""
    return f"{message.task}, seed {message.seed}, {phase} at step {message.step}{limit}"


def _recorder_text(message: String) -> str:
    try:
        values = json_object_from_msg(message, "recorder's status")
    except UserError as error:
        return str(error)
    return ", ".join(str(values[key]) for key in ("state", "detail", "bag_path") if values.get(key))
