# SPDX-License-Identifier: Apache-2.0
"""Compares what a checkpoint was trained for with the graph that it is about to control. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from physgen_control.types import (
    ACTION_DIM,
    HORIZON,
    NUM_CHUNKS,
    ActionSpace,
    DeltaReference,
    GripperMode,
    Rotation,
)
from physgen_policy.contract.embodiment import Embodiment

UNTRAINED_ROBOT = "none"
"""Robot of a checkpoint that was never trained on actions (published.NO_ROBOT): it fits nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphDescription:
    """The running graph as the policy sees it.

    Empty strings and a zero image size mean "not known": they are not compared. Every launched graph names its robot,
    and a checkpoint that names none is refused everywhere.
    """

    control_period: float
    """Seconds per action."""
    cameras: tuple[str, ...] = ("fixed", "wrist")
    task: str = ""
    robot: str = ""
    base_frame: str = "base"
    image_height: int = 0
    """Of ONE camera image as it is published [pixels]."""
    image_width: int = 0
    """Of ONE camera image as it is published [pixels]."""
    action_dim: int = ACTION_DIM
    action_space: ActionSpace = ActionSpace.EE_DELTA
    rotation: Rotation = Rotation.AXIS_ANGLE
    delta_reference: DeltaReference = DeltaReference.MEASURED
    gripper_mode: GripperMode = GripperMode.SIGNED_PM1


def find_mismatches(
    embodiment: Embodiment, graph: GraphDescription, action_dim: int = ACTION_DIM
) -> list[str]:
    """Return everything that forbids using the checkpoint here, as sentences; empty: it fits.

    Args:
        embodiment: What the checkpoint was trained for.
        graph: Where it is about to run.
        action_dim: Numbers per action in the checkpoint's action statistics.
    """
    found: list[str] = []
    missing = [camera for camera in embodiment.cameras if camera not in graph.cameras]
    if missing:
        found.append(
            f"the checkpoint needs the camera{'s' if len(missing) > 1 else ''} {', '.join(missing)}, "
            f"the graph has {', '.join(graph.cameras) or 'none'}"
        )
    elif tuple(embodiment.cameras) != ("fixed", "wrist"):
        found.append(
            f"the checkpoint splices the cameras {', '.join(embodiment.cameras)}, "
            "this policy splices fixed, wrist"
        )
    for value, expected, what in (
        (embodiment.action_space, graph.action_space, "action space"),
        (embodiment.rotation, graph.rotation, "rotation format"),
        (embodiment.delta_reference, graph.delta_reference, "delta reference"),
        (embodiment.gripper_mode, graph.gripper_mode, "gripper mode"),
    ):
        if value != expected.name:
            found.append(f"the checkpoint's {what} is {value}, the controller executes {expected.name}")
    if action_dim != graph.action_dim:
        found.append(
            f"the checkpoint's actions have {action_dim} numbers, the controller executes {graph.action_dim}"
        )
    if (embodiment.num_chunks, embodiment.horizon) != (NUM_CHUNKS, HORIZON):
        found.append(
            f"the checkpoint predicts {embodiment.num_chunks} x {embodiment.horizon} actions, "
            f"the controller expects {NUM_CHUNKS} x {HORIZON}"
        )
    if abs(embodiment.control_rate_hz * graph.control_period - 1.0) > 1e-3:
        found.append(
            f"the checkpoint acts at {embodiment.control_rate_hz:g} Hz, "
            f"the graph at {1 / graph.control_period:g} Hz (control_period {graph.control_period:g} s)"
        )
    if embodiment.base_frame != graph.base_frame:
        found.append(
            f"the checkpoint's base frame is {embodiment.base_frame!r}, the graph's is {graph.base_frame!r}"
        )
    if embodiment.robot in ("", UNTRAINED_ROBOT):
        found.append(
            "the checkpoint was never trained on a robot's actions, so no graph runs it; fine-tune it first"
        )
    elif graph.robot and embodiment.robot != graph.robot:
        found.append(
            f"the checkpoint was trained on the robot {embodiment.robot!r}, the graph runs {graph.robot!r}"
        )
    if graph.task and not embodiment.tasks:
        found.append(
            f"the checkpoint does not say for which tasks it was trained, the graph runs {graph.task}"
        )
    elif graph.task and graph.task not in embodiment.tasks:
        found.append(
            f"the checkpoint was trained for {', '.join(embodiment.tasks)}, the graph runs {graph.task} "
            "(task:=NAME says which)"
        )
    known = graph.image_height and graph.image_width
    if known and (graph.image_height < embodiment.image_height or graph.image_width < embodiment.image_width):
        found.append(
            f"the cameras publish {graph.image_width}x{graph.image_height} pixels, "
            f"the checkpoint needs at least {embodiment.image_width}x{embodiment.image_height} per view"
        )
    return found
