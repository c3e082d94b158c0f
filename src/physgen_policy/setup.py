# SPDX-License-Identifier: Apache-2.0
"""Package description for ament and colcon."""

from glob import glob

from setuptools import find_packages, setup

NAME = "physgen_policy"
CHECKPOINTS = sorted(glob("checkpoints/*/"))

setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(exclude=["test", "test.*"]),
    package_data={NAME: ["py.typed", "config/**/*.yaml"], "physgen": ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *((f"share/{NAME}/{folder.rstrip('/')}", sorted(glob(f"{folder}*"))) for folder in CHECKPOINTS),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="PhysGen maintainers",
    maintainer_email="maintainers@physgen.invalid",
    description="Model, sampling, training and runtime of the PhysGen policy: the only package that imports torch",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_node = physgen_policy.nodes.policy_node:main",
            "train = physgen_policy.commands.console:train",
            "convert = physgen_policy.commands.console:convert",
        ],
    },
)
