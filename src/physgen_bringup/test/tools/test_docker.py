# SPDX-License-Identifier: Apache-2.0
"""The image recipes and compose files are consistent: parsed here, because building them needs Docker and a network."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from physgen_setup.python_env import read_pins

ROOT = Path(__file__).resolve().parents[4]
DOCKER = ROOT / "docker"
COMPOSE = sorted(DOCKER.glob("compose*.yaml"))
NEEDED = re.compile(r"\$\{(\w+)(?::?[-?][^}]*)?\}")


@pytest.fixture(scope="module")
def selection() -> ModuleType:
    spec = importlib.util.spec_from_file_location("select_requirements", DOCKER / "select_requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(name: str) -> dict[str, str]:
    return read_pins(ROOT / "requirements" / f"{name}.lock")


def stages() -> dict[str, str]:
    """Stage name -> what it is built from."""
    text = (DOCKER / "Dockerfile").read_text()
    return {name: base for base, name in re.findall(r"^FROM (\S+) AS (\S+)$", text, re.MULTILINE)}


def test_the_images_build_on_each_other() -> None:
    assert stages() == {"base": "ros:jazzy-ros-base", "policy": "base", "sim": "policy", "franka": "base"}


def test_every_copied_file_exists_and_is_not_ignored() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    allowed = {
        line[1:] for line in (DOCKER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        *sources, _ = [word for word in line.split() if not word.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] in allowed, source
    assert (DOCKER / "entrypoint.sh").stat().st_mode & stat.S_IXUSR


def test_the_containers_do_not_run_as_root() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        assert re.findall(r"^USER (\S+)$", stage, re.MULTILINE)[-1] == "${APP_USER}"


def test_pip_and_image_share_their_pins_but_for_numpy(selection: ModuleType) -> None:
    torch = read_pins(ROOT / "requirements" / "base.in")["torch"]
    known = pins("base") | pins("libero") | pins("lerobot") | {"torch": torch}
    chosen: dict[str, str] = {}
    for image in selection.IMAGES:
        part = selection.select(image)
        assert not set(part) & set(chosen), "a package is installed by two images"
        chosen |= part
    assert chosen.pop("numpy").startswith("1.")  # apt's cv_bridge is built against NumPy 1
    assert chosen == {name: known[name] for name in chosen}
    left_out = {n for n in pins("base") if n not in chosen and n != "numpy"}
    assert left_out == {n for n in pins("base") if n.startswith(selection.ROS_PREFIXES)} | (
        selection.FROM_APT & set(pins("base"))
    )
    for needed in ("torch", "diffusers", "peft", "safetensors", "rosbags", "mcap", "mani-skill", "hf-libero"):
        assert needed in chosen


def test_every_chosen_package_works_with_numpy_1(selection: ModuleType) -> None:
    from importlib import metadata

    from packaging.requirements import Requirement

    for image in selection.IMAGES:
        for name in selection.select(image):
            try:
                wanted = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue  # an extra that is not set up here
            for text in wanted:
                requirement = Requirement(text)
                applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
                if requirement.name == "numpy" and applies:
                    assert requirement.specifier.contains(selection.NUMPY), f"{name}: {text}"


def test_a_wrong_image_name_is_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, DOCKER / "select_requirements.py", "robot"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "choose one of base, torch, policy, sim" in done.stderr


@pytest.mark.parametrize("file", COMPOSE, ids=lambda f: f.name)
def test_compose_files_name_real_images_files_and_variables(file: Path) -> None:
    text = file.read_text()
    compose = yaml.safe_load(text)
    example = (DOCKER / ".env.example").read_text()
    for name in NEEDED.findall(text):
        assert f"\n{name}=" in f"\n{example}" or "${" + name + ":-" in text, name
    for service in compose["services"].values():
        build = service["build"]
        assert build["target"] in stages()
        assert (DOCKER / build["context"] / build["dockerfile"]).is_file()
        assert service["image"] == f"physgen:{build['target']}"
        assert "privileged" not in service
        assert service["network_mode"] == "host"


def service(file: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / file).read_text())["services"][name]
    return found


@pytest.mark.parametrize("file", ["compose.yaml", "compose.realtime.yaml"])
def test_the_arm_may_run_in_real_time_and_reach_its_devices(file: str) -> None:
    arm = service(file, "arm")
    assert arm["ulimits"] == {"rtprio": 99, "rttime": -1, "memlock": -1}
    assert set(arm["cap_add"]) == {"SYS_NICE", "IPC_LOCK"}
    assert {"c 81:* rmw", "c 189:* rmw"} <= set(arm["device_cgroup_rules"])
    assert "mode:=${MODE:-shadow}" in arm["command"]  # nothing moves before somebody says so and arms it
    assert "\nMODE=shadow\n" in (DOCKER / ".env.example").read_text()
    assert "deploy" not in arm  # no GPU on a PREEMPT_RT kernel


def commands(program: str) -> list[list[str]]:
    """The words after `program` in every compose command, with the values of .env.example and the defaults."""
    example = dict(
        line.split("=", 1)
        for line in (DOCKER / ".env.example").read_text().splitlines()
        if "=" in line and line[0] != "#"
    )
    # Not in the example: whoever starts without them is told so by compose.
    example |= {"FIXED_CAMERA_SERIAL": "831612073525", "WRIST_CAMERA_SERIAL": "831612073526"}

    def value(match: re.Match[str]) -> str:
        default = match.group(0).partition(":-")[2].rstrip("}")
        return example.get(match.group(1), default)

    found = []
    for file in COMPOSE:
        for service in yaml.safe_load(file.read_text())["services"].values():
            text = NEEDED.sub(value, service.get("command", ""))
            if text.startswith(program):
                found.append(shlex.split(text.removeprefix(program)))
    return found


def test_the_launch_commands_of_the_arm_and_the_simulation_are_accepted() -> None:
    """As the launch file checks them: every value and every combination, not only the names."""
    from physgen_bringup.graph.arguments import parse_arguments
    from physgen_bringup.graph.checks import check_arguments

    launches = commands("ros2 launch physgen_bringup franka.launch.py")
    assert len(launches) == 3
    for words in launches:
        arguments = check_arguments(parse_arguments(words), have_ros=True)
        assert arguments.mode == ("armed" if arguments.simulated else "shadow")


def test_a_cells_own_files_reach_launch_file_and_policy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What .env names is mounted and stands in the commands, where both programs take it."""
    from physgen_bringup.graph.arguments import parse_arguments

    mounts = [
        mount
        for file in COMPOSE
        for s in yaml.safe_load(file.read_text())["services"].values()
        for mount in s.get("volumes", [])
    ]
    assert any(mount.endswith(":/cell:ro") for mount in mounts)
    named = "params_file:=/cell/arm.yaml calibration_file:=/cell/cameras.yaml camera_reference:=/cell/reference.png"
    example = (DOCKER / ".env.example").read_text().replace("LAUNCH_ARGUMENTS=", f"LAUNCH_ARGUMENTS={named}")
    for file in (*COMPOSE, DOCKER / ".env.example"):
        (tmp_path / file.name).write_text(example if file.name == ".env.example" else file.read_text())
    monkeypatch.setattr(sys.modules[__name__], "DOCKER", tmp_path)
    arms = [
        words for words in commands("ros2 launch physgen_bringup franka.launch.py") if "sim:=none" in words
    ]
    assert len(arms) == 2
    for words in arms:
        given = parse_arguments(words)
        assert given.params_file == "/cell/arm.yaml" and given.calibration_file == "/cell/cameras.yaml"
        assert given.camera_reference == "/cell/reference.png" and given.mode == "shadow"


def test_the_policy_beside_a_real_arm_runs_in_real_time() -> None:
    """Its node's own default waits for a stepped world."""
    from physgen_policy.nodes.policy_parameters import PolicyNodeConfig

    policies = commands("ros2 run physgen_policy policy_node --ros-args")
    assert len(policies) == 2
    for words in policies:
        given: dict[str, Any] = dict(word.split(":=") for word in words if word != "-p")
        assert PolicyNodeConfig(**given).pace == "realtime"


def test_two_computers_speak_the_same_middleware_and_only_to_each_other() -> None:
    arm, policy = service("compose.realtime.yaml", "arm"), service("compose.gpu.yaml", "policy")
    for key in ("ROS_DOMAIN_ID", "RMW_IMPLEMENTATION"):
        assert arm["environment"][key] == policy["environment"][key]
    assert "GPU_PC_IP" in arm["environment"]["ROS_STATIC_PEERS"]
    assert "REALTIME_PC_IP" in policy["environment"]["ROS_STATIC_PEERS"]


def test_the_sources_of_the_arm_are_pinned() -> None:
    sources = yaml.safe_load((DOCKER / "franka.repos").read_text())["repositories"]
    assert set(sources) == {"franka_ros2", "franka_description", "libfranka", "ros2_control"}
    for source in sources.values():
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", source["version"])
    meta = json.loads((DOCKER / "franka.meta").read_text())["names"]
    assert all("-DCMAKE_BUILD_TYPE=Release" in package["cmake-args"] for package in meta.values())


def test_rosdep_keys_are_packages_of_the_lock_files() -> None:
    known = pins("base") | pins("lerobot") | pins("libero")
    keys = yaml.safe_load((ROOT / "rosdep" / "physgen.yaml").read_text())
    for key, rule in keys.items():
        (package,) = rule["ubuntu"]["pip"]["packages"]
        assert key == f"python3-{package}-pip"
        assert package in known


def test_host_files_have_the_syntax_of_their_readers() -> None:
    for line in (DOCKER / "host/99-realtime.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(
                r"@realtime (soft|hard) ((rtprio|memlock|priority) (99|unlimited)|nice -10)", line
            )
    for line in (DOCKER / "udev/99-physgen.rules").read_text().splitlines():
        if line and not line.startswith("#"):
            for part in re.split(r",\s*(?=[A-Z])", line):
                assert re.fullmatch(r'[A-Z]+(\{\w+\})?(==|=)"[^"]+"', part), part
