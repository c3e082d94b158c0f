# SPDX-License-Identifier: Apache-2.0
"""The arm as a URDF, built from the same numbers as its kinematics: links are capsules, the hand is boxes, no meshes.

For pictures only: no masses, and no shape that a collision check could trust.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

from physgen_control.controller_config import RobotType
from physgen_control.motion.kinematics import (
    DH,
    FLANGE,
    HAND_YAW,
    TCP,
    joint_range,
    joint_top_speed,
)
from physgen_control.types import NUM_JOINTS

Numbers = tuple[float, float, float]

FINGER_TRAVEL = 0.04
"""How far each finger moves [m]."""

# Cylinders with round ends in the frame of each link: start, end, radius [m]. Chosen by eye to lie on the axes.
_LIMBS: dict[int, tuple[tuple[Numbers, Numbers, float], ...]] = {
    0: (((0.0, 0.0, 0.0), (0.0, 0.0, 0.14), 0.08), ((-0.10, 0.0, 0.04), (0.0, 0.0, 0.04), 0.06)),
    1: (((0.0, 0.0, -0.15), (0.0, 0.0, 0.0), 0.065),),
    2: (((0.0, -0.13, 0.0), (0.0, 0.0, 0.0), 0.065),),
    3: (((0.0, 0.0, -0.13), (0.0, 0.0, 0.0), 0.06), ((0.0, 0.0, 0.0), (0.0825, 0.0, 0.0), 0.055)),
    4: (((-0.0825, 0.0, 0.0), (0.0, 0.0, 0.0), 0.055), ((-0.0825, 0.0, 0.0), (-0.0825, 0.12, 0.0), 0.055)),
    5: (((0.0, 0.0, -0.24), (0.0, 0.0, 0.0), 0.05),),
    6: (((0.0, 0.0, 0.0), (0.088, 0.0, 0.0), 0.05),),
    7: (((0.0, 0.0, 0.0), (0.0, 0.0, 0.08), 0.045),),
}
_LIGHT, _DARK = "0.86 0.87 0.90 1", "0.25 0.27 0.31 1"


def arm_urdf(robot: RobotType) -> str:
    """Return the URDF of an arm with its hand as text; joints are called PREFIX_joint1 .. 7, finger_joint1 and 2.

    The link PREFIX_link0 is the base frame, PREFIX_hand_tcp the tool centre point.
    """
    prefix = robot.value
    root = ET.Element("robot", name=prefix)
    for name, colour in (("light", _LIGHT), ("dark", _DARK)):
        ET.SubElement(ET.SubElement(root, "material", name=name), "color", rgba=colour)
    for index in range(NUM_JOINTS + 1):
        link = ET.SubElement(root, "link", name=f"{prefix}_link{index}")
        for start, end, radius in _LIMBS[index]:
            _capsule(link, start, end, radius)
    lower, upper = joint_range(robot)
    fastest = joint_top_speed(robot)
    for index, (a, d, alpha) in enumerate(DH):
        # Craig: turn by alpha about x, move by a along the old x and by d along the new z, then turn about z.
        origin = (a, -d * math.sin(alpha), d * math.cos(alpha))
        joint = _joint(
            root,
            f"{prefix}_joint{index + 1}",
            "revolute",
            f"{prefix}_link{index}",
            f"{prefix}_link{index + 1}",
            origin,
            (alpha, 0.0, 0.0),
        )
        ET.SubElement(joint, "axis", xyz="0 0 1")
        _limit(joint, float(lower[index]), float(upper[index]), float(fastest[index]))
    _hand(root, prefix)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _hand(root: ET.Element, prefix: str) -> None:
    hand = ET.SubElement(root, "link", name=f"{prefix}_hand")
    _box(hand, (0.0, 0.0, 0.04), (0.05, 0.20, 0.06), "light")
    ET.SubElement(root, "link", name=f"{prefix}_hand_tcp")
    _joint(
        root,
        f"{prefix}_hand_joint",
        "fixed",
        f"{prefix}_link7",
        f"{prefix}_hand",
        (0.0, 0.0, FLANGE),
        (0.0, 0.0, HAND_YAW),
    )
    zero = (0.0, 0.0, 0.0)
    _joint(
        root,
        f"{prefix}_hand_tcp_joint",
        "fixed",
        f"{prefix}_hand",
        f"{prefix}_hand_tcp",
        (0.0, 0.0, TCP),
        zero,
    )
    for number, side in ((1, 1.0), (2, -1.0)):
        finger = ET.SubElement(root, "link", name=f"{prefix}_finger{number}")
        _box(finger, (0.0, side * 0.008, 0.03), (0.02, 0.012, 0.055), "dark")
        name = f"{prefix}_finger_joint{number}"
        joint = _joint(
            root, name, "prismatic", f"{prefix}_hand", f"{prefix}_finger{number}", (0.0, 0.0, 0.0584), zero
        )
        ET.SubElement(joint, "axis", xyz=f"0 {side:g} 0")
        _limit(joint, 0.0, FINGER_TRAVEL, 0.2)


def _capsule(link: ET.Element, start: Numbers, end: Numbers, radius: float) -> None:
    """Add a cylinder with a ball at each end; URDF has no capsule."""
    delta = [e - s for s, e in zip(start, end, strict=True)]
    length = math.sqrt(sum(v * v for v in delta))
    middle = tuple((s + e) / 2 for s, e in zip(start, end, strict=True))
    # From z to the direction of the cylinder: about y, then about z.
    pitch, yaw = math.acos(delta[2] / length), math.atan2(delta[1], delta[0])
    visual = _visual(link, middle, (0.0, pitch, yaw), "light")
    ET.SubElement(ET.SubElement(visual, "geometry"), "cylinder", radius=f"{radius:g}", length=f"{length:.6g}")
    for centre in (start, end):
        visual = _visual(link, centre, (0.0, 0.0, 0.0), "light")
        ET.SubElement(ET.SubElement(visual, "geometry"), "sphere", radius=f"{radius:g}")


def _box(link: ET.Element, centre: Numbers, size: Numbers, colour: str) -> None:
    visual = _visual(link, centre, (0.0, 0.0, 0.0), colour)
    ET.SubElement(ET.SubElement(visual, "geometry"), "box", size=_text(size))


def _visual(link: ET.Element, xyz: tuple[float, ...], rpy: Numbers, colour: str) -> ET.Element:
    visual = ET.SubElement(link, "visual")
    ET.SubElement(visual, "origin", xyz=_text(xyz), rpy=_text(rpy))
    ET.SubElement(visual, "material", name=colour)
    return visual


def _joint(
    root: ET.Element, name: str, kind: str, parent: str, child: str, xyz: Numbers, rpy: Numbers
) -> ET.Element:
    joint = ET.SubElement(root, "joint", name=name, type=kind)
    ET.SubElement(joint, "origin", xyz=_text(xyz), rpy=_text(rpy))
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    return joint


def _limit(joint: ET.Element, lower: float, upper: float, velocity: float) -> None:
    # A URDF limit must name an effort; nothing reads it.
    ET.SubElement(
        joint, "limit", lower=f"{lower:g}", upper=f"{upper:g}", velocity=f"{velocity:g}", effort="0"
    )


def _text(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.9g}" for value in values)
