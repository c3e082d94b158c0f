# SPDX-License-Identifier: Apache-2.0
"""The generated access control: allows what the nodes of a running graph do, and nothing that they do not."""

import os
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from physgen_bringup.endpoints import TABLE, Endpoints
from physgen_bringup.graph import build_graph
from physgen_bringup.launch_arguments import parse_arguments
from physgen_bringup.runner import LocalRunner, PrivateDomain
from physgen_bringup.sros2_policy import DRIVERS, OPERATOR_ENCLAVE, policy_xml

EVERY_NODE_HAS = {"/rosout", "/parameter_events", "/clock"}
INSIDE = {"fake_joint_trajectory_controller": "fake_franka_node"}
"""Nodes that live in the process of another one and use its enclave."""

NEEDS_PACKAGES = {
    "controller_node": {"/franka_robot_state_broadcaster/robot_state", *TABLE["controller_node"].calls},
    "fake_franka_node": {
        "/franka_robot_state_broadcaster/robot_state",
        "/physgen_arm_controller/controller_state",
        "/franka_gripper/stop",
        *TABLE["controller_node"].calls,
    },
    "motion_monitor_node": {"/controller_manager/switch_controller"},
}
"""Endpoints whose types (franka_msgs, control_msgs, controller_manager_msgs) a pip installation does not have."""

GRAPHS = {
    "fake arm": "sim:=fake task:=FrankaPick-v0 policy:=expert record:=true",
    "fake world": "sim:=fake policy:=expert record:=true",
    "learned policy": "sim:=maniskill task:=PushCube-v1 policy:=physgen",
    "joy": "sim:=fake policy:=none teleop:=joy",
    "spacemouse": "sim:=fake policy:=none teleop:=spacemouse",
    "gello": "sim:=fake task:=FrankaPick-v0 policy:=none teleop:=gello",
    "script": "sim:=fake policy:=none teleop:=script",
}


def graph_of(words, folder):
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


def live_endpoints(node, owner, names):
    """What the nodes of one process do, seen from another process."""
    found = dict.fromkeys(("publishes", "subscribes", "serves", "calls"), frozenset())
    asks = {
        "publishes": node.get_publisher_names_and_types_by_node,
        "subscribes": node.get_subscriber_names_and_types_by_node,
        "serves": node.get_service_names_and_types_by_node,
        "calls": node.get_client_names_and_types_by_node,
    }
    for name in names:
        for what, ask in asks.items():
            listed = {entry for entry, _ in ask(name, "/")} - EVERY_NODE_HAS
            found[what] |= {entry for entry in listed if not entry.startswith((f"/{owner}/", f"/{name}/"))}
    return found


@pytest.mark.ros
def test_nodes_do_what_the_table_says_and_nothing_else(tmp_path):
    """Each process' endpoints are in its row; over all graphs, each row is used."""
    rclpy = pytest.importorskip("rclpy")
    used = {}
    for label, words in GRAPHS.items():
        graph = graph_of(words, tmp_path / label.replace(" ", "_"))
        nodes = tuple(
            replace(node, required=False)
            for node in graph.nodes
            if node.name != "episode_runner_node" or label == "fake arm"
        )
        with PrivateDomain() as domain:
            context = rclpy.Context()
            rclpy.init(context=context, domain_id=domain)
            watcher = rclpy.create_node("watcher", context=context)
            runner = LocalRunner(
                replace(graph, nodes=nodes, ends_with=None), domain_id=domain, console=lambda _: None
            )
            try:
                runner.start()
                for owner in (node.name for node in nodes):
                    inside = [owner, *(name for name, of in INSIDE.items() if of == owner)]
                    _compare(watcher, owner, inside, used)
            finally:
                runner.stop()
                watcher.destroy_node()
                context.try_shutdown()
    for owner, what in used.items():
        row = _row(TABLE[owner])
        unused = (
            {entry for names in row.values() for entry in names} - what - NEEDS_PACKAGES.get(owner, set())
        )
        assert not unused, f"{owner}: the table allows what no graph uses: {sorted(unused)}"


def _row(endpoints: Endpoints):
    return {what: set(getattr(endpoints, what)) for what in ("publishes", "subscribes", "serves", "calls")}


def _compare(watcher, owner, inside, used):
    """Wait until the endpoints of a process stop growing, then compare them with the table."""
    import time

    row, before, same = _row(TABLE[owner]), None, 0
    deadline = time.monotonic() + 90.0
    while same < 8:
        time.sleep(0.25)
        try:
            live = live_endpoints(watcher, owner, [n for n in inside if n in watcher.get_node_names()])
        except Exception:  # the node was listed a moment ago and is not any more
            live = None
        same = same + 1 if live and live == before and any(live.values()) else 0
        before = live
        assert time.monotonic() < deadline, f"{owner} does not settle: {live}"
    for what, names in live.items():
        assert names <= row[what], f"{owner} {what} what the table lacks: {sorted(names - row[what])}"
        used.setdefault(owner, set()).update(names)


def test_the_command_writes_a_file(tmp_path, capsys):
    from physgen_bringup.commands import sros2_policy

    target = tmp_path / "policy.xml"
    assert sros2_policy.main(["sim:=fake", "policy:=expert", "-o", str(target)]) == 0
    assert "/physgen/controller_node" in target.read_text()
    assert sros2_policy.main(["sim:=fake", "policy:=expert"]) == 0
    assert target.read_text() in capsys.readouterr().out
    assert os.listdir(tmp_path) == ["policy.xml"]
