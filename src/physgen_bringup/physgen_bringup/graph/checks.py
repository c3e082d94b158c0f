# SPDX-License-Identifier: Apache-2.0
"""Refusals of launch arguments that concern people and hardware: teleoperation devices and the real arm."""

from __future__ import annotations

from pathlib import Path

from physgen_bringup.graph.arguments import ArgumentError, LaunchArguments

FRANKA_IMAGE = "the Docker service `franka` (docker/compose.yaml)"


def check_teleop(arguments: LaunchArguments) -> None:
    """Refuse devices without use and uses without device."""
    device, chosen = arguments.teleop, arguments.teleop_device
    if device == "none":
        if arguments.policy == "none":
            raise ArgumentError(
                "policy:=none leaves nobody to act without teleop; add teleop:=keyboard (or another device), or use "
                "policy:=physgen, expert or replay"
            )
        if chosen:
            raise ArgumentError(
                f"teleop_device:={chosen} has no meaning without teleop; add teleop:=joy, or drop it"
            )
        return
    if arguments.pace == "lockstep":
        raise ArgumentError(
            f"teleop:={device} needs a world that runs on while nobody acts; drop pace:=lockstep"
        )
    if device == "script" and not (arguments.simulated and arguments.policy == "none"):
        raise ArgumentError(
            "teleop:=script demonstrates alone, and reads the simulator's state; use policy:=none and a sim"
        )
    if chosen and device not in ("joy", "spacemouse"):
        raise ArgumentError(f"teleop_device:={chosen} has no meaning with teleop:={device}; drop it")
    if device == "spacemouse" and chosen not in ("", "spacenav", "pyspacemouse"):
        raise ArgumentError(
            f"teleop_device:={chosen} is not possible with teleop:=spacemouse; choose of spacenav, pyspacemouse"
        )
    if not arguments.simulated and arguments.record and not arguments.instruction.strip():
        raise ArgumentError(
            "record:=true with teleop records episodes that you start, and each needs an instruction; give "
            'instruction:="pick up the cube"'
        )


def check_real_arm(arguments: LaunchArguments, *, have_ros: bool) -> None:
    """Refuse what a real arm cannot do, and a machine without its driver."""
    if arguments.policy == "expert":
        raise ArgumentError(
            "policy:=expert reads simulator state, which the real arm has not; use policy:=physgen"
        )
    if arguments.pace == "lockstep":
        raise ArgumentError("a real arm does not wait for the policy; drop pace:=lockstep or use a sim")
    if arguments.calibration_file:
        from physgen_bringup.graph.calibration import read_calibration

        read_calibration(Path(arguments.calibration_file).expanduser())
    if not arguments.robot_ip and not arguments.use_fake_hardware:
        raise ArgumentError(
            "sim:=none means the real arm; give its address with robot_ip:=172.16.0.2, or a sim"
        )
    if arguments.mode == "armed" and not arguments.use_fake_hardware:
        for name in ("fixed_camera_serial", "wrist_camera_serial"):
            if not getattr(arguments, name):
                raise ArgumentError(
                    f"mode:=armed on the real arm needs {name}, because swapped cameras mislead the policy; give "
                    "both serial numbers"
                )
    if not have_ros:
        raise ArgumentError(
            "sim:=none needs franka_ros2 and a full ROS 2 installation, which the pip runtime does not have; "
            f"use {FRANKA_IMAGE}"
        )
