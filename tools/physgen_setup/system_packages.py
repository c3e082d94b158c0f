# SPDX-License-Identifier: Apache-2.0
"""The parts that only the operating system can provide: which are missing, and how to get them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Collection
from pathlib import Path

from physgen_setup.errors import SetupError
from physgen_setup.shell import Shell

# Shared library -> Debian and Ubuntu package. EGL and GL are opened by SAPIEN and OpenCV, Vulkan by SAPIEN.
LIBRARIES = {
    "libvulkan.so.1": "libvulkan1",
    "libEGL.so.1": "libegl1",
    "libEGL_mesa.so.0": "libegl-mesa0",
    "libGL.so.1": "libgl1",
}
# MuJoCo's renderer without a display; newer distributions no longer have it, and then EGL is used.
LIBERO_LIBRARIES = {"libOSMesa.so.8": "libosmesa6"}
# Generated message code is compiled on this machine.
PROGRAMS = {"g++": "g++", "make": "make", "cmake": "cmake"}
VULKAN_ICD_FOLDERS = (Path("/usr/share/vulkan/icd.d"), Path("/etc/vulkan/icd.d"))


def known_libraries() -> set[str]:
    """Return the sonames the dynamic linker knows."""
    for program in ("ldconfig", "/sbin/ldconfig", "/usr/sbin/ldconfig"):
        if shutil.which(program):
            listing = subprocess.run([program, "-p"], capture_output=True, text=True, check=False).stdout
            return set(re.findall(r"^\s+(\S+) \(", listing, flags=re.MULTILINE))
    return set()


def system_icd_files() -> list[Path]:
    """Return the lavapipe driver descriptions the operating system has."""
    return [path for folder in VULKAN_ICD_FOLDERS for path in sorted(folder.glob("lvp_icd*.json"))]


def missing_packages(libero: bool) -> list[str]:
    """Return the Debian/Ubuntu packages that would provide what this machine lacks."""
    libraries = LIBRARIES | LIBERO_LIBRARIES if libero else LIBRARIES
    present = known_libraries()
    missing = [package for soname, package in libraries.items() if soname not in present]
    if not system_icd_files():
        # Its own lavapipe may be too old, but its dependencies are the ones the newer one needs too.
        missing.append("mesa-vulkan-drivers")
    missing += [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    python = f"python3.{sys.version_info.minor}"
    if importlib.util.find_spec("ensurepip") is None:
        missing.append(f"{python}-venv")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        missing.append(f"{python}-dev")
    return missing


def apt_prefix(is_root: bool, has_sudo: bool) -> list[str] | None:
    """Return what to put before `apt-get` to become root without a password; None when that is impossible."""
    if is_root:
        return []
    return ["sudo", "-n"] if has_sudo else None


def _by_hand(packages: Collection[str]) -> str:
    return (
        f"Install them and run the command again: sudo apt-get install --no-install-recommends {' '.join(packages)} "
        "(other distributions: the packages with the same libraries)."
    )


def install_missing(shell: Shell, libero: bool) -> None:
    """Install what is missing through apt; do nothing when nothing is.

    Raises:
        SetupError: Something is missing and cannot be installed from here; says what.
    """
    packages = missing_packages(libero)
    shell.note(f"missing system packages: {' '.join(packages) or 'none'}")
    if not packages:
        return
    sentence = f"These system packages are missing: {' '.join(packages)}."
    if shutil.which("apt-get") is None:
        raise SetupError(sentence, _by_hand(packages))
    has_sudo = shutil.which("sudo") is not None and shell.attempt(["sudo", "-n", "true"]) == 0
    prefix = apt_prefix(os.geteuid() == 0, has_sudo)
    if prefix is None:
        raise SetupError(f"{sentence} Installing them needs root.", _by_hand(packages))
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-o", "Acquire::Retries=3"]
    # A stale or third-party index that fails to refresh must not stop an installation that would work without it.
    shell.attempt([*apt, "update"])
    shell.run([*apt, "install", "-y", "--no-install-recommends", *packages], remedy=_by_hand(packages))
    still = [package for package in missing_packages(libero) if package not in LIBERO_LIBRARIES.values()]
    if still:
        raise SetupError(f"Still missing after the installation: {' '.join(still)}.", _by_hand(still))
