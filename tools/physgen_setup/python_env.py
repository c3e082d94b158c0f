# SPDX-License-Identifier: Apache-2.0
"""The virtual environment and what pip puts into it: what the lock files name, each file checked by its hash."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from physgen_setup.layout import Layout
from physgen_setup.shell import Shell

PIP_REMEDY = (
    "Check the network and the package index (PIP_INDEX_URL, pip.conf), then run the command again: finished "
    "steps are not repeated."
)


def read_pins(path: Path) -> dict[str, str]:
    """Return name -> version of the exact requirements of a `.lock` or `.in` file."""
    return dict(re.findall(r"^([a-z0-9][\w.-]*)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def has_nvidia_gpu() -> bool:
    """Return whether an NVIDIA GPU answers."""
    if shutil.which("nvidia-smi") is None:
        return False
    listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listing.returncode == 0 and "GPU" in listing.stdout


def torch_attempts(version: str, gpu: bool) -> list[list[str]]:
    """Return pip's arguments to try in turn for torch.

    The CPU build is a quarter of the download, but only some indexes have it. The plain build brings NVIDIA's
    libraries, which no lock lists; its other dependencies are there already.
    """
    plain = [f"torch=={version}"]
    return [plain] if gpu else [["--no-deps", f"torch=={version}+cpu"], plain]


def _pip(layout: Layout) -> list[str]:
    # --no-compile: byte code is written at first import, for the few files that are ever imported.
    options = [
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "--retries",
        "5",
        "--no-compile",
    ]
    return [str(layout.python), "-m", "pip", "install", *options]


def environment_key_words(layout: Layout) -> list[str]:
    """Return what makes an existing virtual environment unusable when it changes."""
    return [sys.version, os.path.realpath(sys.executable), str(layout.home)]


def create_environment(layout: Layout, shell: Shell) -> None:
    """Create an empty virtual environment, replacing any old one."""
    shutil.rmtree(layout.venv, ignore_errors=True)
    remedy = f"Install the venv module of this Python (Debian: python3.{sys.version_info.minor}-venv)."
    shell.run([sys.executable, "-m", "venv", str(layout.venv)], remedy=remedy)


def torch_version(layout: Layout) -> str:
    """Return the version of torch, which is no part of a lock: every index has another build of it."""
    return read_pins(layout.lock("base").with_suffix(".in"))["torch"]


def install_torch(layout: Layout, shell: Shell) -> None:
    """Install torch: the CPU build if it can be had and there is no GPU, else the plain one."""
    index = os.environ.get("PHYSGEN_TORCH_INDEX", "")
    extra = ["--extra-index-url", index] if index else []
    attempts = torch_attempts(torch_version(layout), has_nvidia_gpu())
    for arguments in attempts[:-1]:
        if shell.attempt([*_pip(layout), *extra, *arguments]) == 0:
            return
    shell.run([*_pip(layout), *extra, *attempts[-1]], remedy=PIP_REMEDY)


def install_lock(layout: Layout, shell: Shell, name: str) -> None:
    """Install exactly what a lock file lists; a file with another hash is refused."""
    # Isolation would fetch a newer setuptools for the few source archives; the pinned one builds them.
    isolation = [] if name == "base" else ["--no-build-isolation"]
    command = [*_pip(layout), "--no-deps", "--require-hashes", *isolation, "-r", str(layout.lock(name))]
    shell.run(command, remedy=PIP_REMEDY)


def install_into_folder(layout: Layout, shell: Shell, name: str, folder: Path) -> None:
    """Install exactly what a lock file lists into an emptied folder, outside the environment."""
    shutil.rmtree(folder, ignore_errors=True)
    options = ["--no-deps", "--require-hashes", "--no-build-isolation", "--target", str(folder)]
    shell.run([*_pip(layout), *options, "-r", str(layout.lock(name))], remedy=PIP_REMEDY)


def site_packages(layout: Layout) -> Path:
    """Return the environment's site-packages folder.

    Raises:
        FileNotFoundError: The environment does not exist.
    """
    for path in sorted((layout.venv / "lib").glob("python3.*/site-packages")):
        return path
    raise FileNotFoundError(layout.venv)


def site_packages_of(layout: Layout, prefix: Path) -> Path:
    """Return where a colcon prefix holds its Python modules: the environment's library folder name, below `prefix`."""
    tag = site_packages(layout).parent.name
    assert re.fullmatch(r"python3\.\d+", tag), tag
    return prefix / "lib" / tag / "site-packages"
