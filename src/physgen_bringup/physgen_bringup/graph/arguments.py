# SPDX-License-Identifier: Apache-2.0
"""The launch arguments of the graph as data, and their parser.

One table serves `physgen launch`, `franka.launch.py` and the documentation; nothing here knows ROS.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from physgen_bringup.graph.argument import Argument, ArgumentError, parse_value
from physgen_bringup.graph.policy_kinds import policy_names
from physgen_control.program.plugins import POLICIES, WORLDS

SHORT_NAMES = {"out": "output_dir"}
"""What `physgen launch` takes as well, because the options of the other commands are called so."""

REAL_TASK = "real"
"""Task of the real arm where none is named."""

ARGUMENTS: tuple[Argument, ...] = (
    Argument(
        name="sim",
        kind="choice",
        choices=("maniskill", "libero", "fake", "none"),
        default="maniskill",
        group=WORLDS,
        help="simulated world, also one of your own as module:Class; `none` is the real arm and needs robot_ip",
    ),
    Argument(
        name="task",
        kind="text",
        default="",
        help="environment id (PushCube-v1) or suite/index (libero_object/3); empty: the sim's first task",
    ),
    Argument(
        name="policy",
        kind="choice",
        choices=policy_names(in_graph=True),
        default="physgen",
        group=POLICIES,
        help="who acts: learned policy, scripted expert (sim), recorded bags, what follows a video (physworld), your "
        "own policy as module:Class, a node of your own (external), or nobody (none, with teleop)",
    ),
    Argument(
        name="checkpoint",
        kind="text",
        default="",
        help="checkpoint name or folder; empty: the one shipped for the task; of physworld: the folder of a run or kit",
    ),
    Argument(
        name="pace",
        kind="choice",
        choices=("lockstep", "realtime"),
        default="",
        help="lockstep: the world waits for the policy; realtime: it does not; default lockstep, and realtime where "
        "the arm has its own clock (real arm and fake Franka) and with teleop",
    ),
    Argument(
        name="execution",
        kind="choice",
        choices=("sync", "pipelined"),
        default="sync",
        help="sync: execute a chunk, then observe; pipelined: request the next chunk early",
    ),
    Argument(
        name="mode",
        kind="choice",
        choices=("armed", "shadow"),
        default="",
        help="armed moves the arm, shadow publishes everything except arm commands; default armed in sim, "
        "shadow on the real arm",
    ),
    Argument(name="episodes", kind="count", default="1", minimum=1, help="episodes to run in simulation"),
    Argument(
        name="seed", kind="count", default="0", help="seed of the first episode; episode i has seed + i"
    ),
    Argument(
        name="max_steps", kind="count", default="0", help="control steps per episode; 0: the task's own limit"
    ),
    Argument(name="perturb", kind="text", default="", help="change the simulated world, such as camera:3"),
    Argument(name="output_dir", kind="text", default="", help="results and logs; default runs/<stamp>"),
    Argument(name="rollout", kind="bool", default="false", help="episodes by the action /physgen/run_policy"),
    Argument(name="record", kind="bool", default="false", help="record one MCAP bag per episode"),
    Argument(
        name="bag_dir",
        kind="text",
        default="",
        help="folder of bags: written by record (default output_dir/bags), read by policy:=replay",
    ),
    Argument(
        name="save_actions",
        kind="bool",
        default="false",
        help="write the applied actions of each episode as .npz",
    ),
    Argument(
        name="teleop",
        kind="choice",
        choices=("none", "keyboard", "spacemouse", "gello", "joy", "script"),
        default="none",
        help="teleoperation device; with a policy it takes over while its deadman is down; script: the scripted expert "
        "plays the person (sim)",
    ),
    Argument(
        name="teleop_device",
        kind="text",
        default="",
        help="teleop:=joy: joystick device such as /dev/input/js0 (empty: topic /joy); teleop:=spacemouse: "
        "pyspacemouse (empty: topics of spacenav)",
    ),
    Argument(
        name="instruction",
        kind="text",
        default="",
        help="what the demonstrations show, for episodes that an operator starts on the real arm",
    ),
    Argument(name="operator", kind="text", default="", help="who demonstrates, for the recording"),
    Argument(
        name="viewer",
        kind="choice",
        choices=("none", "rerun", "rerun_web"),
        default="",
        help="look on: a window of Rerun, or its pages for a browser on this computer; default rerun with "
        "teleop:=keyboard where there is a display, else none",
    ),
    Argument(name="robot_ip", kind="text", default="", help="address of the real arm (sim:=none)"),
    Argument(
        name="robot_type",
        kind="choice",
        choices=("fr3",),
        default="fr3",
        help="robot type for franka_bringup",
    ),
    Argument(name="load_gripper", kind="bool", default="true", help="the Franka hand is mounted"),
    Argument(
        name="use_fake_hardware",
        kind="bool",
        default="false",
        help="mock hardware instead of the arm (sim:=none)",
    ),
    Argument(
        name="fixed_camera_serial",
        kind="text",
        default="",
        help="serial number of the fixed RealSense camera",
    ),
    Argument(
        name="wrist_camera_serial",
        kind="text",
        default="",
        help="serial number of the wrist RealSense camera",
    ),
    Argument(
        name="camera_profile", kind="profile", default="640x480x30", help="colour profile, WIDTHxHEIGHTxFPS"
    ),
    Argument(
        name="calibration_file",
        kind="text",
        default="",
        help="YAML with the poses of the cameras (sim:=none); default: the nominal set-up in camera_extrinsics.yaml",
    ),
    Argument(
        name="camera_reference",
        kind="text",
        default="",
        help="picture of the demonstrations by `physgen camera reference`; a fixed camera that has moved is refused",
    ),
    Argument(
        name="rviz",
        kind="bool",
        default="false",
        help="start RViz with the robot, cameras and poses (sim:=none)",
    ),
    Argument(
        name="motion_monitor",
        kind="bool",
        default="true",
        help="a second look at every motion of an arm, which stops it (real arm and fake Franka)",
    ),
    Argument(
        name="params_file", kind="text", default="", help="ROS parameter YAML loaded last by every node"
    ),
)
_BY_NAME = {argument.name: argument for argument in ARGUMENTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchArguments:
    """The parsed values, derived defaults filled in; fields are named as the arguments, which the table explains."""

    sim: str
    task: str
    policy: str
    checkpoint: str
    pace: str
    execution: str
    mode: str
    episodes: int
    seed: int
    max_steps: int
    perturb: str
    output_dir: Path
    rollout: bool
    record: bool
    bag_dir: Path
    save_actions: bool
    teleop: str
    teleop_device: str
    instruction: str
    operator: str
    viewer: str
    robot_ip: str
    robot_type: str
    load_gripper: bool
    use_fake_hardware: bool
    fixed_camera_serial: str
    wrist_camera_serial: str
    camera_profile: str
    calibration_file: str
    camera_reference: str
    rviz: bool
    motion_monitor: bool
    params_file: str

    @property
    def simulated(self) -> bool:
        """Whether a world is simulated; False on the (real or mocked) Franka driver."""
        return self.sim != "none"

    @property
    def fake_franka(self) -> bool:
        """Whether it is the fake arm with the driver's topics, which runs by itself and takes joint trajectories."""
        from physgen_sim_bridge.registry import runs_by_itself

        return self.simulated and runs_by_itself(self.sim, self.task)

    @property
    def stepped(self) -> bool:
        """Whether a world is stepped by applied actions and writes the clock."""
        return self.simulated and not self.fake_franka


def parse_arguments(strings: Sequence[str]) -> LaunchArguments:
    """Parse `name:=value` strings; missing ones take their defaults.

    Raises:
        ArgumentError: Syntax, an unknown name or a value of the wrong kind; one sentence.
    """
    given: dict[str, str] = {}
    for string in strings:
        name, separator, value = string.partition(":=")
        if not separator:
            raise ArgumentError(
                f"{string!r} is not a launch argument; write name:=value, for example task:=PushCube-v1"
            )
        name = SHORT_NAMES.get(name, name)
        if name in given:
            raise ArgumentError(f"launch argument {name!r} is given twice; give it once")
        given[name] = value
    return arguments_from(given)


def arguments_from(given: dict[str, str]) -> LaunchArguments:
    """Parse a dictionary of texts (what launch_ros hands over); missing ones take their defaults.

    Raises:
        ArgumentError: An unknown name or a value of the wrong kind; one sentence.
    """
    for name in given:
        if name not in _BY_NAME:
            close = difflib.get_close_matches(name, _BY_NAME, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_BY_NAME)}"
            raise ArgumentError(f"no launch argument {name!r}; {hint}")
    values: dict[str, Any] = {
        argument.name: parse_value(argument, given.get(argument.name, "") or argument.default)
        for argument in ARGUMENTS
    }
    sim = values["sim"]
    values["task"] = values["task"] or _default_task(sim)
    values["mode"] = values["mode"] or ("shadow" if sim == "none" else "armed")
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    values["output_dir"] = Path(values["output_dir"] or f"runs/{stamp}").expanduser().resolve()
    bag_dir = values["bag_dir"]
    values["bag_dir"] = Path(bag_dir).expanduser().resolve() if bag_dir else values["output_dir"] / "bags"
    if values["policy"] == "replay" and not bag_dir:
        raise ArgumentError("policy:=replay needs recorded bags; give their folder with bag_dir:=FOLDER")
    given_pace, values["pace"] = values["pace"], values["pace"] or "lockstep"
    arguments = LaunchArguments(**{field.name: values[field.name] for field in fields(LaunchArguments)})
    waits = arguments.stepped and arguments.teleop == "none"
    return arguments if given_pace or waits else replace(arguments, pace="realtime")


def _default_task(sim: str) -> str:
    if sim == "none":
        return REAL_TASK
    from physgen_sim_bridge.registry import find_world

    return find_world(sim).default_task()


def argument_table() -> str:
    """Return the table as text for `physgen launch --help`."""
    lines = []
    for argument in ARGUMENTS:
        choices = (*argument.choices, *(["module:Class"] if argument.group else []))
        values = "|".join(choices) or {"bool": "true|false", "count": "N", "profile": "WxHxF"}.get(
            argument.kind, "TEXT"
        )
        default = f" [{argument.default}]" if argument.default else ""
        lines.append(f"  {argument.name}:={values}{default}\n      {argument.help}")
    return "\n".join(lines)
