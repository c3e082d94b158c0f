# SPDX-License-Identifier: Apache-2.0
"""Each node of this project as a value: which parameters it gets for given launch arguments.

A duty that the arguments may do without is a tuple, empty then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from physgen_bringup.graph.arguments import LaunchArguments
from physgen_bringup.graph.controller_setup import controller_config
from physgen_bringup.graph.policy_kinds import PICTURE_SIZE, is_own, picture_size, policy_kind
from physgen_bringup.graph.spec import NodeSpec, ParameterValue
from physgen_bringup.paths import config_file

_TELEOP_STEPS = 3000
"""Control steps of an episode that a person demonstrates in simulation, unless max_steps says otherwise."""


def world(arguments: LaunchArguments) -> NodeSpec:
    """Return the simulated world: the fake arm with the driver's topics, or the bridge to a simulator."""
    return _fake_franka(arguments) if arguments.fake_franka else _bridge(arguments)


def _bridge(arguments: LaunchArguments) -> NodeSpec:
    # The bridge writes /clock, so it must not follow it.
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": False,
        "sim": arguments.sim,
        "task": arguments.task,
        "pace": arguments.pace,
        "perturb": arguments.perturb,
    }
    if (size := picture_size(arguments.policy)) != PICTURE_SIZE:
        parameters["image_size"] = size
    return _node("physgen_sim_bridge", "bridge_node", parameters, arguments)


def _fake_franka(arguments: LaunchArguments) -> NodeSpec:
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": False,
        "task": arguments.task,
        "seed": arguments.seed,
        "camera_profile": arguments.camera_profile,
    }
    return _node("physgen_sim_bridge", "fake_franka_node", parameters, arguments)


def controller(arguments: LaunchArguments) -> NodeSpec:
    """Return the one node that commands the arm."""
    stepped = arguments.stepped
    # A busy machine makes the fake arm late, not unsafe.
    patience: dict[str, ParameterValue] = (
        {"max_state_age": 1.0, "max_observation_age": 10.0, "deadman_timeout": 0.5, "teleop_timeout": 0.5}
        if arguments.fake_franka
        else {}
    )
    parameters: dict[str, ParameterValue] = {
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
    }
    node = _node("physgen_control", "controller_node", parameters, arguments)
    return replace(node, default_files=_controller_files(arguments))


def motion_monitors(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return the second look at motion: before the controller, so that it stops after it; without it no arm goes on."""
    if arguments.stepped or not arguments.motion_monitor:
        return ()
    # As for the controller: a busy machine makes the fake arm late, not unsafe.
    patience: dict[str, ParameterValue] = (
        {"state_timeout": 2.0, "status_timeout": 5.0} if arguments.fake_franka else {}
    )
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": False,
        "robot_type": _robot(arguments),
        **patience,
    }
    return (_node("physgen_control", "motion_monitor_node", parameters, arguments),)


def recorders(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return who writes the bags."""
    if not arguments.record:
        return ()
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": arguments.stepped,
        "source": "sim" if arguments.simulated else "real",
        "bag_dir": str(arguments.bag_dir),
        "await_policy": arguments.policy != "none",
        # A simulated episode says how many steps it has, so a long wait costs nothing on a slow machine.
        "drain_s": 10.0 if arguments.simulated else 1.0,
    }
    return (_node("physgen_control", "recorder_node", parameters, arguments),)


def policies(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return who sends chunks."""
    make = {"policy_node": _policy, "expert_node": _expert, "replay_node": _replay}
    node = policy_kind(arguments.policy).node
    return (make[node](arguments),) if node else ()


def _policy(arguments: LaunchArguments) -> NodeSpec:
    """The node of learned policies, and of those of somebody's own."""
    own = is_own(arguments.policy)
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": arguments.stepped,
        **({"policy": arguments.policy} if own else {}),
        **({"checkpoint": arguments.checkpoint} if arguments.checkpoint or not own else {}),
        "task": arguments.task,
        "robot": _robot(arguments),
        "execution": arguments.execution,
        "camera_reference": arguments.camera_reference,
        "pace": arguments.pace if arguments.simulated else "realtime",
        "autostart": True,
    }
    return _node("physgen_policy", "policy_node", parameters, arguments)


def _expert(arguments: LaunchArguments) -> NodeSpec:
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": arguments.stepped,
        "sim": arguments.sim,
        "task": arguments.task,
        "pace": arguments.pace,
    }
    return _node("physgen_sim_bridge", "expert_node", parameters, arguments)


def _replay(arguments: LaunchArguments) -> NodeSpec:
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": arguments.stepped,
        "bag_dir": str(arguments.bag_dir),
    }
    return _node("physgen_control", "replay_node", parameters, arguments)


def teleoperations(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return the device of a person, or the script that plays one."""
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
        parameters |= {"sim": arguments.sim, "episodes": arguments.episodes, "record": arguments.record}
    package = "physgen_sim_bridge" if device == "script" else "physgen_control"
    node = _node(package, f"{device}_teleop_node", parameters, arguments)
    # A person who leaves the keyboard leaves the policy alone; a device that fails ends the graph.
    return (replace(node, required=device != "keyboard", terminal=device == "keyboard"),)


def rollouts(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return who begins and ends episodes at a person's word; required: nobody else would end the one that it began."""
    if not arguments.rollout:
        return ()
    parameters: dict[str, ParameterValue] = {
        "simulated": arguments.simulated,
        "robot": arguments.robot_type,
        "task": arguments.task,
    }
    return (_node("physgen_control", "rollout_node", parameters, arguments),)


def episode_runners(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Return who runs the episodes of a simulated evaluation; without a policy the person at the device starts them."""
    if arguments.rollout or arguments.policy == "none":
        return ()
    parameters: dict[str, ParameterValue] = {
        # Progress and time limits are wall time: the simulated clock stands still between episodes.
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
        "perturb": arguments.perturb,
        "output_dir": str(arguments.output_dir),
        "record": arguments.record,
        "save_actions": arguments.save_actions,
    }
    return (_node("physgen_bringup", "episode_runner_node", parameters, arguments),)


def viewers(arguments: LaunchArguments) -> tuple[NodeSpec, ...]:
    """Who looks on; closing its window must not stop a graph."""
    if arguments.viewer in ("", "none"):
        return ()
    config = controller_config(controller(arguments))
    period = config.control_period
    parameters: dict[str, ParameterValue] = {
        "use_sim_time": False,
        "viewer": arguments.viewer,
        "save_to": str(arguments.output_dir / "viewer.rrd"),
        "keys": arguments.teleop == "keyboard",
        "robot": _robot(arguments),
        "step_translation": min(config.step_translation, config.speed_translation * period),
        "step_rotation": min(config.step_rotation, config.speed_rotation * period),
        "workspace_min": list(config.workspace_min),
        "workspace_max": list(config.workspace_max),
    }
    node = _node("physgen_bringup", "viewer_node", parameters, arguments)
    return (replace(node, required=False),)


def _node(
    package: str, name: str, parameters: Mapping[str, ParameterValue], arguments: LaunchArguments
) -> NodeSpec:
    """Return a node whose module, executable and name share one stem, as ours do; the user's file counts last."""
    return NodeSpec(
        package=package,
        executable=name,
        name=name,
        module=f"{package}.nodes.{name}",
        parameters=parameters,
        override_files=_user_files(arguments),
    )


def _user_files(arguments: LaunchArguments) -> tuple[Path, ...]:
    return (Path(arguments.params_file).expanduser().resolve(),) if arguments.params_file else ()


def _controller_files(arguments: LaunchArguments) -> tuple[Path, ...]:
    if not arguments.stepped:
        return (config_file("controller_fr3.yaml"),)
    from physgen_sim_bridge.registry import find_world

    # A simulator may say more: LIBERO's tables lie lower and its stove nearer than what the common limits allow.
    own = find_world(arguments.sim).controller_file
    files = [config_file("controller_sim.yaml")]
    return (*files, config_file(own)) if own else tuple(files)  # an absolute path stays what it is


def _robot(arguments: LaunchArguments) -> str:
    """Return the robot that acts: a stepped simulator has a Panda; fake Franka and real arm are of robot_type."""
    return "panda" if arguments.stepped else arguments.robot_type


def _has_gripper(arguments: LaunchArguments) -> bool:
    """Return whether there are action servers of a gripper: mock hardware has none; a stepped world needs none."""
    real = not arguments.simulated and arguments.load_gripper and not arguments.use_fake_hardware
    return arguments.fake_franka or real
