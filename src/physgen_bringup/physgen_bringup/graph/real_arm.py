# SPDX-License-Identifier: Apache-2.0
"""What a real Franka adds to the graph from other packages: its driver, controllers, cameras, frames and view."""

from __future__ import annotations

from pathlib import Path

from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.calibration import Mounting, read_calibration
from physgen_bringup.graph.spec import IncludeSpec, NodeSpec
from physgen_bringup.paths import config_file

ARM_CONTROLLER = "physgen_arm_controller"
SPAWNER = f"{ARM_CONTROLLER}_spawner"


def nodes(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return the spawner of the arm's controller, the frames of the cameras, and RViz where it is wanted."""
    return (_spawner(), *_static_transforms(arguments), *_views(arguments))


def includes(arguments: LaunchArguments) -> tuple[IncludeSpec, ...]:
    """Return the launch files of the driver and of both cameras."""
    return (_franka(arguments), *_cameras(arguments))


def _spawner() -> NodeSpec:
    return NodeSpec(
        package="controller_manager",
        executable="spawner",
        name=SPAWNER,
        arguments=(ARM_CONTROLLER, "--controller-manager-timeout", "60"),
        required=False,  # it exits after its work
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


def _views(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    if not arguments.rviz:
        return ()
    node = NodeSpec(
        package="rviz2",
        executable="rviz2",
        name="rviz2",
        arguments=("-d", str(config_file("franka.rviz"))),
        required=False,  # closing a window must not stop the arm
    )
    return (node,)


def _text(value: bool) -> str:
    return "true" if value else "false"
