# SPDX-License-Identifier: Apache-2.0
"""Package description for ament and colcon."""

from setuptools import find_packages, setup

NAME = "physgen_control"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    package_data={NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PhysGen maintainers",
    maintainer_email="maintainers@physgen.invalid",
    description="Controller node with the safety gate, teleoperation, recording and replay of the PhysGen robot stack",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "controller_node = physgen_control.nodes.controller_node:main",
            "gello_teleop_node = physgen_control.nodes.gello_teleop_node:main",
            "joy_teleop_node = physgen_control.nodes.joy_teleop_node:main",
            "keyboard_teleop_node = physgen_control.nodes.keyboard_teleop_node:main",
            "motion_monitor_node = physgen_control.nodes.motion_monitor_node:main",
            "recorder_node = physgen_control.nodes.recorder_node:main",
            "replay_node = physgen_control.nodes.replay_node:main",
            "rollout_node = physgen_control.nodes.rollout_node:main",
            "spacemouse_teleop_node = physgen_control.nodes.spacemouse_teleop_node:main",
        ],
    },
)
