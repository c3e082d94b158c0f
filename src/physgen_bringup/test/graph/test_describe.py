# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
from dataclasses import fields, replace

import pytest
import yaml

from physgen_bringup.graph.arguments import parse_arguments
from physgen_bringup.graph.describe import build_graph
from physgen_bringup.graph.real_arm import SPAWNER
from physgen_bringup.graph.spec import Graph, parameter_files
from physgen_bringup.paths import share_folder
from physgen_policy.contract.embodiment import Embodiment
from physgen_policy.contract.embodiment_check import GraphDescription, find_mismatches
from physgen_policy.published.checkpoint import NO_ROBOT


def graph_of(*words: str) -> Graph:
    return build_graph(parse_arguments(words))


@pytest.mark.parametrize("sim", ["maniskill", "libero", "fake"])
def test_a_simulated_graph_has_one_node_per_duty(sim):
    graph = graph_of(f"sim:={sim}", "policy:=expert")
    assert [node.name for node in graph.nodes] == [
        "bridge_node",
        "controller_node",
        "expert_node",
        "episode_runner_node",
    ]
    assert graph.includes == ()
    assert graph.ends_with == "episode_runner_node"
    assert all(node.required for node in graph.nodes)


def test_a_recorder_starts_before_the_policy_and_so_stops_after_it():
    names = [node.name for node in graph_of("sim:=fake", "policy:=expert", "record:=true").nodes]
    assert names.index("recorder_node") < names.index("expert_node")
    assert "recorder_node" not in [node.name for node in graph_of("sim:=fake", "policy:=expert").nodes]


@pytest.mark.parametrize(
    ("policy", "name"), [("physgen", "policy_node"), ("expert", "expert_node"), ("replay", "replay_node")]
)
def test_the_policy_side_follows_the_argument(policy, name, tmp_path):
    words = ["sim:=fake", f"policy:={policy}"] + ([f"bag_dir:={tmp_path}"] if policy == "replay" else [])
    nodes = {node.name: node for node in graph_of(*words).nodes}
    assert name in nodes
    assert nodes[name].parameters.get("autostart", False) == (policy == "physgen")


def test_only_the_clock_and_wall_time_nodes_do_not_follow_simulated_time():
    graph = graph_of("sim:=fake", "policy:=expert", "record:=true")
    wall = {node.name for node in graph.nodes if not node.parameters["use_sim_time"]}
    assert wall == {"bridge_node", "episode_runner_node"}


@pytest.mark.parametrize(("pace", "pacing"), [("lockstep", "state"), ("realtime", "timer")])
def test_the_controller_ticks_with_the_world_in_lockstep_only(pace, pacing):
    controller = graph_of("sim:=fake", "policy:=expert", f"pace:={pace}").node("controller_node")
    assert controller.parameters["pacing"] == pacing
    assert controller.parameters["arm_interface"] == "applied_action"


@pytest.mark.parametrize("device", ["keyboard", "spacemouse", "gello", "joy", "script"])
def test_a_person_alone_is_a_graph_without_policy_and_episode_runner(device):
    graph = graph_of("sim:=fake", "task:=FrankaPick-v0", "policy:=none", f"teleop:={device}", "record:=true")
    name = f"{device}_teleop_node"
    assert [node.name for node in graph.nodes] == [
        "fake_franka_node",
        "motion_monitor_node",
        "controller_node",
        "recorder_node",
        name,
    ]
    assert graph.node("controller_node").parameters["require_publisher"] is False
    assert graph.node(name).parameters["episode_buttons"] is True
    # Only the keyboard needs the terminal, and leaving it ends the graph.
    assert graph.node(name).terminal == (device == "keyboard")
    assert graph.ends_with == (name if device in ("keyboard", "script") else None)


def test_beside_a_policy_a_device_takes_over_and_starts_no_episodes():
    graph = graph_of("sim:=maniskill", "policy:=expert", "teleop:=joy", "teleop_device:=/dev/input/js0")
    node = graph.node("joy_teleop_node")
    assert node.parameters["episode_buttons"] is False
    assert node.parameters["device"] == "/dev/input/js0"
    assert node.parameters["use_sim_time"] is True  # its stamps go into the bag beside the world's
    assert graph.node("bridge_node").parameters["pace"] == "realtime"
    assert graph.node("controller_node").parameters["require_publisher"] is True
    assert graph.ends_with == "episode_runner_node"


def test_on_the_real_arm_the_operator_starts_episodes_with_an_instruction():
    graph = real("policy:=none", "teleop:=gello", "record:=true", "instruction:=pick up the cube")
    node = graph.node("gello_teleop_node")
    assert node.parameters["instruction"] == "pick up the cube"
    assert node.parameters["episode_buttons"] is True
    assert node.starts_after == SPAWNER
    assert "policy_node" not in [node.name for node in graph.nodes]
    assert real("teleop:=joy").node("joy_teleop_node").parameters["episode_buttons"] is True


def real(*words: str) -> Graph:
    return graph_of(
        "sim:=none",
        "robot_ip:=172.16.0.2",
        "fixed_camera_serial:=111",
        "wrist_camera_serial:=222",
        *words,
    )


def test_the_real_arm_is_composed_of_the_drivers_launch_files():
    graph = real()
    includes = {(include.package, include.path): include for include in graph.includes}
    assert set(includes) == {
        ("franka_bringup", "launch/franka.launch.py"),
        ("realsense2_camera", "launch/rs_launch.py"),
    }
    franka = includes["franka_bringup", "launch/franka.launch.py"].arguments
    assert franka["robot_ip"] == "172.16.0.2"
    assert franka["robot_type"] == "fr3"
    assert franka["controllers_yaml"].endswith("ros2_control_fr3.yaml")
    cameras = [include.arguments for include in graph.includes if include.package == "realsense2_camera"]
    # The underscore keeps the serial number a string; names make /camera/fixed/color/image_raw.
    assert [(c["camera_namespace"], c["camera_name"], c["serial_no"]) for c in cameras] == [
        ("camera", "fixed", "_111"),
        ("camera", "wrist", "_222"),
    ]
    assert {c["rgb_camera.color_profile"] for c in cameras} == {"640x480x30"}


def test_the_real_arm_never_moves_by_default():
    controller = real().node("controller_node")
    assert controller.parameters["mode"] == "shadow"
    assert controller.parameters["auto_arm"] is False
    assert controller.parameters["arm_interface"] == "joint_trajectory"
    assert controller.parameters["pacing"] == "timer"
    assert controller.parameters["use_sim_time"] is False
    assert real("mode:=armed").node("controller_node").parameters["mode"] == "armed"


def test_the_real_graph_has_no_simulated_world_and_runs_until_stopped():
    graph = real("record:=true")
    names = [node.name for node in graph.nodes]
    assert "bridge_node" not in names
    assert "episode_runner_node" not in names
    assert {"controller_node", "policy_node", "recorder_node", "physgen_arm_controller_spawner"} <= set(names)
    assert graph.ends_with is None


def test_fake_hardware_gets_position_commands():
    graph = graph_of("sim:=none", "use_fake_hardware:=true")
    assert graph.includes[0].arguments["controllers_yaml"].endswith("ros2_control_fake.yaml")


def test_ros2_control_configurations_fit_the_hardware():
    """Position commands cause reflex stops on a real arm; mock hardware moves on nothing else."""
    folder = share_folder() / "config"
    for name, interface in (("fr3", "effort"), ("fake", "position")):
        values = yaml.safe_load((folder / f"ros2_control_{name}.yaml").read_text())
        arm = values["physgen_arm_controller"]["ros__parameters"]
        assert arm["command_interfaces"] == [interface]
        assert arm["joints"] == [f"fr3_joint{i}" for i in range(1, 8)]


def test_extrinsics_are_unit_quaternions_in_known_frames():
    transforms = [node for node in real().nodes if node.package == "tf2_ros"]
    assert len(transforms) == 2
    for node in transforms:
        flags = dict(zip(node.arguments[::2], node.arguments[1::2], strict=True))
        assert sum(float(flags[f"--q{axis}"]) ** 2 for axis in "xyzw") == pytest.approx(1.0, abs=1e-5)
        assert flags["--frame-id"] in {"base", "fr3_hand"}


def test_missing_camera_serials_are_noted():
    assert any("serial" in note for note in graph_of("sim:=none", "robot_ip:=1.2.3.4").notes)
    assert not any("serial" in note for note in real().notes)


def test_the_user_is_told_how_motion_starts():
    assert any("SHADOW" in note and "set_armed" in note for note in real().notes)
    assert any("user stop" in note for note in real("mode:=armed").notes)


def test_what_commands_the_arm_waits_for_its_controller():
    graph = real("record:=true")
    assert [node.name for node in graph.nodes if node.starts_after == SPAWNER] == [
        "motion_monitor_node",
        "controller_node",
        "recorder_node",
        "policy_node",
    ]


def test_a_calibration_file_replaces_the_nominal_transforms(tmp_path):
    path = tmp_path / "mine.yaml"
    values = yaml.safe_load((share_folder() / "config" / "camera_extrinsics.yaml").read_text())
    values["fixed_camera"]["translation"] = [1.25, -0.1, 0.4]
    path.write_text(yaml.safe_dump(values))
    [fixed, _] = [node for node in real(f"calibration_file:={path}").nodes if node.package == "tf2_ros"]
    flags = dict(zip(fixed.arguments[::2], fixed.arguments[1::2], strict=True))
    assert [float(flags[f"--{axis}"]) for axis in "xyz"] == [1.25, -0.1, 0.4]


def test_the_fake_franka_is_driven_as_the_real_arm(tmp_path):
    graph = graph_of("sim:=fake", "task:=FrankaPick-v0", "policy:=expert", "record:=true")
    assert [node.name for node in graph.nodes] == [
        "fake_franka_node",
        "motion_monitor_node",
        "controller_node",
        "recorder_node",
        "expert_node",
        "episode_runner_node",
    ]
    controller = graph.node("controller_node")
    assert controller.parameters["arm_interface"] == "joint_trajectory"
    assert controller.parameters["robot_type"] == "fr3"
    assert [path.name for path in controller.default_files] == ["controller_fr3.yaml"]
    # It runs by itself: no node follows a simulated clock.
    assert not any(node.parameters["use_sim_time"] for node in graph.nodes)


def test_an_arm_has_a_second_look_at_its_motion_and_does_not_go_on_without():
    for graph in (real(), graph_of("sim:=fake", "task:=FrankaPick-v0", "policy:=expert")):
        monitor = graph.node("motion_monitor_node")
        assert monitor.required
        assert monitor.parameters["robot_type"] == "fr3"
        assert monitor.parameters["use_sim_time"] is False
        # It stops after the controller, whose silence in motion it would not forgive.
        names = [node.name for node in graph.nodes]
        assert names.index("motion_monitor_node") < names.index("controller_node")
    for graph in (real("motion_monitor:=false"), graph_of("sim:=fake", "policy:=expert")):
        assert "motion_monitor_node" not in [node.name for node in graph.nodes]


def test_parameters_are_written_between_defaults_and_overrides(tmp_path):
    user = tmp_path / "mine.yaml"
    user.write_text("{}")
    node = graph_of("sim:=fake", "policy:=expert", f"params_file:={user}").node("controller_node")
    files = parameter_files(node, tmp_path / "own.yaml")
    assert [path.name for path in files] == ["controller_sim.yaml", "own.yaml", "mine.yaml"]
    values = yaml.safe_load((tmp_path / "own.yaml").read_text())
    assert values["controller_node"]["ros__parameters"]["pacing"] == "state"


def test_local_modules_exist_for_every_simulated_node(tmp_path):
    graphs = [
        graph_of("sim:=fake", f"policy:={policy}", f"bag_dir:={tmp_path}", f"record:={record}")
        for policy, record in (("physgen", "true"), ("expert", "true"), ("replay", "false"))
    ]
    modules = {node.module for graph in graphs for node in graph.nodes}
    assert [module for module in modules if importlib.util.find_spec(str(module)) is None] == []


def test_every_parameter_is_one_that_its_node_declares(tmp_path):
    pytest.importorskip("rclpy")
    from physgen_bringup.nodes.episode_runner_node import EpisodeRunnerConfig
    from physgen_control.controller_config import ControllerConfig
    from physgen_control.monitor.config import MotionMonitorConfig
    from physgen_policy.nodes.policy_parameters import PolicyNodeConfig

    configs = {
        "episode_runner_node": EpisodeRunnerConfig,
        "policy_node": PolicyNodeConfig,
        "controller_node": ControllerConfig,
        "motion_monitor_node": MotionMonitorConfig,
    }
    graph = graph_of("sim:=fake", "task:=FrankaPick-v0", "policy:=physgen", "record:=true")
    for name, config in configs.items():
        known = {entry.name for entry in fields(config)} | {"use_sim_time"}
        assert set(graph.node(name).parameters) <= known


def test_graphs_are_plain_values():
    arguments = parse_arguments(["sim:=fake", "policy:=expert", "output_dir:=runs/a"])
    assert build_graph(arguments) == build_graph(replace(arguments))


SHIPPED = sorted((share_folder().parent / "physgen_policy" / "checkpoints").glob("*/embodiment.json"))


def complaints(graph: Graph, embodiment: Embodiment) -> list[str]:
    """What the policy node of a graph says about a checkpoint, from the parameters that it is started with."""
    parameters = graph.node("policy_node").parameters
    description = GraphDescription(
        control_period=0.05,
        task=str(parameters["task"]),
        robot=str(parameters["robot"]),
        image_height=480,
        image_width=640,
    )
    return find_mismatches(embodiment, description)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_checkpoint_runs_in_its_simulator_and_not_on_the_real_arm(path):
    embodiment = Embodiment.from_json(json.loads(path.read_text()))
    for task in embodiment.tasks:
        sim = "libero" if "/" in task else "maniskill"
        assert complaints(graph_of(f"sim:={sim}", f"task:={task}", "policy:=physgen"), embodiment) == []
    robot, task = complaints(real(), embodiment)
    assert "'panda'" in robot and "'fr3'" in robot
    assert "the graph runs real (task:=NAME says which)" in task


@pytest.mark.parametrize(
    ("words", "robot"),
    [
        (["sim:=fake"], "panda"),
        (["sim:=fake", "task:=FrankaPick-v0"], "fr3"),
        (["sim:=none", "robot_ip:=172.16.0.2"], "fr3"),
        (["sim:=none", "use_fake_hardware:=true"], "fr3"),
    ],
)
def test_every_graph_refuses_a_checkpoint_of_another_or_of_no_robot(words, robot):
    graph = graph_of(*words, "policy:=physgen")
    tasks = (str(graph.node("policy_node").parameters["task"]),)
    assert tasks != ("",)
    assert complaints(graph, Embodiment(robot=robot, tasks=tasks)) == []
    assert len(complaints(graph, Embodiment(robot="fr3" if robot == "panda" else "panda", tasks=tasks))) == 1
    for untrained in (NO_ROBOT, ""):
        [sentence] = complaints(graph, Embodiment(robot=untrained, tasks=tasks))
        assert "never trained" in sentence
    for others in ((), ("another",)):
        [sentence] = complaints(graph, Embodiment(robot=robot, tasks=others))
        assert tasks[0] in sentence
