# SPDX-License-Identifier: Apache-2.0
"""Set-up's plan: stamps follow their inputs, failures name the step, extras follow the command line."""

import subprocess
from pathlib import Path

import pytest

from physgen_setup import plan as plan_module
from physgen_setup import system_packages
from physgen_setup.cmake_paths import mend, mend_tree
from physgen_setup.environment import runtime_environment
from physgen_setup.errors import SetupError
from physgen_setup.extras import needed_extras
from physgen_setup.layout import Layout
from physgen_setup.plan import Step, StepFailedError, plan, run_plan
from physgen_setup.python_env import torch_attempts
from physgen_setup.shell import Console, Shell
from physgen_setup.stamps import StampFolder, digest
from physgen_setup.system_packages import apt_prefix, install_missing, missing_packages

ROOT = Path(__file__).resolve().parents[4]


def layout_in(folder: Path) -> Layout:
    return Layout.of(ROOT, {"PHYSGEN_HOME": str(folder)})


def test_digest_follows_content_and_not_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    two.write_text("b")
    before = digest([one, two])
    assert digest([two, one]) == before
    two.write_text("c")
    assert digest([one, two]) != before


def test_stamp_matches_only_its_key(tmp_path: Path) -> None:
    stamps = StampFolder(tmp_path / "stamps")
    assert not stamps.matches("torch", "k1")
    stamps.mark("torch", "k1")
    assert stamps.matches("torch", "k1")
    assert not stamps.matches("torch", "k2")
    stamps.clear("torch")
    assert not stamps.matches("torch", "k1")


def test_keys_depend_on_the_state_folder(tmp_path: Path) -> None:
    """A virtual environment does not survive being moved, so a moved state folder is built anew."""
    first = {step.name: step.key for step in plan(layout_in(tmp_path / "a"), {"dev"})}
    second = {step.name: step.key for step in plan(layout_in(tmp_path / "b"), {"dev"})}
    assert first["environment"] != second["environment"]
    assert first["messages"] != second["messages"]
    assert first["dev"] != second["dev"]
    assert first["system"] == second["system"]


def test_plan_lists_extras_last(tmp_path: Path) -> None:
    names = [step.name for step in plan(layout_in(tmp_path), {"viewer", "libero"})]
    assert names[:7] == ["system", "lavapipe", "environment", "packages", "torch", "messages", "check"]
    assert names[7:] == ["libero-system", "libero", "viewer"]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Replace the plan by three harmless steps; returns the record of those that ran."""
    ran: list[str] = []

    def act(name: str):
        def action(shell: Shell) -> None:
            ran.append(name)
            if (tmp_path / f"break-{name}").exists():
                shell.note("something is wrong here")
                raise SetupError(f"{name} is broken.", "Mend it.")

        return action

    fake = [
        Step(name=name, title=name, key=f"key-{name}", action=act(name)) for name in ("one", "two", "three")
    ]
    monkeypatch.setattr(plan_module, "plan", lambda _layout, _extras: fake)
    home = tmp_path / "home"
    (home / "venv" / "bin").mkdir(parents=True)
    (home / "venv" / "bin" / "python").touch()
    return ran


def test_finished_steps_are_not_repeated(steps: list[str], tmp_path: Path) -> None:
    layout = layout_in(tmp_path / "home")
    assert run_plan(layout, set(), Console()) == 3
    assert run_plan(layout, set(), Console()) == 0
    assert steps == ["one", "two", "three"]


def test_a_failed_step_is_named_and_set_up_resumes_there(steps: list[str], tmp_path: Path) -> None:
    layout = layout_in(tmp_path / "home")
    (tmp_path / "break-two").touch()
    with pytest.raises(StepFailedError) as failure:
        run_plan(layout, set(), Console())
    assert failure.value.position == 2
    assert failure.value.cause.remedy == "Mend it."
    assert "something is wrong here" in failure.value.log_tail
    (tmp_path / "break-two").unlink()
    assert run_plan(layout, set(), Console()) == 2
    assert steps == ["one", "two", "two", "three"]


def test_a_failing_command_is_in_the_log(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "log", Console())
    with pytest.raises(SetupError, match="ended with status 3"):
        shell.run(["bash", "-c", "echo told; exit 3"], remedy="x")
    assert "told" in shell.tail()
    assert shell.attempt(["no-such-program-here"]) == 127


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("demo", [], set()),
        ("launch", ["sim:=libero", "task:=libero_object/3"], {"libero"}),
        ("launch", ["task:=libero_object/3"], {"libero"}),
        ("launch", ["sim:=fake", "viewer:=rerun"], {"viewer"}),
        ("launch", ["viewer:=none"], set()),
        ("launch", ["teleop:=spacemouse"], set()),
        ("launch", ["teleop:=spacemouse", "teleop_device:=pyspacemouse"], {"teleop"}),
        ("teleop", ["spacemouse", "device:=pyspacemouse"], {"teleop"}),
        ("eval", ["--sim", "libero_object", "--task", "3"], {"libero"}),
        ("eval", ["--sim=maniskill", "--task=PushCube-v1"], set()),
        ("collect", ["--task", "libero_spatial/0"], {"libero"}),
        ("view", ["bag"], set()),
        ("view", ["bag", "--rerun"], {"viewer"}),
        ("view", ["bag", "--viewer=rerun_web"], {"viewer"}),
        ("view", ["runs/viewer.rrd"], {"viewer"}),
        ("demo", ["--viewer"], {"viewer"}),
        ("bench", ["viewer", "--rounds", "1"], {"viewer"}),
        ("bench", ["sim"], set()),
        ("eval", ["--through-ros", "--viewer", "rerun"], {"viewer"}),
        ("teleop", ["keyboard", "viewer:=rerun_web"], {"viewer"}),
        ("launch", ["teleop:=keyboard"], set()),
        ("physworld", ["run", "runs/pw"], {"physworld"}),
        ("test", [], {"dev", "physworld"}),
        ("convert", ["bags", "--format", "lerobot"], {"lerobot"}),
        ("convert", ["bags"], set()),
        ("eval", ["--policy", "lerobot", "--checkpoint", "runs/act"], {"peer"}),
        ("eval", ["--protocol", "lerobot"], set()),
        ("peer-train", ["data", "--out", "run"], {"peer"}),
        ("test", ["--all"], {"dev", "lerobot", "libero", "peer", "physworld", "viewer"}),
        ("launch", ["policy:=physworld", "checkpoint:=kit"], {"physworld"}),
        ("eval", ["--policy", "physworld", "--checkpoint", "kit"], {"physworld"}),
    ],
)
def test_extras_follow_the_command_line(command: str, arguments: list[str], expected: set[str]) -> None:
    assert needed_extras(command, arguments, {}) == expected


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("launch", ["teleop:=keyboard"], {"viewer"}),
        ("launch", ["teleop:=keyboard", "viewer:=none"], set()),
        ("launch", ["teleop:=gello"], set()),
        ("teleop", ["keyboard"], {"viewer"}),
    ],
)
def test_with_a_display_the_keyboard_brings_the_viewer(command, arguments, expected):
    assert needed_extras(command, arguments, {"DISPLAY": ":0"}) == expected


def test_a_folder_with_the_peer_is_used_as_it_is() -> None:
    assert needed_extras("peer-train", [], {"PHYSGEN_LEROBOT_PATH": "/packages"}) == set()


def test_the_peer_never_enters_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers and diffusers behave differently where torchvision can be imported."""
    commands: list[list[str]] = []
    shell = Shell(tmp_path / "log", Console())
    monkeypatch.setattr(shell, "run", lambda command, **_: commands.append(command))
    layout = layout_in(tmp_path)
    folder = tmp_path / "lerobot"
    (folder / "old").mkdir(parents=True)
    [step] = [step for step in plan(layout, {"peer"}) if step.name == "peer"]
    step.action(shell)
    assert commands[0][commands[0].index("--target") + 1] == str(folder)
    assert {"--no-deps", "--require-hashes"} <= set(commands[0])
    assert str(layout.lock("peer")) in commands[0]
    assert not (folder / "old").exists()


def test_libero_tests_need_libero_only_with_its_assets() -> None:
    assert needed_extras("test", [], {"PHYSGEN_LIBERO_ASSETS": "/assets"}) == {"dev", "libero", "physworld"}


def test_torch_prefers_the_small_build_without_a_gpu() -> None:
    plain = ["torch==2.13.0"]
    assert torch_attempts("2.13.0", False) == [["--no-deps", "torch==2.13.0+cpu"], plain]
    assert torch_attempts("2.13.0", True) == [plain]


def test_root_is_used_only_where_it_is_free() -> None:
    assert apt_prefix(is_root=True, has_sudo=False) == []
    assert apt_prefix(is_root=False, has_sudo=True) == ["sudo", "-n"]
    assert apt_prefix(is_root=False, has_sudo=False) is None


def test_missing_libraries_without_root_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Somebody without root is told exactly what to ask the administrator for."""
    monkeypatch.setattr(system_packages, "known_libraries", lambda: {"libvulkan.so.1", "libEGL.so.1"})
    monkeypatch.setattr(system_packages, "apt_prefix", lambda is_root, has_sudo: None)
    assert {"libegl-mesa0", "libgl1", "libosmesa6"} <= set(missing_packages(libero=True))
    assert "libosmesa6" not in missing_packages(libero=False)
    with pytest.raises(SetupError) as failure:
        install_missing(Shell(tmp_path / "log", Console()), libero=False)
    assert "libgl1" in failure.value.sentence
    assert "libvulkan1" not in failure.value.sentence
    assert "libgl1" in failure.value.remedy


CMAKE = (
    'set(a "/opt/python/cp312-cp312/include/python3.12;'
    "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include;"
    '/opt/python/cp311-cp311/lib/python3.11/site-packages/numpy/core/include")'
)


def test_cmake_paths_of_the_build_machine_are_replaced(tmp_path: Path) -> None:
    mended = 'set(a "/py/include;/np/include;/np/include")'
    assert mend(CMAKE, "/py/include", "/np/include") == mended
    assert mend(mended, "/other", "/other") == mended
    path = tmp_path / "share" / "x.cmake"
    path.parent.mkdir()
    path.write_text(CMAKE)
    assert mend_tree(tmp_path, "/py/include", "/np/include") == 1
    assert mend_tree(tmp_path, "/py/include", "/np/include") == 0
    assert path.read_text() == mended


def test_a_ros_installation_of_the_caller_is_hidden_and_choices_are_kept(tmp_path: Path) -> None:
    (tmp_path / "venv" / "lib" / "python3.11" / "site-packages" / "ros_rcl.libs").mkdir(parents=True)
    inherited = {
        "PATH": "/usr/bin",
        "PYTHONPATH": "/opt/ros/jazzy/lib/python3.12/site-packages",
        "AMENT_PREFIX_PATH": "/opt/ros/jazzy",
        "ROS_DOMAIN_ID": "7",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
    }
    environment = runtime_environment(layout_in(tmp_path), inherited)
    assert "/opt/ros" not in environment["PYTHONPATH"] + environment["AMENT_PREFIX_PATH"]
    assert environment["PYTHONPATH"].startswith(str(ROOT / "src" / "physgen_policy"))
    assert environment["ROS_DOMAIN_ID"] == "7"
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert "ros_rcl.libs" in environment["LD_LIBRARY_PATH"]
    assert Path(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()


def test_ignored_state_never_reaches_git() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    result = subprocess.run(["git", "check-ignore", "-q", ".physgen/venv/x"], cwd=ROOT, check=False)
    assert result.returncode == 0
