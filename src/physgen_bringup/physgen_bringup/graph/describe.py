# SPDX-License-Identifier: Apache-2.0
"""The one description of the graph: launch arguments in, nodes and includes as values out.

The launch file turns the values into launch_ros actions, the local runner into processes; neither adds
anything.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.calibration import Mounting, read_calibration
from physgen_bringup.graph.spec import Graph, IncludeSpec, NodeSpec, ParameterValue
from physgen_bringup.paths import config_file
from physgen_control.errors import UserError

ARM_CONTROLLER = "physgen_arm_controller"
SPAWNER = f"{ARM_CONTROLLER}_spawner"
_TELEOP_STEPS = 3000
"""Control steps of an episode that a person demonstrates in simulation, unless max_steps says otherwise."""


def build_graph(arguments: LaunchArguments) -> Graph:
    """Describe the graph for checked arguments (graph.checks.check_arguments)."""
    return _simulated_graph(arguments) if arguments.simulated else _real_graph(arguments)


def _world(arguments: LaunchArguments) -> NodeSpec:
    return _fake_franka(arguments) if arguments.fake_franka else _bridge(arguments)


def _simulated_graph(arguments: LaunchArguments) -> Graph:
    # Nodes stop in reverse order: first what commands, last the world; the recorder sees the policy's end.
    recorder = [_recorder(arguments)] if arguments.record else []
    ours = [*_monitors(arguments), _controller(arguments), *recorder]
    nodes = [_world(arguments), *ours, *_policies(arguments), *_teleop(arguments)]
    ends = arguments.teleop in ("keyboard", "script")
    ends_with: str | None = f"{arguments.teleop}_teleop_node" if ends else None
    if arguments.rollout:
        nodes.append(_rollout(arguments))
    elif arguments.policy != "none":  # else the person at the device starts episodes
        nodes.append(_episode_runner(arguments))
        ends_with = "episode_runner_node"
    return Graph(
        nodes=tuple(nodes),
        environment=_environment(),
        output_dir=arguments.output_dir,
        ends_with=ends_with,
    )


def _real_graph(arguments: LaunchArguments) -> Graph:
    recorder = [_recorder(arguments)] if arguments.record else []
    # The arm's controller first, then what commands it, last the policy, whose chunks need both.
    ours = [*_monitors(arguments), _controller(arguments), *recorder]
    ours += [*_policies(arguments), *_teleop(arguments)]
    ours += [_rollout(arguments)] if arguments.rollout else []
    ordered = [replace(node, starts_after=SPAWNER) for node in ours]
    rviz = [_rviz()] if arguments.rviz else []
    nodes = [_spawner(), *_static_transforms(arguments), *rviz, *ordered]
    notes = []
    who = "you" if arguments.policy == "none" else "the policy"
    if not arguments.use_fake_hardware:
        notes.append(
            "The arm is in SHADOW: nothing moves before you start with mode:=armed and call /physgen/set_armed."
            if arguments.mode == "shadow"
            else f"Call /physgen/set_armed to let {who} move the arm; keep the user stop in your hand."
        )
    if not (arguments.fixed_camera_serial and arguments.wrist_camera_serial):
        notes.append(
            "Camera serial numbers are missing: with two cameras connected, either may become the fixed "
            "one; set fixed_camera_serial and wrist_camera_serial."
        )
    return Graph(
        nodes=tuple(nodes),
        includes=(_franka(arguments), *_cameras(arguments)),
        environment=_environment(),
        output_dir=arguments.output_dir,
        ends_with=None,
        notes=tuple(notes),
    )


def _environment() -> dict[str, str]:
    # Both names: Fast DDS 2.x reads the first, 3.x the second.
    profile = str(config_file("fastdds.xml"))
    return {"FASTRTPS_DEFAULT_PROFILES_FILE": profile, "FASTDDS_DEFAULT_PROFILES_FILE": profile}


def _user_files(arguments: LaunchArguments) -> tuple[Path, ...]:
    return (Path(arguments.params_file).expanduser().resolve(),) if arguments.params_file else ()


def _bridge(arguments: LaunchArguments) -> NodeSpec:
    return NodeSpec(
        package="physgen_sim_bridge",
        executable="bridge_node",
        name="bridge_node",
        module="physgen_sim_bridge.nodes.bridge_node",
        # The bridge writes /clock, so it must not follow it.
        parameters={
            "use_sim_time": False,
            "sim": arguments.sim,
            "task": arguments.task,
            "pace": arguments.pace,
        },
        override_files=_user_files(arguments),
    )


def _fake_franka(arguments: LaunchArguments) -> NodeSpec:
    return NodeSpec(
        package="physgen_sim_bridge",
        executable="fake_franka_node",
        name="fake_franka_node",
        module="physgen_sim_bridge.nodes.fake_franka_node",
        parameters={
            "use_sim_time": False,
            "task": arguments.task,
            "seed": arguments.seed,
            "camera_profile": arguments.camera_profile,
        },
        override_files=_user_files(arguments),
    )


def _controller(arguments: LaunchArguments) -> NodeSpec:
    stepped = arguments.stepped
    # A busy machine makes the fake arm late, not unsafe.
    patience: dict[str, ParameterValue] = (
        {"max_state_age": 1.0, "max_observation_age": 10.0, "deadman_timeout": 0.5, "teleop_timeout": 0.5}
        if arguments.fake_franka
        else {}
    )
    return NodeSpec(
        package="physgen_control",
        executable="controller_node",
        name="controller_node",
        module="physgen_control.nodes.controller_node",
        parameters={
            "use_sim_time": stepped,
            "pacing": "state" if stepped and arguments.pace == "lockstep" else "timer",
            "mode": arguments.mode,
            "execution": arguments.execution,
            "arm_interface": "applied_action" if stepped else "joint_trajectory",
            "robot_type": _robot(arguments),
            # A simulated arm may move at once, and a stepped world publishes no state before its first reset; a
            # person arms a real one.
            "auto_arm": arguments.simulated,
            "arm_without_state": stepped,
            "require_publisher": arguments.policy != "none",
            "gripper_interface": "auto" if _has_gripper(arguments) else "none",
            **patience,
        },
        default_files=_controller_files(arguments),
        override_files=_user_files(arguments),
    )


def _monitors(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """The second look at motion: before the controller, so that it stops after it; without it no arm goes on."""
    if arguments.stepped or not arguments.motion_monitor:
        return ()
    # As for the controller: a busy machine makes the fake arm late, not unsafe.
    patience: dict[str, ParameterValue] = (
        {"state_timeout": 2.0, "status_timeout": 5.0} if arguments.fake_franka else {}
    )
    node = NodeSpec(
        package="physgen_control",
        executable="motion_monitor_node",
        name="motion_monitor_node",
        module="physgen_control.nodes.motion_monitor_node",
        parameters={"use_sim_time": False, "robot_type": _robot(arguments), **patience},
        override_files=_user_files(arguments),
    )
    return (node,)


def _robot(arguments: LaunchArguments) -> str:
    """The robot that acts: every stepped simulator has a Panda; the fake Franka and the real arm are of robot_type."""
    return "panda" if arguments.stepped else arguments.robot_type


def _controller_files(arguments: LaunchArguments) -> tuple[Path, ...]:
    if not arguments.stepped:
        return (config_file("controller_fr3.yaml"),)
    # LIBERO's tables lie lower and its stove nearer than what the limits for ManiSkill allow.
    names = ["controller_sim.yaml", *(["controller_libero.yaml"] if arguments.sim == "libero" else [])]
    return tuple(config_file(name) for name in names)


def _has_gripper(arguments: LaunchArguments) -> bool:
    """Mock hardware comes without the gripper's action servers; a stepped world reads AppliedAction."""
    real = not arguments.simulated and arguments.load_gripper and not arguments.use_fake_hardware
    return arguments.fake_franka or real


def _policies(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    return () if arguments.policy == "none" else (_policy(arguments),)


def _policy(arguments: LaunchArguments) -> NodeSpec:
    common: dict[str, ParameterValue] = {"use_sim_time": arguments.stepped}
    match arguments.policy:
        case "physgen":
            return NodeSpec(
                package="physgen_policy",
                executable="policy_node",
                name="policy_node",
                module="physgen_policy.nodes.policy_node",
                parameters={
                    **common,
                    "checkpoint": arguments.checkpoint,
                    "task": arguments.task,
                    "robot": _robot(arguments),
                    "execution": arguments.execution,
                    "pace": arguments.pace if arguments.simulated else "realtime",
                    "autostart": True,
                },
                override_files=_user_files(arguments),
                lifecycle=True,
            )
        case "expert":
            return NodeSpec(
                package="physgen_sim_bridge",
                executable="expert_node",
                name="expert_node",
                module="physgen_sim_bridge.nodes.expert_node",
                parameters={**common, "task": arguments.task, "pace": arguments.pace},
                override_files=_user_files(arguments),
            )
        case "replay":
            return NodeSpec(
                package="physgen_control",
                executable="replay_node",
                name="replay_node",
                module="physgen_control.nodes.replay_node",
                parameters={**common, "bag_dir": str(arguments.bag_dir)},
                override_files=_user_files(arguments),
            )
        case other:
            raise UserError(f"policy:={other} has no node; choose physgen, expert or replay")


def _teleop(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    device = arguments.teleop
    if device == "none":
        return ()
    alone = arguments.policy == "none"
    parameters: dict[str, ParameterValue] = {
        # Bags are cut by stamps, so the stamps of a stepped world's teleoperation are the world's.
        "use_sim_time": arguments.stepped,
        "instruction": arguments.instruction,
        "operator": arguments.operator,
        "task": arguments.task,
        "seed": arguments.seed,
        # A person needs longer than an expert.
        "max_steps": arguments.max_steps or _TELEOP_STEPS,
        "episode_buttons": alone or not arguments.simulated,
    }
    if device in ("joy", "spacemouse") and arguments.teleop_device:
        parameters["device"] = arguments.teleop_device
    if device == "script":
        parameters |= {"episodes": arguments.episodes, "record": arguments.record}
    package = "physgen_sim_bridge" if device == "script" else "physgen_control"
    node = NodeSpec(
        package=package,
        executable=f"{device}_teleop_node",
        name=f"{device}_teleop_node",
        module=f"{package}.nodes.{device}_teleop_node",
        parameters=parameters,
        override_files=_user_files(arguments),
        # A person who leaves the keyboard leaves the policy alone; a device that fails ends the graph.
        required=device != "keyboard",
        terminal=device == "keyboard",
    )
    return (node,)


def _recorder(arguments: LaunchArguments) -> NodeSpec:
    return NodeSpec(
        package="physgen_control",
        executable="recorder_node",
        name="recorder_node",
        module="physgen_control.nodes.recorder_node",
        parameters={
            "use_sim_time": arguments.stepped,
            "source": "sim" if arguments.simulated else "real",
            "bag_dir": str(arguments.bag_dir),
            "await_policy": arguments.policy != "none",
            # A simulated episode says how many steps it has, so a long wait costs nothing on a slow machine.
            "drain_s": 10.0 if arguments.simulated else 1.0,
        },
        override_files=_user_files(arguments),
    )


def _rollout(arguments: LaunchArguments) -> NodeSpec:
    return NodeSpec(
        package="physgen_control",
        executable="rollout_node",
        name="rollout_node",
        module="physgen_control.nodes.rollout_node",
        parameters={
            "simulated": arguments.simulated,
            "robot": arguments.robot_type,
            "task": arguments.task,
        },
        override_files=_user_files(arguments),
        # Nobody else would end the episode that it began.
        required=True,
    )


def _episode_runner(arguments: LaunchArguments) -> NodeSpec:
    return NodeSpec(
        package="physgen_bringup",
        executable="episode_runner_node",
        name="episode_runner_node",
        module="physgen_bringup.nodes.episode_runner_node",
        # Progress and time limits are wall time: the simulated clock stands still between episodes.
        parameters={
            "use_sim_time": False,
            "sim": arguments.sim,
            "task": arguments.task,
            "policy": arguments.policy,
            "checkpoint": arguments.checkpoint,
            "pace": arguments.pace,
            "execution": arguments.execution,
            "episodes": arguments.episodes,
            "seed": arguments.seed,
            "max_steps": arguments.max_steps,
            "output_dir": str(arguments.output_dir),
            "record": arguments.record,
            "save_actions": arguments.save_actions,
        },
        override_files=_user_files(arguments),
    )


def _franka(arguments: LaunchArguments) -> IncludeSpec:
    fake = arguments.use_fake_hardware
    # Mock hardware mirrors commands only onto states of the same name, so it needs position commands; on a
    # real arm position commands cause reflex stops, so it gets effort commands.
    controllers = config_file("ros2_control_fake.yaml" if fake else "ros2_control_fr3.yaml")
    return IncludeSpec(
        package="franka_bringup",
        path="launch/franka.launch.py",
        arguments={
            "robot_type": arguments.robot_type,
            "robot_ip": arguments.robot_ip or "dont-care",
            "load_gripper": _text(arguments.load_gripper),
            "use_fake_hardware": _text(fake),
            "fake_sensor_commands": _text(fake),
            # 100 Hz is enough for 20 Hz control; rclpy cannot follow the driver's 1 kHz.
            "joint_state_rate": "100",
            "controllers_yaml": str(controllers),
        },
    )


def _cameras(arguments: LaunchArguments) -> tuple[IncludeSpec, ...]:
    serials = {"fixed": arguments.fixed_camera_serial, "wrist": arguments.wrist_camera_serial}
    return tuple(_camera(name, serial, arguments.camera_profile) for name, serial in serials.items())


def _camera(name: str, serial: str, profile: str) -> IncludeSpec:
    arguments = {
        "camera_namespace": "camera",
        "camera_name": name,
        "rgb_camera.color_profile": profile,
        "rgb_camera.color_format": "RGB8",
        "enable_color": "true",
        "enable_depth": "false",
        "enable_infra1": "false",
        "enable_infra2": "false",
        "diagnostics_period": "1.0",
    }
    if serial:
        # The underscore keeps the parameter a string; without it the digits are parsed as an integer.
        arguments["serial_no"] = f"_{serial.removeprefix('_')}"
    return IncludeSpec(package="realsense2_camera", path="launch/rs_launch.py", arguments=arguments)


def _spawner() -> NodeSpec:
    return NodeSpec(
        package="controller_manager",
        executable="spawner",
        name=SPAWNER,
        arguments=(ARM_CONTROLLER, "--controller-manager-timeout", "60"),
        required=False,  # it exits after its work
    )


def _rviz() -> NodeSpec:
    return NodeSpec(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        arguments=("-d", str(config_file("franka.rviz"))),
        required=False,  # closing a window must not stop the arm
    )


def _static_transforms(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    given = arguments.calibration_file
    path = Path(given).expanduser() if given else config_file("camera_extrinsics.yaml")
    return tuple(_static_transform(mounting) for mounting in read_calibration(path))


def _static_transform(mounting: Mounting) -> NodeSpec:
    names = ("x", "y", "z", "qx", "qy", "qz", "qw")
    numbers = zip(names, (*mounting.translation, *mounting.quaternion), strict=True)
    flags = [item for key, value in numbers for item in (f"--{key}", str(value))]
    return NodeSpec(
        package="tf2_ros",
        executable="static_transform_publisher",
        name=f"{mounting.name}_transform",
        arguments=(*flags, "--frame-id", mounting.parent, "--child-frame-id", mounting.child),
    )


def _text(value: bool) -> str:
    return "true" if value else "false"
