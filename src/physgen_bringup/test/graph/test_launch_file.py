# SPDX-License-Identifier: Apache-2.0
"""franka.launch.py under the real launch and launch_ros, for every combination of arguments.

The drivers' own launch files are checked against ours where their packages are installed.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from physgen_bringup.graph.spec import Graph

pytest.importorskip("launch_ros", reason="launch_ros is not on the pip runtime")

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    GroupAction,
    IncludeLaunchDescription,
    RegisterEventHandler,
)
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.utilities import perform_substitutions
from launch_ros.actions import Node

from launch import LaunchContext
from physgen_bringup.graph.arguments import ARGUMENTS, arguments_from
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.real_arm import SPAWNER
from physgen_bringup.paths import share_folder
from physgen_bringup.processes.runner import node_command
from physgen_control.errors import UserError

# Values that change what is started; texts and numbers only travel through.
VALUES = {
    "sim": ("maniskill", "fake", "none"),
    "task": ("", "FakePush-v0", "FrankaPick-v0"),
    "policy": ("expert", "replay", "none"),
    "pace": ("", "lockstep", "realtime"),
    "execution": ("sync", "pipelined"),
    "mode": ("", "armed", "shadow"),
    "record": ("false", "true"),
    "teleop": ("none", "keyboard", "spacemouse", "gello", "joy", "script"),
}
REAL_VALUES = {
    "mode": ("", "armed", "shadow"),
    "execution": ("sync", "pipelined"),
    "record": ("false", "true"),
    "robot_ip": ("", "172.16.0.2"),
    "load_gripper": ("true", "false"),
    "use_fake_hardware": ("false", "true"),
    "fixed_camera_serial": ("", "831612073525"),
    "wrist_camera_serial": ("", "_831612073526"),
    "camera_profile": ("640x480x30", "848x480x60"),
    "rviz": ("false", "true"),
}
LIBERO_VALUES = {
    "sim": ("libero",),
    "task": ("", "libero_object/3", "libero_goal/9", "PushCube-v1"),
    "policy": ("expert", "replay", "none"),
    "pace": ("", "lockstep", "realtime"),
    "record": ("false", "true"),
    "teleop": ("none", "keyboard", "spacemouse", "gello", "joy", "script"),
    "max_steps": ("0", "50"),
}
TELEOP_VALUES = {
    "policy": ("replay", "none"),
    "teleop": ("none", "keyboard", "spacemouse", "gello", "joy"),
    "teleop_device": ("", "pyspacemouse", "/dev/input/js0"),
    "instruction": ("", "pick up the cube"),
    "record": ("false", "true"),
    "mode": ("", "armed"),
    "viewer": ("none", "rerun"),
    "robot_ip": ("172.16.0.2",),
    "fixed_camera_serial": ("1",),
    "wrist_camera_serial": ("2",),
}


@pytest.fixture(scope="module")
def launch_file():
    path = share_folder() / "launch" / "franka.launch.py"
    spec = importlib.util.spec_from_file_location("franka_launch", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def shares(monkeypatch, launch_file, tmp_path):
    """Share folders of the drivers, also where they are not installed: only paths matter here."""

    def find(package):
        try:
            return get_package_share_directory(package)
        except PackageNotFoundError:
            return str(tmp_path / package)

    monkeypatch.setattr(launch_file, "get_package_share_directory", find)


@pytest.fixture
def on_ros(monkeypatch):
    """The drivers count as installed."""
    monkeypatch.setattr("physgen_bringup.graph.checks.has_ros", lambda: True)


def combinations(values: dict[str, Any]) -> Iterator[dict[str, str]]:
    for chosen in itertools.product(*values.values()):
        yield dict(zip(values, chosen, strict=True))


def load(launch_file: Any, given: dict[str, str]) -> tuple[Any, Graph]:
    """Actions of the launch file for these arguments, and the graph they describe; UserError when refused."""
    context = LaunchContext()
    context.launch_configurations.update(given)
    actions = launch_file._actions(context)
    return actions, build_graph(check_arguments(arguments_from(dict(given))))


def exited(returncode: int) -> Any:
    """The event that a process has ended."""
    details: dict[str, Any] = {"cmd": [], "cwd": None, "env": None, "pid": 1}
    return ProcessExited(action=None, name=SPAWNER, returncode=returncode, **details)


def later_entities(action: Any, returncode: int = 0) -> list[Any]:
    """What an exit handler does when its process has ended."""
    return list(action.event_handler.handle(exited(returncode), LaunchContext()) or [])


def all_nodes(actions):
    """Nodes that an accepted graph starts, at once or later."""
    nodes = [action for action in actions if isinstance(action, Node)]
    for action in actions:
        if isinstance(action, RegisterEventHandler):
            nodes += [entity for entity in later_entities(action) if isinstance(entity, Node)]
    return nodes


def executables(nodes):
    return [(node.node_package, node.node_executable) for node in nodes]


def check(launch_file, given, output):
    """The sentence of a refusal, or an empty text when the right nodes and includes start."""
    given = {**given, "output_dir": str(output), "bag_dir": str(output)}
    try:
        actions, graph = load(launch_file, given)
    except UserError as error:
        return str(error)
    assert sorted(executables(all_nodes(actions))) == sorted(
        (node.package, node.executable) for node in graph.nodes
    )
    includes = [action for action in actions if isinstance(action, GroupAction)]
    assert len(includes) == len(graph.includes)
    return ""


def assert_all_load_or_say_why(sentences):
    assert "" in sentences
    refusals = {sentence for sentence in sentences if sentence}
    assert refusals and not any("\n" in sentence for sentence in refusals)


def test_the_description_declares_the_table(launch_file):
    description = launch_file.generate_launch_description()
    declared = [entity for entity in description.entities if isinstance(entity, DeclareLaunchArgument)]
    assert [argument.name for argument in declared] == [argument.name for argument in ARGUMENTS]


def test_every_combination_for_simulation_loads_or_says_why_not(launch_file, tmp_path):
    assert_all_load_or_say_why([check(launch_file, given, tmp_path) for given in combinations(VALUES)])


def test_every_combination_for_libero_loads_or_says_why_not(launch_file, tmp_path):
    from physgen_sim_bridge.libero.assets import find_assets

    try:
        find_assets()
    except UserError as error:
        pytest.skip(str(error))
    assert_all_load_or_say_why([check(launch_file, given, tmp_path) for given in combinations(LIBERO_VALUES)])


@pytest.mark.usefixtures("on_ros", "shares")
def test_every_combination_for_the_real_arm_loads_or_says_why_not(launch_file, tmp_path):
    assert_all_load_or_say_why(
        [
            check(launch_file, {"sim": "none", "policy": "replay", **given}, tmp_path)
            for given in combinations(REAL_VALUES)
        ]
    )


@pytest.mark.usefixtures("on_ros", "shares")
def test_every_way_to_teleoperate_the_real_arm_loads_or_says_why_not(launch_file, tmp_path):
    assert_all_load_or_say_why(
        [check(launch_file, {"sim": "none", **given}, tmp_path) for given in combinations(TELEOP_VALUES)]
    )


COMPLETE = {"robot_ip": "172.16.0.2", "fixed_camera_serial": "1", "wrist_camera_serial": "2"}
SAME_GRAPHS = {
    "stepped": {"sim": "maniskill", "policy": "expert", "record": "true", "seed": "3", "episodes": "2"},
    "fake": {"sim": "fake", "task": "FrankaPick-v0", "policy": "expert", "teleop": "joy", "record": "true"},
    "script": {"sim": "fake", "task": "FrankaPush-v0", "policy": "none", "teleop": "script"},
    "keyboard": {"sim": "fake", "policy": "none", "teleop": "keyboard", "operator": "ada", "max_steps": "7"},
    "real": {
        **COMPLETE,
        "sim": "none",
        "policy": "replay",
        "teleop": "gello",
        "mode": "armed",
        "rviz": "true",
    },
    "people": {
        **COMPLETE,
        "sim": "none",
        "policy": "none",
        "teleop": "spacemouse",
        "teleop_device": "pyspacemouse",
        "record": "true",
        "instruction": "open: the 'drawer'",
    },
    "mocked": {"sim": "none", "policy": "replay", "use_fake_hardware": "true"},
}


def read_command(words):
    """Arguments, name, remappings and the contents of the parameter files, in their order."""
    arguments, words = words[: words.index("--ros-args")], words[words.index("--ros-args") + 1 :]
    pairs = list(zip(words[::2], words[1::2], strict=True))
    assert {flag for flag, _ in pairs} <= {"-r", "--params-file"}
    files = [Path(value).read_text() for flag, value in pairs if flag == "--params-file"]
    return arguments, sorted(value for flag, value in pairs if flag == "-r"), files


def launched_command(node):
    """What launch_ros would execute, without the program."""
    context = LaunchContext()
    node._perform_substitutions(context)
    name = node.node_name.rpartition("/")[2]
    context.extend_locals({"ros_specific_arguments": {"name": f"__node:={name}"}})
    return name, read_command([perform_substitutions(context, word) for word in node.cmd[1:]])


@pytest.mark.usefixtures("on_ros", "shares")
@pytest.mark.parametrize("given", SAME_GRAPHS.values(), ids=SAME_GRAPHS)
def test_launch_executes_what_the_local_runner_executes(launch_file, given, tmp_path, monkeypatch):
    """Same processes, arguments, names, remappings and parameter values, whoever starts the graph."""
    monkeypatch.chdir(tmp_path)
    given = {**given, "output_dir": str(tmp_path), "bag_dir": str(tmp_path)}
    actions, graph = load(launch_file, given)
    launched = dict(launched_command(node) for node in all_nodes(actions))
    assert set(launched) == {spec.name for spec in graph.nodes}
    for spec in graph.nodes:
        # [python, -m, module, *what launch has after the program]
        assert launched[spec.name] == read_command(node_command(spec, tmp_path / "parameters")[3:])


@pytest.mark.usefixtures("on_ros", "shares")
def test_what_commands_the_arm_starts_after_the_spawner_and_not_when_it_failed(launch_file, tmp_path):
    given = {"sim": "none", "policy": "replay", "robot_ip": "172.16.0.2", "bag_dir": str(tmp_path)}
    actions, _ = load(launch_file, {**given, "output_dir": str(tmp_path)})
    at_once = executables(action for action in actions if isinstance(action, Node))
    assert ("controller_manager", "spawner") in at_once
    assert not any(package.startswith("physgen") for package, _ in at_once)
    [handler] = [
        action
        for action in actions
        if isinstance(action, RegisterEventHandler)
        and any(isinstance(entity, Node) for entity in later_entities(action))
    ]
    answers = later_entities(handler, returncode=1)
    assert not any(isinstance(answer, Node) for answer in answers)
    assert any(isinstance(answer, EmitEvent) and isinstance(answer.event, Shutdown) for answer in answers)


@pytest.mark.usefixtures("on_ros")
@pytest.mark.parametrize("package", ["franka_bringup", "realsense2_camera"])
def test_the_drivers_know_every_argument_that_they_are_given(launch_file, package, tmp_path):
    try:
        share = get_package_share_directory(package)
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    given = {
        "sim": "none",
        "policy": "replay",
        "robot_ip": "172.16.0.2",
        "fixed_camera_serial": "1",
        "wrist_camera_serial": "2",
        "bag_dir": str(tmp_path),
        "output_dir": str(tmp_path),
    }
    graph = build_graph(check_arguments(arguments_from(given)))
    includes = [include for include in graph.includes if include.package == package]
    assert includes
    for include in includes:
        source = PythonLaunchDescriptionSource(f"{share}/{include.path}")
        description = source.get_launch_description(LaunchContext())
        known = {argument.name for argument in description.get_launch_arguments()}
        assert set(include.arguments) <= known


@pytest.mark.usefixtures("on_ros", "shares")
def test_no_argument_of_ours_reaches_a_driver_unasked(launch_file, tmp_path):
    """A first camera's serial number must not become the second's, nor our mode a parameter of theirs."""
    given = {"sim": "none", "policy": "replay", "use_fake_hardware": "true", "fixed_camera_serial": "1"}
    context = LaunchContext()
    context.launch_configurations.update({**given, "bag_dir": str(tmp_path), "output_dir": str(tmp_path)})
    groups = [action for action in launch_file._actions(context) if isinstance(action, GroupAction)]
    seen = []
    for group in groups:
        for entity in group.execute(context):
            if isinstance(entity, IncludeLaunchDescription):
                seen.append((entity.launch_arguments, dict(context.launch_configurations)))
            else:
                entity.visit(context)
    assert len(seen) == 3
    for arguments, visible in seen:
        assert "mode" not in visible and "fixed_camera_serial" not in visible
        assert "serial_no" not in visible
        assert arguments
    assert context.launch_configurations["sim"] == "none"
