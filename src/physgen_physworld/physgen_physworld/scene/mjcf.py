# SPDX-License-Identifier: Apache-2.0
"""The scene as MJCF: a table, boxes, and a Panda's gripper that hangs on a weld to the pose it is told to be at.

The arm itself is not in it: below the limits of the canonical action it takes the gripper where it is told, and a
gripper alone steps several times as fast. What the arm adds, that it lags, is a parameter of the twin.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np

from physgen_physworld.scene.scene import Scene

TIMESTEP = 0.005
FINGER_STROKE = 0.04
"""One finger of a Panda moves this far [m]."""

GRIP_FORCE = 25.0
"""A finger presses with at most this [N]; a Panda can do 30 to 70."""

HAND_MASS, FINGER_MASS = 0.73, 0.03

PAD = (0.010, 0.007, 0.012)
"""Half edges of a finger's pad [m] along x (breadth), y (thickness), z (height) of the hand."""


def scene_mjcf(scene: Scene) -> str:
    """Return the MJCF text of a scene; bodies have the objects' names, the gripper's frame `hand` is the TCP's."""
    root = ET.Element("mujoco", model="physical twin")
    ET.SubElement(root, "compiler", angle="radian", autolimits="true")
    ET.SubElement(
        root,
        "option",
        timestep=str(TIMESTEP),
        integrator="implicitfast",
        cone="pyramidal",
        gravity=_text(scene.gravity),
        impratio="5",
    )
    world = ET.SubElement(root, "worldbody")
    ET.SubElement(
        world,
        "geom",
        name="table",
        type="plane",
        size="2 2 0.1",
        pos=f"0 0 {scene.table_height:.6g}",
        friction="1",
    )
    ET.SubElement(world, "body", name="target", mocap="true", pos="0.4 0 0.3", quat="0 1 0 0")
    _gripper(world)
    for box in scene.boxes:
        body = ET.SubElement(world, "body", name=box.name, pos=_text(box.position), quat=_yaw_text(box.yaw))
        ET.SubElement(body, "freejoint", name=box.name)
        half = np.array(box.size) / 2
        mass, friction = np.sqrt(np.prod(box.mass)), np.sqrt(np.prod(box.friction))
        ET.SubElement(
            body,
            "geom",
            name=box.name,
            type="box",
            size=_text(half),
            mass=f"{mass:.6g}",
            friction=f"{friction:.4g} 0.005 0.0001",
            condim="4",
        )
    equality = ET.SubElement(root, "equality")
    ET.SubElement(equality, "weld", body1="target", body2="hand", solref="0.02 1", solimp="0.95 0.99 0.001")
    actuator = ET.SubElement(root, "actuator")
    for side in ("left", "right"):
        ET.SubElement(
            actuator,
            "position",
            name=side,
            joint=side,
            kp="600",
            kv="50",
            ctrlrange=f"-0.005 {FINGER_STROKE}",
            forcerange=f"-{GRIP_FORCE} {GRIP_FORCE}",
        )
    return ET.tostring(root, encoding="unicode")


def _gripper(world: ET.Element) -> None:
    hand = ET.SubElement(world, "body", name="hand", pos="0.4 0 0.3", quat="0 1 0 0", gravcomp="1")
    ET.SubElement(hand, "freejoint", name="hand")
    # The hand's box ends 4.5 cm above the TCP, where the fingers' pads begin.
    ET.SubElement(
        hand, "geom", name="palm", type="box", size="0.03 0.10 0.035", pos="0 0 -0.085", mass=str(HAND_MASS)
    )
    for side, sign in (("left", 1.0), ("right", -1.0)):
        finger = ET.SubElement(hand, "body", name=f"finger_{side}", gravcomp="1")
        ET.SubElement(
            finger,
            "joint",
            name=side,
            type="slide",
            axis=f"0 {sign:g} 0",
            range=f"-0.002 {FINGER_STROKE}",
            armature="0.25",  # the spindle's: without it the fingers would hit like bullets
        )
        ET.SubElement(
            finger,
            "geom",
            name=f"pad_{side}",
            type="box",
            size=_text(np.array(PAD)),
            pos=f"0 {sign * PAD[1]:.6g} 0",
            mass=str(FINGER_MASS),
            friction="1 0.02 0.001",
            condim="4",
            priority="1",
        )


def _text(values: np.ndarray) -> str:
    return " ".join(f"{value:.6g}" for value in values)


def _yaw_text(yaw: float) -> str:
    return f"{np.cos(yaw / 2):.6g} 0 0 {np.sin(yaw / 2):.6g}"
