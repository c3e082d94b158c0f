# SPDX-License-Identifier: Apache-2.0
"""A software Vulkan driver new enough for SAPIEN: the system's lavapipe, or Debian's backport unpacked beside it.

SAPIEN accepts a CPU device only when it offers VK_KHR_ray_tracing_pipeline; Debian 12's Mesa 22.3 does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from physgen_setup.apt_sources import debian_mirrors, read_sources
from physgen_setup.errors import SetupError
from physgen_setup.layout import Layout
from physgen_setup.shell import Shell

OLDEST_USABLE = (24, 3)
PACKAGE = "mesa-vulkan-drivers"
VERSION = "25.0.7-2~bpo12+1"
SUITE = "bookworm-backports"
SHA256 = {"amd64": "3899f1800424c60a05df5d6913076a526ca8fdbabec43672cd397563d1ca3263"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARY = "libvulkan_lvp.so"
REMEDY = (
    "Install Mesa's Vulkan drivers 24.3 or newer (Debian 13, or Ubuntu 24.04 with updates: sudo apt-get install "
    "mesa-vulkan-drivers; Debian 12: the package from bookworm-backports), or use the project's Docker image."
)


def mesa_version(library: bytes) -> tuple[int, int] | None:
    """Return Mesa's (major, minor) from a driver library's content; None when it does not say."""
    match = re.search(rb"Mesa (\d+)\.(\d+)\.\d+", library)
    return (int(match[1]), int(match[2])) if match else None


def icd_text(library: Path) -> str:
    """Return a Vulkan driver description that names one library by its absolute path."""
    description = {
        "file_format_version": "1.0.0",
        "ICD": {"api_version": "1.3.0", "library_path": str(library)},
    }
    return json.dumps(description, indent=2) + "\n"


def usable_system_library() -> Path | None:
    """Return the system's lavapipe when it is new enough."""
    for pattern in (f"lib/*/{LIBRARY}", f"lib64/{LIBRARY}", f"lib/{LIBRARY}"):
        for path in sorted(Path("/usr").glob(pattern)):
            version = mesa_version(path.read_bytes())
            if version is not None and version >= OLDEST_USABLE:
                return path
    return None


def private_apt_configuration(folder: Path, sources: Path, acquire_lines: str) -> str:
    """Return an apt configuration that touches nothing of the system's: own sources, lists and cache, no hooks.

    Args:
        folder: Where the private lists and cache go.
        sources: The one-line sources list to use.
        acquire_lines: The `Acquire::` lines of `apt-config dump` (proxies and the like stay in force).
    """
    lines = [
        line for line in acquire_lines.splitlines() if re.match(r"Acquire::(http|https|ftp|Retries)", line)
    ]
    lines += [
        'Dir::Etc::Parts "/dev/null";',
        'Dir::Etc::Main "/dev/null";',
        f'Dir::Etc::SourceList "{sources}";',
        'Dir::Etc::SourceParts "/dev/null";',
        'Dir::Etc::Preferences "/dev/null";',
        'Dir::Etc::PreferencesParts "/dev/null";',
        f'Dir::State::Lists "{folder / "lists"}";',
        f'Dir::Cache "{folder / "cache"}";',
        'Acquire::Languages "none";',
        # The private folders belong to this user, so apt's own unprivileged user could not write there.
        'APT::Sandbox::User "root";',
    ]
    return "\n".join(lines) + "\n"


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in text.splitlines())}


def _download(layout: Layout, shell: Shell, mirror: str) -> Path | None:
    """Fetch the pinned package from one mirror; None when that mirror does not give it."""
    folder = layout.downloads / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n", encoding="utf-8")
    configuration = folder / "apt.conf"
    text = private_apt_configuration(folder, sources, _output(["apt-config", "dump"]))
    configuration.write_text(text, encoding="utf-8")
    env = {"APT_CONFIG": str(configuration)}
    if shell.attempt(["apt-get", "-q", "update"], env=env, cwd=folder) != 0:
        return None
    if shell.attempt(["apt-get", "-q", "download", f"{PACKAGE}={VERSION}"], env=env, cwd=folder) != 0:
        return None
    return next(iter(sorted(folder.glob(f"{PACKAGE}_*.deb"))), None)


def _fetch(layout: Layout, shell: Shell, architecture: str) -> Path:
    """Return the pinned package's archive, downloaded if it is not there yet, with the right checksum.

    Raises:
        SetupError: It cannot be fetched, or is another file.
    """
    archive = layout.downloads / f"{PACKAGE}_25.0.7_{architecture}.deb"
    if not archive.is_file():
        if not KEYRING.is_file():
            raise SetupError(
                f"Debian's key ring {KEYRING} is missing.", "sudo apt-get install debian-archive-keyring"
            )
        mirrors = debian_mirrors(read_sources(Path("/etc/apt")), "bookworm")
        if not mirrors:
            raise SetupError("No Debian mirror is configured in /etc/apt.", REMEDY)
        fetched = next(filter(None, (_download(layout, shell, mirror) for mirror in mirrors)), None)
        if fetched is None:
            raise SetupError(f"{PACKAGE} {VERSION} could not be fetched from {', '.join(mirrors)}.", REMEDY)
        fetched.replace(archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256[architecture]:
        archive.unlink()
        raise SetupError(
            f"{archive.name} has the checksum {found}, expected {SHA256[architecture]}; the file was removed.",
            "Run the command again; if it repeats, the mirror is broken.",
        )
    return archive


def install_lavapipe(layout: Layout, shell: Shell) -> None:
    """Write `mesa/lvp.json`, the driver description of a lavapipe that SAPIEN accepts.

    Raises:
        SetupError: No usable driver on this machine and none can be fetched; says what to install.
    """
    layout.mesa.mkdir(parents=True, exist_ok=True)
    library = usable_system_library()
    if library is None:
        release = _os_release()
        architecture = (
            _output(["dpkg", "--print-architecture"]) if shutil.which("dpkg") else os.uname().machine
        )
        name = release.get("PRETTY_NAME", "this system")
        if release.get("VERSION_CODENAME") != "bookworm" or release.get("ID") != "debian":
            raise SetupError(
                f"{name} has no lavapipe (Mesa's software Vulkan driver) of version 24.3 or newer.", REMEDY
            )
        if architecture not in SHA256:
            raise SetupError(f"No lavapipe is pinned for the architecture {architecture}.", REMEDY)
        archive = _fetch(layout, shell, architecture)
        unpacked = layout.mesa / "root"
        shutil.rmtree(unpacked, ignore_errors=True)
        shell.run(
            ["dpkg", "-x", str(archive), str(unpacked)], remedy=f"Remove {archive} and run the command again."
        )
        library = next(unpacked.glob(f"usr/lib/*/{LIBRARY}"))
    unresolved = re.findall(r"^\s*(\S+) => not found", _output(["ldd", str(library)]), flags=re.MULTILINE)
    if unresolved:
        raise SetupError(
            f"The Vulkan driver {library} lacks {', '.join(unresolved)}.",
            "Install the system's own mesa-vulkan-drivers package (it brings these libraries) and run again.",
        )
    shell.note(f"lavapipe: {library}")
    (layout.mesa / "lvp.json").write_text(icd_text(library), encoding="utf-8")
