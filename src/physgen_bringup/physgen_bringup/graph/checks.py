# SPDX-License-Identifier: Apache-2.0
"""Every check of the launch arguments before a process starts: what cannot run here is refused in one sentence."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import replace
from pathlib import Path

from physgen_bringup.graph.argument import ArgumentError
from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.policy_kinds import is_own
from physgen_bringup.graph.viewer_choice import NOT_INSTALLED, default_viewer, is_installed

FRANKA_IMAGE = "the Docker service `franka` (docker/compose.yaml)"


def check_arguments(arguments: LaunchArguments, *, have_ros: bool | None = None) -> LaunchArguments:
    """Refuse combinations that cannot run on this machine, before any process starts.

    Args:
        arguments: What parse_arguments returned.
        have_ros: A full ROS 2 installation is there (None: look for it).

    Returns:
        The arguments with the checkpoint resolved to its folder.

    Raises:
        ArgumentError: One sentence that says what to change.
        UserError: The checkpoint or the calibration cannot be used.
    """
    arguments = _with_viewer(arguments)
    check_teleop(arguments)
    if arguments.params_file and not Path(arguments.params_file).expanduser().is_file():
        raise ArgumentError(
            f"params_file:={arguments.params_file} does not exist; give a ROS parameter YAML file"
        )
    if arguments.policy == "replay" and not arguments.bag_dir.is_dir():
        raise ArgumentError(f"bag_dir:={arguments.bag_dir} is not a folder; give the folder of recorded bags")
    if arguments.policy == "replay" and arguments.record:
        raise ArgumentError(
            "policy:=replay with record:=true would write bags into the folder it reads; drop one"
        )
    if arguments.simulated:
        _check_simulation(arguments)
    else:
        check_real_arm(arguments, have_ros=has_ros() if have_ros is None else have_ros)
    check_policy(arguments.policy, arguments.sim, arguments.task, arguments.checkpoint)
    if arguments.policy == "physgen":
        # Imported here: it loads torch, which no other policy needs.
        from physgen_policy.checkpoint import resolve_checkpoint

        folder = resolve_checkpoint(arguments.checkpoint, arguments.task).resolve()
        return replace(arguments, checkpoint=str(folder))
    if arguments.checkpoint and is_own(arguments.policy):
        return replace(arguments, checkpoint=str(Path(arguments.checkpoint).expanduser().resolve()))
    if arguments.checkpoint:
        raise ArgumentError(
            f"checkpoint:={arguments.checkpoint} has no meaning with policy:={arguments.policy}; drop it or "
            "use policy:=physgen"
        )
    return arguments


def has_ros() -> bool:
    """Return whether a full ROS 2 installation (ros2 command and launch_ros) is on this machine."""
    return shutil.which("ros2") is not None and importlib.util.find_spec("launch_ros") is not None


def _with_viewer(arguments: LaunchArguments) -> LaunchArguments:
    """Return the arguments with a viewer chosen.

    Raises:
        ArgumentError: The one asked for is not installed.
    """
    if not arguments.viewer:
        chosen = default_viewer(arguments.teleop, os.environ)
        return arguments if chosen == "none" else replace(arguments, viewer=chosen)
    if arguments.viewer != "none" and not is_installed():
        raise ArgumentError(f"viewer:={arguments.viewer}: {NOT_INSTALLED}")
    return arguments


def _check_simulation(arguments: LaunchArguments) -> None:
    real_only = ("robot_ip", "fixed_camera_serial", "wrist_camera_serial", "calibration_file")
    for name in real_only:
        if getattr(arguments, name):
            raise ArgumentError(
                f"{name} belongs to the real arm; drop it or use sim:=none (now sim:={arguments.sim})"
            )
    if arguments.use_fake_hardware:
        raise ArgumentError(
            f"use_fake_hardware is for the Franka driver; drop it or use sim:=none (now sim:={arguments.sim})"
        )
    if arguments.rviz:
        raise ArgumentError(
            "rviz:=true needs the robot's description from the driver; drop it or use sim:=none "
            f"(now sim:={arguments.sim})"
        )
    if arguments.fake_franka and arguments.pace == "lockstep":
        raise ArgumentError(
            f"{arguments.task} runs on the fake Franka, which does not wait; drop pace:=lockstep or use FakePush-v0"
        )
    if arguments.mode == "shadow" and arguments.pace == "lockstep":
        raise ArgumentError(
            "mode:=shadow never moves the arm, so a world in lockstep would wait for ever; add pace:=realtime"
        )
    if arguments.execution == "pipelined" and arguments.pace == "lockstep":
        raise ArgumentError(
            "execution:=pipelined overlaps inference with motion, but this world waits; add pace:=realtime"
        )
    check_world(arguments.sim, arguments.task)


def check_world(sim: str, task: str) -> None:
    """Refuse a simulator that is not complete, or a task that it does not know; does not start it.

    Raises:
        ArgumentError: The simulator's package is missing.
        UserError: It does not know the task, or lacks something else.
    """
    from physgen_sim_bridge.registry import TABLE, check_task, find_world, missing_package

    if package := missing_package(sim):
        remedy = f"run `physgen setup --sim {sim}`" if sim in TABLE.ours else "install it"
        raise ArgumentError(
            f"sim:={sim} needs the Python package {package!r}, which is not installed; {remedy}"
        )
    check_task(sim, task)
    find_world(sim).check_ready()


def check_policy(policy: str, sim: str, task: str, checkpoint: str = "") -> None:
    """Refuse an expert that the task has not, and somebody's own policy that cannot be imported or made.

    Args:
        policy: Who acts.
        sim: The simulated world, or none.
        task: What is to be done in it.
        checkpoint: The folder that the policy is made from, if any.

    Raises:
        UserError: One sentence.
    """
    if policy == "expert" and sim != "none":
        from physgen_sim_bridge.experts.by_task import make_expert

        make_expert(sim, task)
    elif is_own(policy):
        from physgen_policy.contract.own_policy import check_checkpoint, find_policy_class

        check_checkpoint(find_policy_class(policy), policy, checkpoint)


def check_teleop(arguments: LaunchArguments) -> None:
    """Refuse devices without use and uses without device.

    Raises:
        ArgumentError: One sentence that says what to change.
    """
    device, chosen = arguments.teleop, arguments.teleop_device
    if device == "none":
        if arguments.policy == "none":
            raise ArgumentError(
                "policy:=none leaves nobody to act without teleop; add teleop:=keyboard (or another device), or use "
                "policy:=physgen, expert or another one"
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
    """Refuse what a real arm cannot do, and a machine without its driver.

    Raises:
        ArgumentError: One sentence that says what to change.
        UserError: The calibration cannot be used.
    """
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
