# SPDX-License-Identifier: Apache-2.0
"""Where things lie: the repository's folders and the state folder that set-up fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PYTHON_PACKAGES = (
    "physgen_policy",
    "physgen_control",
    "physgen_sim_bridge",
    "physgen_physworld",
    "physgen_bringup",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Absolute paths of one checkout (`root`) and of its state folder (`home`)."""

    root: Path
    home: Path

    @classmethod
    def of(cls, root: Path, environment: Mapping[str, str]) -> Layout:
        """Return the layout of a checkout; `PHYSGEN_HOME` overrides the state folder `ROOT/.physgen`."""
        chosen = environment.get("PHYSGEN_HOME", "")
        home = Path(chosen).expanduser().absolute() if chosen else root / ".physgen"
        return cls(root=root, home=home)

    @property
    def venv(self) -> Path:
        """The virtual environment."""
        return self.home / "venv"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def mesa(self) -> Path:
        """The lavapipe unpacked beside the system's Mesa, and the ICD file in use."""
        return self.home / "mesa"

    def own_folder(self, name: str) -> Path:
        """Packages that must not enter the virtual environment; see `extras.OWN_FOLDERS`."""
        return self.home / name

    @property
    def downloads(self) -> Path:
        """Downloaded archives and apt's private folders."""
        return self.home / "downloads"

    @property
    def logs(self) -> Path:
        """Set-up logs and ROS logs."""
        return self.home / "logs"

    @property
    def stamps(self) -> Path:
        """One file per finished step, see `stamps.py`."""
        return self.home / "stamps"

    @property
    def install(self) -> Path:
        """Colcon's install folder; holds physgen_msgs."""
        return self.home / "install"

    @property
    def messages(self) -> Path:
        """The installed prefix of physgen_msgs."""
        return self.install / "physgen_msgs"

    @property
    def source_packages(self) -> list[Path]:
        """The folders that put the Python packages on the module path, so that edits need no rebuild."""
        return [self.root / "src" / name for name in PYTHON_PACKAGES]

    def lock(self, name: str) -> Path:
        """Return the path of the lock file `name`."""
        return self.root / "requirements" / f"{name}.lock"
