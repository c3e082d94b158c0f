# SPDX-License-Identifier: Apache-2.0
"""Package description for ament and colcon."""

from glob import glob

from setuptools import find_packages, setup

NAME = "physgen_bringup"

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    package_data={NAME: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", sorted(glob("launch/*.launch.py"))),
        (f"share/{NAME}/config", sorted(glob("config/*.*"))),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PhysGen maintainers",
    maintainer_email="maintainers@physgen.invalid",
    description="Graph description, launch files, parameters and the command line of the PhysGen robot stack",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "viewer_node = physgen_bringup.nodes.viewer_node:main",
            "episode_runner_node = physgen_bringup.nodes.episode_runner_node:main",
            "physgen = physgen_bringup.cli:main",
        ],
    },
)
