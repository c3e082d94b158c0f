# SPDX-License-Identifier: Apache-2.0
"""Builds packages of the workspace with colcon inside the virtual environment."""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from physgen_setup.cmake_paths import mend_tree
from physgen_setup.environment import build_environment
from physgen_setup.layout import Layout
from physgen_setup.python_env import site_packages
from physgen_setup.shell import Shell


def colcon_build_command(layout: Layout, output: Path, packages: Sequence[str] = ()) -> list[str]:
    """Return the colcon call that builds `packages` (all when empty) into `output`/{build,install,log}.

    Packages that are left out are not part of the workspace: colcon would miss them in its install folder.
    """
    source = layout.root / "src"
    folders = [source / package for package in packages] or [source]
    return [
        str(layout.venv / "bin" / "colcon"),
        *("--log-base", str(output / "log")),
        "build",
        *("--base-paths", *map(str, folders)),
        *("--build-base", str(output / "build")),
        *("--install-base", str(output / "install")),
        "--cmake-args",
        f"-DPython3_EXECUTABLE={layout.python}",
        "-DBUILD_TESTING=OFF",
    ]


def build_messages(layout: Layout, shell: Shell) -> None:
    """Mend the wheels' CMake files, then build and install physgen_msgs."""
    query = [str(layout.python), "-c", "import numpy; print(numpy.get_include())"]
    numpy_include = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    changed = mend_tree(site_packages(layout), sysconfig.get_path("include"), numpy_include)
    changed += mend_tree(layout.venv / "share", sysconfig.get_path("include"), numpy_include)
    shell.note(f"mended {changed} CMake files of the wheels")
    shell.run(
        colcon_build_command(layout, layout.home, ["physgen_msgs"]),
        env=build_environment(layout),
        cwd=layout.root,
        remedy=f"Look at the compiler's message above; removing {layout.home / 'build'} forces a fresh build.",
    )


def check_imports(layout: Layout, shell: Shell, environment: dict[str, str]) -> None:
    """Import the heavy packages once: proves the environment and writes the byte code that first use would wait for."""
    program = (
        "import numpy, torch, safetensors.torch, rclpy, sensor_msgs.msg, physgen_msgs.msg, rosbags, matplotlib.pyplot\n"
        "import sapien, gymnasium, mani_skill.envs\n"
        "print(sapien.render.get_device_summary())\n"
    )
    shell.run(
        [str(layout.python), "-c", program],
        env=environment,
        remedy=f"Remove {layout.home} and run the command again; if it repeats, report it with {shell.log}.",
    )
