# SPDX-License-Identifier: Apache-2.0
"""What `physgen ros2` does where ROS 2's own command line is not installed: looking, echoing, calling, parameters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from rclpy.parameter import Parameter, parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from physgen_bringup.nodes.graph_client import NAME, GraphClient
from physgen_bringup.nodes.plain_messages import fill, find_type, to_plain
from physgen_control.errors import UserError

FIND_S = 10.0
"""Longest search for what was named [s]: one lost announcement of a node on a busy machine costs seconds."""
EMPTY_S = 3.0
"""A list is empty when nothing came for so long [s]."""
SETTLE_S = 1.0
"""What was found is complete when nothing new came for so long."""
ANSWER_S = 30.0

Found = TypeVar("Found")


def node_names() -> list[str]:
    """Full names of the nodes in this domain."""
    with GraphClient() as client:
        return _settled(client, lambda: _nodes(client))


def node_info(name: str) -> dict[str, list[str]]:
    """What a node publishes, reads and serves, as `name [types]`; raises UserError for an unknown node."""
    with GraphClient() as client:
        base, space = _split(_find_node(client, name))
        looks = {
            "publishers": client.node.get_publisher_names_and_types_by_node,
            "subscribers": client.node.get_subscriber_names_and_types_by_node,
            "services": client.node.get_service_names_and_types_by_node,
            "clients": client.node.get_client_names_and_types_by_node,
        }
        ends = _settled(client, lambda: {what: sorted(look(base, space)) for what, look in looks.items()})
    return {
        what: [f"{topic} [{', '.join(types)}]" for topic, types in listed] for what, listed in ends.items()
    }


def topic_names() -> list[tuple[str, list[str]]]:
    """Topics with their types."""
    with GraphClient() as client:
        return _settled(client, lambda: sorted(client.node.get_topic_names_and_types()))


def service_names() -> list[tuple[str, list[str]]]:
    """Services with their types, without those that every node has for its parameters."""
    with GraphClient() as client:
        return _settled(client, lambda: sorted(client.node.get_service_names_and_types()))


def topic_info(topic: str) -> dict[str, list[str]]:
    """Type of a topic, who writes and who reads it; raises UserError for one that nobody has."""
    with GraphClient() as client:
        type_name = _topic_type(client, topic)

        def ends() -> dict[str, list[str]]:
            listed = {
                "publishers": client.node.get_publishers_info_by_topic(topic),
                "subscribers": client.node.get_subscriptions_info_by_topic(topic),
            }
            return {
                what: sorted(f"{e.node_namespace.rstrip('/')}/{e.node_name}" for e in of)
                for what, of in listed.items()
            }

        # A writer is found before the name of its node is.
        client.spin_until(lambda: not any("UNKNOWN" in name for of in ends().values() for name in of), FIND_S)
        return {"type": [type_name], **_settled(client, ends)}


def messages(topic: str, count: int | None, wait_s: float | None) -> Iterator[tuple[float, Any]]:
    """Yield (seconds of the steady clock, plain values) of a topic's messages.

    Args:
        topic: Its full name.
        count: how many, None without end.
        wait_s: longest wait for each [s], None without end.

    Raises:
        UserError: nobody has the topic, or no message came.
    """
    with GraphClient() as client:
        message_type = find_type(_topic_type(client, topic), "msg")
        heard = client.listen(message_type, topic, _matching(client, topic))
        yielded = 0
        while count is None or yielded < count:
            if not client.spin_until(lambda: heard, 1e9 if wait_s is None else wait_s):
                raise UserError(f"no message came on {topic} within {wait_s:g} s")
            yield time.monotonic(), to_plain(heard.pop(0))
            yielded += 1


def service_call(name: str, type_name: str, values: Mapping[str, Any]) -> Any:
    """Call a service with plain values and return its answer as such; raises UserError where that cannot be."""
    service_type = find_type(type_name, "srv")
    request = fill(service_type.Request(), values)
    with GraphClient() as client:
        return to_plain(client.call(service_type, name, request, find_s=FIND_S, answer_s=ANSWER_S))


def parameters(node: str) -> dict[str, Any]:
    """All parameters of a node; raises UserError for a node without."""
    with GraphClient() as client:
        remote = _parameters_of(client, node)
        names = _answer(client, remote.list_parameters()).result.names
        values = _answer(client, remote.get_parameters(list(names))).values
    return dict(sorted(zip(names, (_plain(value) for value in values), strict=True)))


def set_parameter(node: str, name: str, value: Any) -> tuple[bool, str]:
    """Set one parameter; return whether the node took it, and its reason.

    Raises:
        UserError: There is no such node or parameter, or it did not answer.
    """
    with GraphClient() as client:
        remote = _parameters_of(client, node)
        try:
            parameter = Parameter(name, value=value)
        except (TypeError, AssertionError) as error:
            raise UserError(f"{value!r} cannot be a parameter: {error}") from error
        [result] = _answer(client, remote.set_parameters([parameter])).results
    return bool(result.successful), str(result.reason)


def _settled(client: GraphClient, look: Callable[[], Found]) -> Found:
    """What `look` finds once nothing new came for SETTLE_S: nodes are found one after another.

    Where it finds nothing at all, it is given EMPTY_S.
    """
    found, since = look(), time.monotonic()
    while time.monotonic() - since < (SETTLE_S if found else EMPTY_S):
        client.spin_until(lambda: False, 0.05)
        if (now := look()) != found:
            found, since = now, time.monotonic()
    return found


def _parameters_of(client: GraphClient, node: str) -> AsyncParameterClient:
    remote = AsyncParameterClient(client.node, _find_node(client, node))
    if not client.spin_until(remote.services_are_ready, FIND_S):
        raise UserError(f"{node} offers no parameters")
    return remote


def _answer(client: GraphClient, future: Any) -> Any:
    if not client.spin_until(future.done, ANSWER_S):
        raise UserError(f"the node did not answer within {ANSWER_S:g} s")
    return future.result()


def _plain(value: Any) -> Any:
    python = parameter_value_to_python(value)
    return python if isinstance(python, str | bool | int | float | None) else list(python)


def _nodes(client: GraphClient) -> list[str]:
    found = client.node.get_node_names_and_namespaces()
    return sorted(f"{space.rstrip('/')}/{name}" for name, space in found if name != NAME)


def _find_node(client: GraphClient, name: str) -> str:
    wanted = f"/{name.lstrip('/')}"
    if not client.spin_until(lambda: wanted in _nodes(client), FIND_S):
        raise UserError(f"there is no node {wanted}; there are {', '.join(_nodes(client)) or 'none'}")
    return wanted


def _split(full: str) -> tuple[str, str]:
    space, _, base = full.rpartition("/")
    return base, space or "/"


def _topic_type(client: GraphClient, topic: str) -> str:
    def types() -> list[str]:
        return dict(client.node.get_topic_names_and_types()).get(topic, [])

    if not client.spin_until(types, FIND_S):
        raise UserError(f"nobody writes or reads {topic}; `physgen ros2 topic list` shows what there is")
    return types()[0]


def _matching(client: GraphClient, topic: str) -> QoSProfile:
    """A profile that every writer of the topic fits: latched and reliable only where all are."""
    profiles = _settled(
        client, lambda: [end.qos_profile for end in client.node.get_publishers_info_by_topic(topic)]
    )
    reliable = all(p.reliability == ReliabilityPolicy.RELIABLE for p in profiles)
    latched = profiles and all(p.durability == DurabilityPolicy.TRANSIENT_LOCAL for p in profiles)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
