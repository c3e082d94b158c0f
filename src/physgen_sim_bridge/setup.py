# SPDX-License-Identifier: Apache-2.0
"""Package description for ament and colcon."""

from glob import glob

from setuptools import find_packages, setup

NAME = "physgen_sim_bridge"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    package_data={NAME: ["py.typed", "libero/tasks.json"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/config", sorted(glob("config/*.*"))),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PhysGen maintainers",
    maintainer_email="maintainers@physgen.invalid",
    description="ManiSkill, LIBERO and a fake arm behind the topics of the real Franka",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "script_teleop_node = physgen_sim_bridge.nodes.script_teleop_node:main",
            "bridge_node = physgen_sim_bridge.nodes.bridge_node:main",
            "fake_franka_node = physgen_sim_bridge.nodes.fake_franka_node:main",
            "expert_node = physgen_sim_bridge.nodes.expert_node:main",
        ],
    },
)
