# SPDX-License-Identifier: Apache-2.0
"""Imports hf-libero and builds one environment; what the library asks, prints and writes on the way ends here.

Importing LIBERO asks a question on the terminal when its configuration file is missing, so a file is written first,
into the state folder and never into the home folder. The folder of assets is set on the module: the configuration's
own key for it is not read.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import hashlib
import importlib.util
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from physgen_control.errors import UserError
from physgen_control.program.user_folder import user_folder
from physgen_sim_bridge.libero.tasks import LiberoTask

CAMERAS = ("agentview", "robot0_eye_in_hand")
"""The benchmark's two cameras: opposite the robot, and on its hand."""

CONTROL_HZ = 20


def library_root() -> Path:
    """Return the folder of the installed library (BDDL files, initial states), without importing it.

    Raises:
        UserError: hf-libero is not installed.
    """
    spec = importlib.util.find_spec("libero")
    locations = list(spec.submodule_search_locations or []) if spec else []
    if not locations:
        raise UserError("LIBERO is not installed; run `physgen setup --sim libero`.")
    return Path(locations[0]) / "libero"


def bddl_path(task: LiberoTask) -> Path:
    """Return the file that describes the task's scene and goal.

    Raises:
        UserError: hf-libero is not installed.
    """
    return library_root() / "bddl_files" / task.suite / f"{task.name}.bddl"


def init_states_path(task: LiberoTask) -> Path:
    """Return the file of the task's stored initial states.

    Raises:
        UserError: hf-libero is not installed.
    """
    return library_root() / "init_files" / task.suite / f"{task.name}.pruned_init"


def check_bddl(task: LiberoTask) -> None:
    """Check that the task's description is the pinned file.

    Raises:
        UserError: It cannot be read, or is another one.
    """
    path = bddl_path(task)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"LIBERO's task {path} cannot be read: {error.strerror}.") from error
    if found != task.bddl_sha256:
        raise UserError(
            f"LIBERO's task {path} has SHA-256 {found[:12]}, but {task.bddl_sha256[:12]} is expected; install "
            "hf-libero 0.1.4 again with `physgen setup --sim libero`."
        )


def prepare_environment() -> None:
    """Set the variables that LIBERO, robosuite and MuJoCo read at import; those already set are kept."""
    home = os.environ.get("PHYSGEN_HOME", "")
    folder = Path(home) / "libero" if home else user_folder("libero")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("LIBERO_CONFIG_PATH", str(folder))
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))
    os.environ.setdefault("MESA_SHADER_CACHE_DIR", str(folder / "mesa"))
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder / "numba"))
    # Both give the same pixels; EGL complains when the process ends, so OSMesa is used where it is installed.
    os.environ.setdefault("MUJOCO_GL", "osmesa" if ctypes.util.find_library("OSMesa") else "egl")
    _write_configuration(Path(os.environ["LIBERO_CONFIG_PATH"]) / "config.yaml")


def _write_configuration(path: Path) -> None:
    root = library_root()
    keys = {
        "benchmark_root": root,
        "bddl_files": root / "bddl_files",
        "init_states": root / "init_files",
        "datasets": root / "datasets",
        "assets": root / "assets",
    }
    content = "".join(f"{key}: {value}\n" for key, value in keys.items())
    if path.is_file() and path.read_text() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Replaced in one go: several workers may start at once.
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(content)
    partial.replace(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what LIBERO prints to standard output away from the user's."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def make_native_env(task: LiberoTask, assets: Path, image_size: int, *, render: bool) -> Any:
    """Return LIBERO's environment of a task (the robosuite one, without LIBERO's wrapper).

    Its observables hold no images: the world renders by itself. The first import of LIBERO in a process fixes the
    assets folder for the whole process.

    Raises:
        UserError: LIBERO is not installed, or a file of the task is not the pinned one.
    """
    prepare_environment()
    with quiet():
        _quiet_robosuite()
        import libero.libero

        libero.libero._assets_path_cache = str(assets)
        import robosuite
        from libero.libero.envs import TASK_MAPPING, bddl_utils

        path = str(bddl_path(task))
        problem = bddl_utils.get_problem_info(path)
        return TASK_MAPPING[problem["problem_name"]](
            path,
            robots=["Panda"],
            controller_configs=robosuite.load_controller_config(default_controller="OSC_POSE"),
            gripper_types="default",
            initialization_noise=None,
            use_camera_obs=False,
            has_renderer=False,
            has_offscreen_renderer=render,
            control_freq=CONTROL_HZ,
            ignore_done=True,
            camera_names=list(CAMERAS),
            camera_heights=image_size,
            camera_widths=image_size,
        )


def _quiet_robosuite() -> None:
    """Drop robosuite's hints about a private settings file, which come as warnings at every import."""
    logging.getLogger("robosuite_logs").setLevel(logging.ERROR)
