# SPDX-License-Identifier: Apache-2.0
"""The environment variables under which everything of the pip runtime runs: pure, from paths to a mapping."""

from __future__ import annotations

import os
from collections.abc import Mapping

from physgen_setup.layout import Layout
from physgen_setup.python_env import site_packages, site_packages_of


def _joined(*parts: str) -> str:
    return os.pathsep.join(dict.fromkeys(part for part in parts if part))


def build_environment(layout: Layout) -> dict[str, str]:
    """Return the variables a colcon build needs; physgen_msgs itself is not in them."""
    return {
        "VIRTUAL_ENV": str(layout.venv),
        "PATH": _joined(str(layout.venv / "bin"), os.environ.get("PATH", os.defpath)),
        "AMENT_PREFIX_PATH": str(layout.venv),
        "CMAKE_PREFIX_PATH": str(layout.venv),
        "COLCON_PREFIX_PATH": "",
        "PYTHONPATH": "",
        "PYTHONNOUSERSITE": "1",
    }


def runtime_environment(layout: Layout, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the complete environment for the venv's Python, starting from the caller's.

    A ROS installation in the caller's environment is hidden (PYTHONPATH, AMENT_PREFIX_PATH): its binaries belong to
    another Python. The caller's own choices of domain, discovery range, ROS log folder, Vulkan driver and Fast DDS
    profile stay in force.
    """
    site = site_packages(layout)
    # What the wheels' start-up hook would compute and then re-execute the interpreter for; done here it costs nothing.
    wheel_libraries = sorted(str(path) for path in site.glob("ros_*.libs"))
    profile = str(layout.root / "src" / "physgen_bringup" / "config" / "fastdds.xml")
    chosen = dict(inherited)
    for name, value in {
        "VK_ICD_FILENAMES": str(layout.mesa / "lvp.json"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOG_DIR": str(layout.logs / "ros"),
        "MPLBACKEND": "Agg",
        "RCUTILS_COLORIZED_OUTPUT": "0",
        # One name for Fast DDS 2 (Jazzy), the other for Fast DDS 3.
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
    }.items():
        if not chosen.get(name):
            chosen[name] = value
    messages = layout.messages
    chosen |= {
        "PHYSGEN_ROOT": str(layout.root),
        "PHYSGEN_HOME": str(layout.home),
        "VIRTUAL_ENV": str(layout.venv),
        "PATH": _joined(str(layout.venv / "bin"), inherited.get("PATH", os.defpath)),
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "ROS_DISTRO": "jazzy",
        "ROS_VERSION": "2",
        "ROS_PYTHON_VERSION": "3",
        "AMENT_PREFIX_PATH": _joined(str(messages), str(layout.venv)),
        "CMAKE_PREFIX_PATH": str(layout.venv),
        "LD_LIBRARY_PATH": _joined(
            str(messages / "lib"),
            str(layout.venv / "lib"),
            *wheel_libraries,
            inherited.get("LD_LIBRARY_PATH", ""),
        ),
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1",
        "PYTHONPATH": _joined(
            *map(str, layout.source_packages),
            str(site_packages_of(layout, messages)),
        ),
        "PYTHONNOUSERSITE": "1",
    }
    return chosen
