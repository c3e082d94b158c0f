# SPDX-License-Identifier: Apache-2.0
"""The generated access control: allows what the nodes of a running graph do, and nothing that they do not."""

import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.domain import PrivateDomain
from physgen_bringup.graph.endpoints import TABLE, Endpoints
from physgen_bringup.graph.spec import Graph
from physgen_bringup.graph.sros2_policy import DRIVERS, OPERATOR_ENCLAVE, policy_xml
from physgen_bringup.processes.runner import LocalRunner
from physgen_control.messages import topics

EVERY_NODE_HAS = {"/rosout", "/parameter_events"}
INSIDE = {"fake_joint_trajectory_controller": "fake_franka_node"}
"""Nodes that live in the process of another one and use its enclave."""

ABSENT = {
    "recorder_node": {
        "/tf_static",
        *(topics.PREDICTED_IMAGE, topics.PREDICTION_ERROR),
        *(f"/camera/{camera}/color/image_raw/compressed" for camera in ("fixed", "wrist")),
    },
    "controller_node": {"/franka_robot_state_broadcaster/robot_state", *TABLE["controller_node"].calls},
    "fake_franka_node": {
        "/franka_robot_state_broadcaster/robot_state",
        "/physgen_arm_controller/controller_state",
        "/franka_gripper/stop",
        *TABLE["controller_node"].calls,
    },
    "motion_monitor_node": {"/controller_manager/switch_controller"},
    "policy_node": {topics.JOINT_STATES, topics.CURRENT_POSE},
}
"""Endpoints whose types (franka_msgs, control_msgs, tf2_msgs) a pip installation lacks, or that a parameter adds; the
policy node reads the arm's state for a policy of somebody's own that asks for it."""

GRAPHS = {
    "fake arm": "sim:=fake task:=FrankaPick-v0 policy:=expert record:=true episodes:=500",
    "fake world": "sim:=fake policy:=expert",
    "learned policy": "sim:=maniskill task:=PushCube-v1 policy:=physgen",
    "joy": "sim:=fake policy:=none teleop:=joy",
    "spacemouse": "sim:=fake policy:=none teleop:=spacemouse",
    "gello": "sim:=fake task:=FrankaPick-v0 policy:=none teleop:=gello",
    "script": "sim:=fake policy:=none teleop:=script episodes:=500",
}
ALONE = {
    "learned policy": "policy_node",
    "joy": "joy_teleop_node",
    "spacemouse": "spacemouse_teleop_node",
    "gello": "gello_teleop_node",
    "script": "script_teleop_node",
}
"""Of these graphs only one node is started, beside the fake world."""


def graph_of(words: str, folder: Path) -> Graph:
    return build_graph(parse_arguments([*words.split(), f"output_dir:={folder}"]))


def rules(text, enclave):
    """{(kind, verb, rule): names} of one enclave."""
    profile = ET.fromstring(text).find(f"./enclaves/enclave[@path='{enclave}']/profiles/profile")
    assert profile is not None, enclave
    return {
        (group.tag, *next(iter(group.attrib.items()))): {entry.text for entry in group} for group in profile
    }


def test_the_policy_of_a_graph_names_every_node(tmp_path):
    graph = graph_of(GRAPHS["fake arm"], tmp_path)
    text = policy_xml(graph)
    for node in graph.nodes:
        found = rules(text, f"/physgen/{node.name}")
        assert set(TABLE[node.name].publishes) <= found["topics", "publish", "ALLOW"]
    assert rules(text, OPERATOR_ENCLAVE)["services", "request", "ALLOW"] >= {
        "/physgen/hold",
        "/physgen/set_armed",
    }
    with pytest.raises(AssertionError):
        rules(text, DRIVERS)  # no node of another package runs here


def test_only_the_policy_may_publish_chunks(tmp_path):
    text = policy_xml(graph_of(GRAPHS["learned policy"], tmp_path))
    writers = [
        entry.get("path")
        for entry in ET.fromstring(text).iter("enclave")
        if "/physgen/action_chunk" in rules(text, entry.get("path")).get(("topics", "publish", "ALLOW"), ())
    ]
    assert writers == ["/physgen/policy_node"]


def test_drivers_of_the_real_arm_may_not_command(tmp_path):
    text = policy_xml(graph_of("sim:=none policy:=expert robot_ip:=192.0.2.1", tmp_path))
    found = rules(text, DRIVERS)
    assert "/physgen/*" in found["topics", "publish", "DENY"]
    assert "/physgen/hold" not in found["services", "request", "ALLOW"]


def test_a_node_that_the_table_lacks_is_an_error(tmp_path):
    graph = graph_of(GRAPHS["fake arm"], tmp_path)
    strange = replace(graph.nodes[0], name="strange_node")
    with pytest.raises(KeyError, match="strange_node"):
        policy_xml(replace(graph, nodes=(strange,)))


def live_endpoints(node: Any, owner: str, names: Sequence[str]) -> dict[str, frozenset[Any]]:
    """What the nodes of one process do, seen from another process."""
    found: dict[str, frozenset[Any]] = dict.fromkeys(
        ("publishes", "subscribes", "serves", "calls"), frozenset()
    )
    asks = {
        "publishes": node.get_publisher_names_and_types_by_node,
        "subscribes": node.get_subscriber_names_and_types_by_node,
        "serves": node.get_service_names_and_types_by_node,
        "calls": node.get_client_names_and_types_by_node,
    }
    for name in names:
        for what, ask in asks.items():
            listed = {entry for entry, _ in ask(name, "/")} - EVERY_NODE_HAS
            if what == "subscribes":
                listed -= {"/clock"}
            own = {entry for entry in listed if entry.startswith((f"/{owner}/", f"/{name}/"))}
            found[what] |= listed - own
            found["own"] = found.get("own", frozenset()) | {(what, entry) for entry in own}
    return found


@pytest.mark.ros
def test_nodes_do_what_the_table_says_and_nothing_else(tmp_path):
    """Each process' endpoints are in its row; over all graphs, each row is used."""
    used: dict[str, set[Any]] = {}
    arm = graph_of(GRAPHS["fake arm"], tmp_path / "arm")
    world = graph_of(GRAPHS["fake world"], tmp_path / "world")
    alone = [graph_of(GRAPHS[label], tmp_path / label).node(name) for label, name in ALONE.items()]
    for graph, nodes in (
        (arm, arm.nodes),
        (world, [node for node in world.nodes if node.name != "episode_runner_node"] + alone),
    ):
        nodes = tuple(replace(node, required=False) for node in nodes)
        _watch(replace(graph, nodes=nodes, ends_with=None), used)
    for owner, what in used.items():
        row = _row(TABLE[owner])
        unused = {entry for names in row.values() for entry in names} - what - ABSENT.get(owner, set())
        assert not unused, f"{owner}: the table allows what no graph uses: {sorted(unused)}"


def _watch(graph: Graph, used: dict[str, set[Any]]) -> None:
    """Compare every process of a running graph with its row, and collect what they use."""
    rclpy = pytest.importorskip("rclpy")
    with PrivateDomain() as domain:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain)
        watcher = rclpy.create_node("watcher", context=context)
        runner = LocalRunner(graph, domain_id=domain, console=lambda _: None)
        try:
            runner.start()
            text = policy_xml(graph)
            for owner, live in _settled(watcher, [node.name for node in graph.nodes]).items():
                row = _row(TABLE[owner])
                allowed = rules(text, f"/physgen/{owner}")
                own = {
                    "serves": allowed["services", "reply", "ALLOW"],
                    "publishes": allowed["topics", "publish", "ALLOW"],
                }
                refused = [
                    name
                    for what, name in live.pop("own")
                    if not any(fnmatch(name, rule) for rule in own[what])
                ]
                assert not refused, f"{owner} could not start: its policy lacks {sorted(refused)}"
                for what, names in live.items():
                    assert names <= row[what], (
                        f"{owner} {what} what the table lacks: {sorted(names - row[what])}"
                    )
                    used.setdefault(owner, set()).update(names)
        finally:
            runner.stop()
            watcher.destroy_node()
            context.try_shutdown()


def _row(endpoints: Endpoints) -> dict[str, set[str]]:
    return {what: set(getattr(endpoints, what)) for what in ("publishes", "subscribes", "serves", "calls")}


def _settled(watcher: Any, owners: Sequence[str]) -> dict[str, dict[str, frozenset[Any]]]:
    """{process: endpoints}, once all are there and have stopped to grow for two seconds."""
    from rclpy.node import NodeNameNonExistentError

    before, same = None, 0
    deadline = time.monotonic() + 120.0
    while same < 8:
        time.sleep(0.25)
        names = set(watcher.get_node_names())
        live = {}
        for owner in owners:
            inside = [owner, *(name for name, of in INSIDE.items() if of == owner)]
            try:
                live[owner] = live_endpoints(watcher, owner, [name for name in inside if name in names])
            except NodeNameNonExistentError:  # it was listed a moment ago and is not any more
                live[owner] = {"nothing": frozenset()}
        there = all(any(found.values()) for found in live.values())
        # A policy connects when its weights are loaded.
        there = there and all(
            name != "policy_node" or "/physgen/set_instruction" in found["serves"]
            for name, found in live.items()
        )
        same = same + 1 if there and live == before else 0
        before = live
        missing = [owner for owner, found in live.items() if not any(found.values())]
        assert time.monotonic() < deadline, f"the graph does not settle; nothing is seen of {missing}"
    assert before is not None
    return before


def test_the_command_writes_a_file(tmp_path, capsys):
    from physgen_bringup.commands import sros2_policy

    target = tmp_path / "policy.xml"
    assert sros2_policy.main(["sim:=fake", "policy:=expert", "-o", str(target)]) == 0
    assert "/physgen/controller_node" in target.read_text()
    assert sros2_policy.main(["sim:=fake", "policy:=expert"]) == 0
    assert target.read_text() in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["policy.xml"]
