# SPDX-License-Identifier: Apache-2.0
"""The SROS2 policy of a graph: every node in an enclave of its own that may do what `endpoints.TABLE` says.

Written in the policy format 0.2.0 of sros2, which `ros2 security generate_artifacts` turns into keys and permissions.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from physgen_bringup.graph.endpoints import (
    EPISODE_CALLS,
    OPERATOR,
    Endpoints,
    endpoints_of,
)
from physgen_bringup.graph.spec import Graph, enclave
from physgen_control.messages import topics

DRIVERS = "/"
"""Enclave of other packages' nodes: the default of a process that names none."""

OPERATOR_ENCLAVE = "/physgen/operator"
"""Enclave for a terminal: whoever holds its key may arm, hold and watch."""

_COMMANDS = ("/physgen/*", "/teleop/*")
_TYPE_DESCRIPTION = "/*/get_type_description"
"""Every node serves it, that of `ros2 service call` too, and cannot start without; it only tells of types."""


def policy_xml(graph: Graph) -> str:
    """Return the policy file of a graph as text.

    Nodes of other packages (the arm's driver, cameras, RViz) share the enclave `/`: they may use every name but write
    none of this project's commands. The operator's enclave calls the controller's services and reads everything.

    Raises:
        KeyError: With the name of a node of this project that the table of endpoints does not have.
    """
    root = ET.Element("policy", version="0.2.0")
    enclaves = ET.SubElement(root, "enclaves")
    for node in graph.nodes:
        endpoints = endpoints_of(node)
        if endpoints is not None:
            _node_profile(enclaves, node.name, endpoints)
        elif node.module is not None:
            raise KeyError(node.name)
    _operator_profile(enclaves, graph)
    if graph.includes or any(node.module is None for node in graph.nodes):
        _drivers_profile(enclaves)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _node_profile(enclaves: ET.Element, name: str, endpoints: Endpoints) -> None:
    profile = _profile(enclaves, enclave(name), name)
    # A heart learns its participant from a topic whose name nobody else has.
    beats = (f"{topics.HEARTBEAT}/*",) if topics.HEARTBEAT in endpoints.publishes else ()
    own = f"/{name}/*"  # parameters, the states of a lifecycle node
    _rules(profile, "topic", "publish", (*endpoints.publishes, *beats, own, "/rosout", "/parameter_events"))
    _rules(profile, "topic", "subscribe", (*endpoints.subscribes, topics.CLOCK, "/parameter_events"))
    _rules(profile, "service", "reply", (*endpoints.serves, own, _TYPE_DESCRIPTION))
    _rules(profile, "service", "request", endpoints.calls)
    _rules(profile, "action", "call", endpoints.acts)
    _rules(profile, "action", "execute", endpoints.performs)


def _operator_profile(enclaves: ET.Element, graph: Graph) -> None:
    profile = _profile(enclaves, OPERATOR_ENCLAVE, "operator")
    served = {name for node in graph.nodes for name in (endpoints_of(node) or Endpoints()).serves}
    _rules(profile, "topic", "publish", ("/rosout", "/parameter_events"))
    _rules(profile, "topic", "subscribe", ("*",))
    _rules(profile, "service", "reply", (_TYPE_DESCRIPTION,))
    _rules(profile, "service", "request", sorted(served & {*OPERATOR, *EPISODE_CALLS, topics.RECOVER}))
    performed = {name for node in graph.nodes for name in (endpoints_of(node) or Endpoints()).performs}
    _rules(profile, "action", "call", sorted(performed & {topics.RUN_POLICY}))


def _drivers_profile(enclaves: ET.Element) -> None:
    profile = _profile(enclaves, DRIVERS, "drivers")
    _rules(profile, "topic", "publish", _COMMANDS, "DENY")
    _rules(profile, "topic", "publish", ("*",))
    _rules(profile, "topic", "subscribe", ("*",))
    _rules(profile, "service", "reply", ("*",))
    _rules(profile, "service", "request", ("/controller_manager/*",))
    _rules(profile, "action", "execute", ("*",))


def _profile(enclaves: ET.Element, path: str, node: str) -> ET.Element:
    element = ET.SubElement(ET.SubElement(enclaves, "enclave", path=path), "profiles")
    return ET.SubElement(element, "profile", ns="/", node=node)


def _rules(profile: ET.Element, kind: str, verb: str, names: Iterable[str], rule: str = "ALLOW") -> None:
    """Add a group such as `<topics publish="ALLOW">`; nothing for no names."""
    wanted = sorted(set(names))
    if wanted:
        group = ET.SubElement(profile, f"{kind}s", {verb: rule})
        for name in wanted:
            ET.SubElement(group, kind).text = name
