# SPDX-License-Identifier: Apache-2.0
import importlib.util

import pytest

from physgen_bringup.commands import evaluate, launch
from physgen_bringup.graph.arguments import ARGUMENTS, LaunchArguments, argument_table, parse_arguments
from physgen_bringup.graph.checks import check_arguments
from physgen_bringup.graph.viewer_choice import default_viewer
from physgen_control.errors import UserError


def sentence_of(*words: str, have_ros: bool = False) -> str:
    """The one sentence that refuses these arguments."""
    with pytest.raises(UserError) as caught:
        check_arguments(parse_arguments(words), have_ros=have_ros)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 500  # the longest names every argument
    return text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["simm:=fake"], "did you mean 'sim'"),
        (["fake"], "name:=value"),
        (["sim=fake"], "name:=value"),
        (["wibble:=1"], "known are sim, task"),
        (["sim:=gazebo"], "maniskill, libero, fake, none"),
        (["sim:=maniskil"], "did you mean 'maniskill'"),
        (["sim:=fake", "sim:=fake"], "given twice"),
        (["episodes:=0"], ">= 1"),
        (["episodes:=many"], "whole number"),
        (["seed:=-1"], "whole number"),
        (["record:=yes"], "true or false"),
        (["camera_profile:=big"], "640x480x30"),
        (["sim:=fake", "policy:=replay"], "bag_dir"),
        (["sim:=fake", "policy:=replay", "bag_dir:=/no/such/folder"], "not a folder"),
        (["sim:=none"], "robot_ip"),
        (["sim:=none", "robot_ip:=1.2.3.4", "policy:=expert"], "policy:=physgen"),
        (["sim:=none", "robot_ip:=1.2.3.4", "mode:=armed"], "fixed_camera_serial"),
        (["sim:=none", "robot_ip:=1.2.3.4"], "Docker"),
        (["sim:=fake", "robot_ip:=1.2.3.4"], "sim:=none"),
        (["sim:=fake", "use_fake_hardware:=true"], "sim:=none"),
        (["sim:=fake", "policy:=expert", "mode:=shadow"], "pace:=realtime"),
        (["sim:=fake", "policy:=expert", "execution:=pipelined"], "pace:=realtime"),
        (["sim:=fake", "task:=FrankaPick-v0", "policy:=expert", "pace:=lockstep"], "does not wait"),
        (["sim:=fake", "policy:=expert", "rviz:=true"], "sim:=none"),
        (["sim:=fake", "policy:=expert", "calibration_file:=x.yaml"], "sim:=none"),
        (["sim:=none", "robot_ip:=1.2.3.4", "pace:=lockstep"], "does not wait"),
        (["sim:=none", "robot_ip:=1.2.3.4", "calibration_file:=/no/such.yaml"], "cannot be read"),
        (["sim:=fake", "policy:=none"], "policy:=physgen"),
        (["sim:=fake", "policy:=none"], "teleop:=keyboard"),
        (["sim:=fake", "policy:=expert", "teleop:=mouse"], "keyboard, spacemouse, gello, joy, script"),
        (["sim:=fake", "policy:=none", "teleop:=keyboard", "pace:=lockstep"], "drop pace:=lockstep"),
        (["sim:=fake", "policy:=expert", "teleop_device:=/dev/input/js0"], "add teleop:=joy"),
        (["sim:=fake", "policy:=none", "teleop:=gello", "teleop_device:=x"], "no meaning"),
        (["sim:=fake", "policy:=expert", "teleop:=script"], "use policy:=none"),
        (["sim:=none", "robot_ip:=1.2.3.4", "policy:=none", "teleop:=script"], "and a sim"),
        (["sim:=fake", "policy:=none", "teleop:=spacemouse", "teleop_device:=hid"], "pyspacemouse"),
        (["sim:=fake", "policy:=none", "teleop:=joy", "checkpoint:=x"], "policy:=physgen"),
        (["sim:=none", "robot_ip:=1.2.3.4", "policy:=none", "teleop:=joy", "record:=true"], "instruction"),
        (["sim:=fake", "policy:=expert", "viewer:=rviz"], "none, rerun, rerun_web"),
        (["sim:=fake", "policy:=expert", "task:=FakeFly-v0"], "FakePush-v0"),
        (["sim:=maniskill", "policy:=expert", "task:=PushCub-v1"], "PushCube-v1"),
        (["sim:=fake", "policy:=expert", "params_file:=/no/such.yaml"], "does not exist"),
        (["sim:=fake", "policy:=expert", "checkpoint:=x"], "policy:=physgen"),
    ],
)
def test_bad_arguments_are_one_sentence_that_says_what_to_change(words, expected):
    assert expected in sentence_of(*words)


def test_a_missing_simulator_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "physgen setup --sim libero" in sentence_of("sim:=libero", "policy:=expert")


@pytest.mark.parametrize("viewer", ["rerun", "rerun_web"])
def test_a_viewer_that_is_not_installed_names_the_command_that_installs_it(monkeypatch, viewer):
    monkeypatch.setattr("physgen_bringup.graph.checks.is_installed", lambda: False)
    assert "physgen setup --viewer" in sentence_of("sim:=fake", "policy:=expert", f"viewer:={viewer}")


@pytest.mark.parametrize(
    ("teleop", "environment", "expected"),
    [
        ("keyboard", {"DISPLAY": ":0"}, "rerun"),
        ("keyboard", {"WAYLAND_DISPLAY": "wayland-0"}, "rerun"),
        ("keyboard", {}, "none"),
        ("joy", {"DISPLAY": ":0"}, "none"),
    ],
)
def test_a_person_at_the_keyboard_sees_where_there_is_a_display(monkeypatch, teleop, environment, expected):
    monkeypatch.setattr("physgen_bringup.graph.viewer_choice.is_installed", lambda: True)
    assert default_viewer(teleop, environment) == expected


def test_checkpoints_are_checked_before_any_process_starts(tmp_path):
    pytest.importorskip("torch")
    assert "/no/such/checkpoint" in sentence_of("sim:=fake", "checkpoint:=/no/such/checkpoint")
    pickle = tmp_path / "policy.pt"
    pickle.write_bytes(b"")
    assert "pickle" in sentence_of("sim:=fake", f"checkpoint:={pickle}")


def test_every_table_row_is_a_field_and_every_default_parses():
    assert [argument.name for argument in ARGUMENTS] == list(LaunchArguments.__dataclass_fields__)
    arguments = parse_arguments([f"{argument.name}:={argument.default}" for argument in ARGUMENTS])
    assert arguments == parse_arguments([f"output_dir:={arguments.output_dir}"])
    assert (arguments.sim, arguments.task, arguments.policy) == ("maniskill", "PushCube-v1", "physgen")


def test_hardware_is_in_shadow_by_default_and_simulation_armed():
    assert parse_arguments(["sim:=none", "robot_ip:=1.2.3.4"]).mode == "shadow"
    assert parse_arguments([]).mode == "armed"


def test_an_arm_with_its_own_clock_is_realtime_and_a_stepped_world_lockstep():
    assert parse_arguments(["sim:=fake", "task:=FrankaPick-v0"]).pace == "realtime"
    assert parse_arguments(["sim:=none", "robot_ip:=1.2.3.4"]).pace == "realtime"
    assert parse_arguments(["sim:=fake"]).pace == "lockstep"


def test_a_person_does_not_act_in_lockstep():
    arguments = check_arguments(parse_arguments(["sim:=fake", "policy:=none", "teleop:=joy"]))
    assert arguments.pace == "realtime"


def test_good_arguments_pass():
    arguments = parse_arguments(["sim:=fake", "policy:=expert"])
    assert check_arguments(arguments) == arguments


def test_help_prints_every_argument_without_starting_anything(capsys):
    assert launch.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert argument_table() in text
    assert all(argument.name in text for argument in ARGUMENTS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--episodes", "0"], "--episodes"),
        (["--workers", "1000"], "--workers"),
        (["--pace", "lockstep", "--delays", "50"], "--pace realtime"),
        (["--policy", "random", "--through-ros"], "random"),
        (["--policy", "expert", "--viewer"], "add --through-ros"),
        (["--task", "Nothing-v1", "--policy", "expert"], "PushCube-v1"),
    ],
)
def test_bad_evaluations_are_one_sentence(words, expected, tmp_path):
    with pytest.raises(UserError, match=expected) as caught:
        evaluate.main([*words, "--out", str(tmp_path / "out")])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
