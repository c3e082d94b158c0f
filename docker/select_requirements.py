# SPDX-License-Identifier: Apache-2.0
"""Choose what an image installs from requirements/*.lock, the pins of the pip runtime; standard library only.

Left out is what apt brings on a full ROS 2 (rclpy, colcon, messages, OpenCV). NumPy is the one pin that differs:
apt's cv_bridge is built against NumPy 1.

usage: select_requirements.py base|torch|policy|sim
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

NUMPY = "1.26.4"
"""The last NumPy 1; Ubuntu 24.04 has 1.26.4 too."""

# Names that begin so, or are these, come with the full ROS installation.
ROS_PREFIXES = ("ros-", "colcon-")
FROM_APT = {
    "catkin-pkg",
    "empy",
    "lark",
    "matplotlib",
    "opencv-python",
    "packaging",
    "pip",
    "psutil",
    "pyyaml",
    "setuptools",
    "wheel",
}
# The recorder, the bags and the commands: everything that runs beside the arm without torch.
BASE = {
    "backports-zstd",
    "imageio",
    "imageio-ffmpeg",
    "lz4",
    "markdown-it-py",
    "mcap",
    "mcap-ros2-support",
    "mdurl",
    "numpy",
    "pillow",
    "pygments",
    "rich",
    "rosbags",
    "ruamel-yaml",
    "typing-extensions",
    "zstandard",
}
SIMULATORS = {
    "arm-pytorch-utilities",
    "dacite",
    "farama-notifications",
    "gymnasium",
    "h5py",
    "ipython",
    "mani-skill",
    "nvidia-ml-py",
    "pytorch-kinematics",
    "pytorch-seed",
    "sapien",
    "transforms3d",
    "trimesh",
    "tyro",
}
IMAGES = ("base", "torch", "policy", "sim")


def folder() -> Path:
    """Return the folder of the lock files: beside this file in an image, in the checkout otherwise."""
    here = Path(__file__).resolve().parent
    return next(path for path in (here / "requirements", here.parent / "requirements") if path.is_dir())


def read_pins(name: str) -> dict[str, str]:
    """Return name -> version of the exact requirements of a file in requirements/."""
    text = (folder() / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", text, re.MULTILINE))


def select(image: str) -> dict[str, str]:
    """Return name -> version of what an image adds to the one below it.

    Raises:
        SystemExit: There is no such image, or a pin is missing.
    """
    if image not in IMAGES:
        raise SystemExit(f"select_requirements.py: choose one of {', '.join(IMAGES)}, got {image!r}")
    pins = {
        name: version
        for name, version in read_pins("base.lock").items()
        if not name.startswith(ROS_PREFIXES) and name not in FROM_APT
    }
    pins["numpy"] = NUMPY
    missing = sorted((BASE | SIMULATORS) - set(pins))
    if missing:
        raise SystemExit(f"select_requirements.py: requirements/base.lock has no {', '.join(missing)}")
    if image == "base":
        # pyarrow: `physgen convert --format lerobot`.
        return {name: pins[name] for name in BASE} | read_pins("lerobot.lock")
    if image == "torch":
        return {"torch": read_pins("base.in")["torch"]}
    if image == "sim":
        libero = {name: version for name, version in read_pins("libero.lock").items() if name not in FROM_APT}
        return {name: pins[name] for name in SIMULATORS} | libero
    return {name: version for name, version in pins.items() if name not in BASE | SIMULATORS}


def main() -> None:
    """Print the requirements of an image, one per line."""
    image = sys.argv[1] if len(sys.argv) == 2 else ""
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(select(image).items()))


if __name__ == "__main__":
    main()
