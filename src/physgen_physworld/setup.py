# SPDX-License-Identifier: Apache-2.0
"""Package description for ament and colcon."""

from setuptools import find_packages, setup

NAME = "physgen_physworld"

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
    description="From a video of moving objects to a robot that moves them",
    license="Apache-2.0",
)
