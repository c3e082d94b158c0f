# SPDX-License-Identifier: Apache-2.0
"""Run the product from a colcon install space while the source tree is out of reach.

Each command runs from a scratch folder, with the installed packages alone on PYTHONPATH and AMENT_PREFIX_PATH. Where
mount namespaces are allowed, an empty folder lies over the source tree; everywhere an audit hook notes which files are
opened, and one of the source tree fails the check.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from physgen_setup.environment import runtime_environment
from physgen_setup.layout import PYTHON_PACKAGES, Layout
from physgen_setup.python_env import site_packages_of

ROOT = Path(__file__).resolve().parents[2]
HOOK = """
import os, sys

def _note(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        path = os.path.abspath(arguments[0])
        if path.startswith(os.environ["PHYSGEN_NOTED_ROOT"]):
            handle = os.open(os.environ["PHYSGEN_NOTED_FILE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, (path + "\\n").encode())
            os.close(handle)

sys.addaudithook(_note)
"""
ACT = (
    ("launch", "episodes:=1", "max_steps:=16", "output_dir:=launched"),
    (
        "eval",
        "--task",
        "PushCube-v1",
        "--episodes",
        "1",
        "--max-steps",
        "8",
        "--workers",
        "1",
        "--out",
        "evaluated",
    ),
    ("model-info", "pushcube-tiny"),
)
LEARN = (
    ("collect", "--task", "PushCube-v1", "--episodes", "2", "--workers", "1", "--out", "bags"),
    ("train", "--finetune", "pushcube-tiny", "--bags", "bags", "--steps", "3", "--out", "trained"),
    (
        "train",
        "--finetune",
        "pushcube-tiny",
        "--bags",
        "bags",
        "--steps",
        "4",
        "--out",
        "trained",
        "--resume",
    ),
    ("model-info", "trained/checkpoint"),
    ("view", "bags", "--out", "bags.mp4"),
    ("convert", "bags", "--out", "dataset"),
)


def installed_environment(
    layout: Layout, install: Path, messages: Path, noted: Path, hook: Path
) -> dict[str, str]:
    """Return the runtime's environment with the source tree's packages replaced by the installed ones.

    Args:
        layout: Where set-up keeps what it made.
        install: colcon's install folder of the Python packages.
        messages: The prefix of physgen_msgs.
        noted: The file in which opened files of the source tree are noted.
        hook: The folder of the audit hook that notes them.
    """
    environment = runtime_environment(layout, os.environ)
    prefixes = [messages, *(install / name for name in PYTHON_PACKAGES)]
    profile = str(install / "physgen_bringup" / "share" / "physgen_bringup" / "config" / "fastdds.xml")
    return environment | {
        "PYTHONPATH": os.pathsep.join(
            map(str, [hook, *(site_packages_of(layout, prefix) for prefix in prefixes)])
        ),
        "AMENT_PREFIX_PATH": os.pathsep.join(map(str, [*prefixes, layout.venv])),
        "LD_LIBRARY_PATH": os.pathsep.join([str(messages / "lib"), environment["LD_LIBRARY_PATH"]]),
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,
        "PHYSGEN_NOTED_ROOT": str(ROOT / "src"),
        "PHYSGEN_NOTED_FILE": str(noted),
        "OMP_NUM_THREADS": "1",
    }


def cover() -> list[str]:
    """What to put before a command so that it finds the source tree empty; nothing where namespaces are not allowed."""
    source = str(ROOT / "src")
    words = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        f'mount -t tmpfs tmpfs "{source}" && exec "$@"',
        "sh",
    ]
    if shutil.which("unshare") is None:
        return []
    allowed = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    return words if allowed else []


def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> bool:
    """Run one command; print its output if it failed."""
    started = time.monotonic()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    words = " ".join(command[command.index("physgen_bringup.cli") + 1 :])
    print(f"   physgen {words}: status {done.returncode}, {time.monotonic() - started:.0f} s", flush=True)
    if done.returncode:
        print(done.stdout)
    return done.returncode == 0


def not_installed(install: Path) -> list[str]:
    """Files that a package may open at run time and that its setup file does not install, relative to the source tree.

    All files in its modules' folders and beside them in config, launch and checkpoints; same name and same size count.
    """
    missing = []
    for name in PYTHON_PACKAGES:
        there = {(path.name, path.stat().st_size) for path in (install / name).rglob("*") if path.is_file()}
        package = ROOT / "src" / name
        for folder in (name, "config", "launch", "checkpoints"):
            missing += [
                str(path.relative_to(ROOT))
                for path in sorted((package / folder).rglob("*"))
                if path.is_file()
                and "__pycache__" not in path.parts
                and (path.name, path.stat().st_size) not in there
            ]
    return missing


def main(install: Path, messages: Path) -> int:
    """Run every command from the install space; 1 if one fails or opens a file of the source tree.

    Args:
        install: colcon's install folder.
        messages: The prefix of physgen_msgs, which may have been built before.
    """
    layout = Layout.of(ROOT, os.environ)
    with tempfile.TemporaryDirectory(prefix="physgen_installed_") as name:
        folder = Path(name)
        hook, noted = folder / "hook", folder / "noted"
        hook.mkdir()
        (hook / "sitecustomize.py").write_text(HOOK)
        environment = installed_environment(layout, install, messages, noted, hook)
        cli = [str(layout.python), "-m", "physgen_bringup.cli"]
        covered = cover()
        if not covered:
            print("   mount namespaces are not allowed here: the source tree is only watched, not covered")

        def run_all(commands: Sequence[Sequence[str]]) -> bool:
            return all(run([*covered, *cli, *words], folder, environment) for words in commands)

        with ThreadPoolExecutor() as pool:
            good = all(pool.map(run_all, (ACT, LEARN)))
        opened = sorted(set(noted.read_text().split("\n")) - {""}) if noted.exists() else []
    for path in opened:
        print(f"   a file of the source tree was opened: {path}")
    missing = not_installed(install)
    for path in missing:
        print(f"   a file is not installed: {path}")
    return 0 if good and not opened and not missing else 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
